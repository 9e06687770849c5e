"""What a forget request gets that names no guards: noise on the matched tokens of the prompt."""

from evals.methods.material import Material
from evals.methods.method import Method, Requests


def requests(material: Material) -> Requests:
    """Nothing is named and nothing is fitted."""
    return dict.fromkeys(material.forgotten)


METHOD = Method(
    source="Lethe's stop-gap, of ECO (Liu et al. 2024, arXiv 2406.07933)",
    settings={"function": "rand_noise", "strength": 5.0},
    differs="nothing is searched for: the strength is the gateway's default",
    requests=requests,
)
