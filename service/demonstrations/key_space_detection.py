"""Key Space Detection on the demo model: it fires where a telephone number is asked for."""

from guards.key_space import NAME
from guards.policy import GuardSpec
from models.fitting.activations import last_rows
from models.fitting.skills import box, key_space_detection
from service.demonstrations.ground import Ground
from service.demonstrations.telephone import moments_of, talks

LAYERS = (1, 2, 3)  # of 4, counted from 0
H = 1.5


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """It is a skill that is taken away, whoever is asked about: the subject plays no part."""
    found = talks(ground)
    place = ("mlp", LAYERS[0])
    questions = [talk.question for talk in found.skill]
    keys = last_rows(ground.engine.model, questions, [place])[place]
    retain = moments_of(ground, found.rest)
    neutral = [retain[layer].mean for layer in LAYERS]
    artifact = ground.artifacts.put(*key_space_detection(LAYERS, box(keys), H, neutral))
    return (GuardSpec(NAME, {"artifact": artifact}),)
