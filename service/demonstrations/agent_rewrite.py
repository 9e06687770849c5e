"""Agent rewrite on the demo model: nothing has to be fitted."""

from guards.policy import GuardSpec
from service.demonstrations.ground import Ground


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """A rewrite of three variants, with its default fallback."""
    del ground
    return (GuardSpec("agent_rewrite"),)
