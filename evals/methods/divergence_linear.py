"""Divergence Decoding, linear: what two small models differ by is added to the logits."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from guards.policy import GuardSpec
from models.fitting.assistants import Plan, fit_pair, warmed

LAYERS, STRENGTH = 2, 1.5
WARMING = Plan(steps=150, batch=16, rate=1e-3)
PLAN = Plan(steps=200, batch=16, rate=1e-3)


def requests(material: Material) -> Requests:
    """One pair for all subjects."""
    forget, retain = material.examples(material.forget), material.examples(material.retain)
    start = warmed(material.model, LAYERS, retain, WARMING)
    fitted = fit_pair(
        start, forget, retain, material.vocabulary.digest, strength=STRENGTH, plan=PLAN
    )
    digest = material.put(*fitted, sealed=True)
    return for_each(material, GuardSpec("logit_difference", {"artifact": digest}))


METHOD = Method(
    source="Divergence Decoding (2026, arXiv 2605.31293), linear: alpha 1.5",
    settings={
        "layers": LAYERS,
        "strength": STRENGTH,
        "warming steps": WARMING.steps,
        "steps": PLAN.steps,
        "batch": PLAN.batch,
        "rate": PLAN.rate,
    },
    differs="there is no small model: the pair begins as the target's first 2 of 4 layers, warmed",
    requests=requests,
)
