"""Every guard's demonstration by name.  The text filter is part of all of them."""

from importlib import import_module

from guards.registry import GUARDS
from service.demonstrations.ground import Build

NAMES = tuple(sorted(GUARDS.keys() - {"text_filter"}))


def demonstration(guard: str) -> Build:
    """What makes the guard ready.  Raises KeyError for a guard that has none."""
    if guard not in NAMES:
        raise KeyError(guard)
    build: Build = import_module(f"service.demonstrations.{guard}").build
    return build
