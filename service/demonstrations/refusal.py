"""Refusal on the demo model: nothing has to be fitted."""

from guards.policy import GuardSpec
from service.demonstrations.ground import Ground


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """A refusal with its default text."""
    del ground
    return (GuardSpec("refusal"),)
