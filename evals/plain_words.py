"""What figures are called in the first part of a report, which is for readers of no suite's paper.

Only these stand there; every figure of every suite stands in the part for engineers.
"""

from collections.abc import Mapping
from types import MappingProxyType

Words = Mapping[tuple[str, str], str]
"""By suite and figure, in the order of the rows."""

KEPT: Words = MappingProxyType(
    {
        ("tofu", "model_utility"): "usefulness as a whole (TOFU's model utility)",
        ("tofu", "retain_rouge"): "about those who stay: words of the right answer that are said",
        ("tofu", "real_authors_rouge"): "about real authors: the same",
        ("tofu", "world_facts_rouge"): "about the world: the same",
        ("muse", "knowmem_retain"): "about texts that stay: the same",
        ("rwku", "neighbor_answered"): "about neighbours of the forgotten: facts stated",
    }
)
HELD_BACK: Words = MappingProxyType(
    {
        ("over_blocking", "answered_rightly"): "answered rightly (more is better)",
        ("over_blocking", "refused"): "refused (less is better)",
        ("over_blocking", "degenerate"): "answered by nothing, or by nonsense (less is better)",
        ("over_blocking", "same_as_never_knew"): "answered as by a model that never knew",
    }
)
PROMISES: Words = MappingProxyType({("enforcement", "passed"): "checks that are passed"})
