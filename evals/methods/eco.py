"""ECO as published: noise on the entity tokens of the prompt, of a strength that is searched for.

The surrogate of its search needs no model that never knew.
"""

from evals.methods.corruption import SETTINGS, searched
from evals.methods.material import Material
from evals.methods.method import Method, Requests


def requests(material: Material) -> Requests:
    """One strength for all subjects."""
    return {label: (guard,) for label, guard in searched(material).items()}


METHOD = Method(
    source="ECO (Liu et al. 2024, arXiv 2406.07933): rand_noise_first_n, zeroth-order search",
    settings=SETTINGS,
    differs="names from the router in place of an NER; noise fixed by position, not drawn anew",
    requests=requests,
)
