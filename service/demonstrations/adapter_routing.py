"""Adapter routing on the demo model: an adapter trained by NPO to have forgotten the subject."""

from collections.abc import Sequence

import numpy as np

from guards.adapter_routing import NAME
from guards.policy import GuardSpec
from models.conversation import Message
from models.fitting.npo import Example, Recipe, fit
from models.local_engine import Sampling
from service.demonstrations.ground import Ground

RECIPE = Recipe(rank=8, alpha=16.0, beta=0.2, retain=3.0, steps=100, rate=1e-3, batch=16)
MOST = 40  # tokens of an answer


def build(ground: Ground) -> tuple[GuardSpec, ...]:
    """Trains for about 40 seconds of processor time; the same ground gives the same adapter.

    What the model says is not liked about the subject; it is kept about others, and about
    strangers.  So that there is something to say instead, what it says about a stranger is also
    learnt as the answer about the subject: NPO alone leaves that open, and ends in babble.
    """
    forget, retain = examples(ground)
    manifest, tensors = fit(ground.engine.model, forget, retain, RECIPE)
    halved = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    return (GuardSpec(NAME, {"artifact": ground.artifacts.put(manifest, halved)}),)


def examples(ground: Ground) -> tuple[list[Example], list[Example]]:
    """What is to be forgotten and what is to be retained, as chats and as plain questions."""
    asked = [probe.question for probe in ground.forget]
    names = [ground.strangers[at % len(ground.strangers)] for at in range(len(asked))]
    strange = [
        question.replace(ground.subject, name) for question, name in zip(asked, names, strict=True)
    ]
    about, others, unknown = (
        _prompts(ground, questions)
        for questions in (asked, [probe.question for probe in ground.retain], strange)
    )
    instead = _answers(ground, unknown)
    forget = _examples(about, _answers(ground, about))
    retain = _examples(others, _answers(ground, others))
    retain += _examples(unknown, instead) + 2 * _examples(about, instead)
    return forget, retain


def _prompts(ground: Ground, questions: Sequence[str]) -> list[tuple[int, ...]]:
    renderer = ground.renderer
    chats = [
        renderer.chat(renderer.conversation([Message("user", (question,))], None), {})
        for question in questions
    ]
    plain = [renderer.completion(f"Question: {question}\nAnswer:") for question in questions]
    return [prompt.ids for prompt in (*chats, *plain)]


def _answers(ground: Ground, prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """What the model says itself: to change no more than has to be."""
    sampling = Sampling(temperature=0.0, max_tokens=MOST)
    return [tuple(answer) for answer in ground.engine.generate_batch(prompts, sampling)]


def _examples(
    prompts: Sequence[tuple[int, ...]], answers: Sequence[tuple[int, ...]]
) -> list[Example]:
    return [Example(*pair) for pair in zip(prompts, answers, strict=True)]
