"""Router and refusal: a fixed text for whatever is matched, and no model is asked."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from guards.policy import GuardSpec


def requests(material: Material) -> Requests:
    """The default text."""
    return for_each(material, GuardSpec("refusal"))


METHOD = Method(
    source="a guardrail (Thaker et al. 2024, arXiv 2403.03329; CURaTE 2026, arXiv 2604.14644)",
    differs="the gate of all the others decides",
    requests=requests,
)
