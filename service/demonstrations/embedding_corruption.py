"""Embedding corruption on the demo model: noise on the subject's names, wherever they stand."""

from guards.alias_follower import alias_tensors
from guards.embedding_corruption import NAME, manifest
from guards.policy import GuardSpec
from service.demonstrations.ground import Ground

STRENGTH = 5.0  # times the root mean square of the embedding table


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """Noise on all dimensions, in the prompt and in the answer.  Nothing has to be fitted."""
    names = (ground.subject, *ground.aliases)
    artifact = ground.artifacts.put(
        manifest("rand_noise_first_n", STRENGTH, persistent=True),
        alias_tensors(names),
        sealed=True,
    )
    return (GuardSpec(NAME, {"artifact": artifact}),)
