"""The same corruption, following the subject's names into the answer."""

from evals.methods.corruption import SETTINGS, searched
from evals.methods.material import Material
from evals.methods.method import Method, Requests


def requests(material: Material) -> Requests:
    """One strength for all subjects, and an artifact with each one's names."""
    names = {label: subject.aliases for label, subject in material.forgotten.items()}
    return {label: (guard,) for label, guard in searched(material, names).items()}


METHOD = Method(
    source="ECO (Liu et al. 2024, arXiv 2406.07933), followed into the answer: Lethe's own",
    settings=SETTINGS,
    differs="what is generated is corrupted too where it names the subject",
    requests=requests,
)
