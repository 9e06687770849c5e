"""An instruction in the prompt, on the demo model: nothing has to be fitted."""

from guards.policy import GuardSpec
from service.demonstrations.ground import Ground


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """The instruction alone, without demonstrations."""
    del ground
    return (GuardSpec("in_context_instruction"),)
