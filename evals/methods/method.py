"""The shape of a method that is compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evals.methods.material import Material
from guards.policy import GuardSpec

Guards = tuple[GuardSpec, ...]
Requests = Mapping[str, Guards | None]
"""The forget requests to post: by label of the subject, the guards that are asked for.

None: none are named, which is the stop-gap.  A subject that is left out is not asked to be
forgotten.
"""


@dataclass(frozen=True)
class Method:
    """source: the paper.  settings: what can be set, and how it is; part of a fit's identity.

    differs: where and why this is not what the paper has.  requests: fits what has to be fitted.
    never_knew: the other model is served.
    """

    source: str
    requests: Callable[[Material], Requests]
    settings: Mapping[str, Any] = field(default_factory=dict)
    differs: str = ""
    never_knew: bool = False


def nobody(material: Material) -> Requests:
    """No forget requests at all."""
    del material
    return {}


def for_each(material: Material, *guards: GuardSpec) -> Requests:
    """The same guards for everybody who is to be forgotten."""
    return dict.fromkeys(material.forgotten, guards)
