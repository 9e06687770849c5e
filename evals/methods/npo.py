"""NPO: matched requests are answered through an adapter that was trained to have forgotten."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from guards.adapter_routing import NAME
from guards.policy import GuardSpec
from models.fitting.npo import Example, Recipe, fit

RECIPE = Recipe(rank=8, alpha=16.0, beta=0.1, retain=1.0, steps=120, rate=1e-3, batch=16)


def requests(material: Material) -> Requests:
    """One adapter for all subjects: a request can have one only."""
    forget, retain = (
        [Example(each.prompt, each.answer) for each in material.examples(facts)]
        for facts in (material.forget, material.retain)
    )
    digest = material.put(*fit(material.model, forget, retain, RECIPE))
    return for_each(material, GuardSpec(NAME, {"artifact": digest}))


METHOD = Method(
    source="NPO with a retain term (Zhang et al. 2024, arXiv 2404.05868): beta 0.1",
    settings={
        "rank": RECIPE.rank,
        "alpha": RECIPE.alpha,
        "beta": RECIPE.beta,
        "retain weight": RECIPE.retain,
        "steps": RECIPE.steps,
        "rate": RECIPE.rate,
        "batch": RECIPE.batch,
    },
    differs="a LoRA adapter for matched requests, where the paper changes the weights for all",
    requests=requests,
)
