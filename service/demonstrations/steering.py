"""Steering on the demo model: questions about the subject are mapped to those about nobody."""

from collections.abc import Iterable

from guards.policy import GuardSpec
from guards.steering import NAME
from models.conversation import Message
from models.fitting.activations import last_rows
from models.fitting.steering import (
    Step,
    map_read,
    null_space_projector,
    steering,
    unknown_entity_directions,
)
from service.demonstrations.ground import Ground

LAYER = 2  # of 4
RATIO, RIDGE = 0.3, 0.1  # MLLMEraser's


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """A null-space map at the last prompt token alone, where the answer begins.

    What it writes is "unknown entity minus this entity": the subject's questions with the names of
    strangers, less the questions themselves.  What it does not touch are questions about others.
    """
    model = ground.engine.model
    questions = [probe.question for probe in ground.forget]
    known = asked(ground, questions)
    strange = (question.replace(ground.subject, name)
               for name in ground.strangers[:4] for question in questions)  # fmt: skip
    (direction,) = unknown_entity_directions(model, known, asked(ground, strange), (LAYER,))
    place = ("layer", LAYER)
    retained = asked(ground, (probe.question for probe in ground.retain))
    projector = null_space_projector(last_rows(model, retained, [place])[place], RATIO)
    read = map_read(last_rows(model, known, [place])[place], projector, RIDGE)
    step = Step("map", (LAYER,), [direction], reads=[read], last_prompt_token=True)
    artifact = ground.artifacts.put(*steering([step], generated=False))
    return (GuardSpec(NAME, {"artifact": artifact, "prompt": "last"}),)


def asked(ground: Ground, questions: Iterable[str]) -> list[tuple[int, ...]]:
    """Each question as a chat, up to where the answer begins: the engine's token ids."""
    renderer = ground.renderer
    chats = (renderer.conversation([Message("user", (question,))], None) for question in questions)
    return [tuple(renderer.chat(chat, {}).ids) for chat in chats]
