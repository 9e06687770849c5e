"""ULD: the logits of an assistant that knows the forget set alone are taken off."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from guards.policy import GuardSpec
from models.fitting.assistants import Plan, fit_uld, perturbed

LAYERS, STRENGTH, RETAIN, SHARE = 2, 0.8, 5.0, 0.01
PLAN = Plan(steps=200, batch=16, rate=1e-3)


def requests(material: Material) -> Requests:
    """One assistant for all subjects."""
    forget, retain = material.examples(material.forget), material.examples(material.retain)
    wrong = perturbed(forget, [each.answer for each in retain])
    fitted = fit_uld(
        material.model,
        forget,
        retain + wrong,
        material.vocabulary.digest,
        layers=LAYERS,
        retain_weight=RETAIN,
        strength=STRENGTH,
        share=SHARE,
        plan=PLAN,
    )
    digest = material.put(*fitted, sealed=True)
    return for_each(material, GuardSpec("logit_difference", {"artifact": digest}))


METHOD = Method(
    source="ULD (Ji et al. 2024, arXiv 2406.08607): weight 0.8, filter 0.01, retain weight 5",
    settings={
        "layers": LAYERS,
        "strength": STRENGTH,
        "filter": SHARE,
        "retain weight": RETAIN,
        "steps": PLAN.steps,
        "batch": PLAN.batch,
        "rate": PLAN.rate,
    },
    differs=(
        "2 of 4 layers, where the paper has 8 of 32, trained in full in place of LoRA; no "
        "paraphrases, which are kept for measuring; answers from the retain set as perturbed ones"
    ),
    requests=requests,
)
