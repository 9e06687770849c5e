"""RoAdBlock: a rotation of the output head shows what knowing would raise; that is pushed down."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from guards.policy import GuardSpec
from models.fitting.assistants import Plan
from models.fitting.head_probe import fit_head_probe

STRENGTH = 42.0
PLAN = Plan(steps=300, batch=256, rate=1e-3)


def requests(material: Material) -> Requests:
    """One probe for all subjects."""
    forget = material.examples(material.forget)
    fitted = fit_head_probe(
        material.model, forget, material.vocabulary.digest, strength=STRENGTH, plan=PLAN
    )
    digest = material.put(*fitted, sealed=True)
    return for_each(material, GuardSpec("head_probe", {"artifact": digest}))


METHOD = Method(
    source="RoAdBlock (2026): c 42",
    settings={
        "strength": STRENGTH,
        "steps": PLAN.steps,
        "batch": PLAN.batch,
        "rate": PLAN.rate,
    },
    differs="control tokens are pinned; tokens that no forget answer has stay put",
    requests=requests,
)
