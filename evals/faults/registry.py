"""Every planted fault, by name."""

from collections.abc import Mapping
from types import ModuleType

from evals.faults import (
    of_detection,
    of_engine,
    of_envelope,
    of_life_cycle,
    of_schema,
    of_text,
    of_upstream,
)
from evals.faults.fault import Fault

_MODULES: tuple[ModuleType, ...] = (
    of_detection,
    of_upstream,
    of_engine,
    of_text,
    of_life_cycle,
    of_schema,
    of_envelope,
)


def faults() -> Mapping[str, type[Fault]]:
    """In the order of the layers that a request passes."""
    found = [
        each
        for module in _MODULES
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Fault) and hasattr(each, "NAME")
    ]
    return {each.NAME: each for each in found}
