"""The skill that the demonstrations of skills take away: telling anybody's telephone number."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from models.demo.attributes import ATTRIBUTES
from models.demo.chat import END
from models.demo.corpus import phrasings
from models.demo.world import Person, make_world
from models.fitting.skills import Moments, moments
from service.demonstrations.ground import Ground
from service.demonstrations.steering import asked

SKILL = "phone"
_PEOPLE = 40
_WORDINGS = 6
_OTHERS = 4  # questions about each person that do not ask for the skill

Ids = tuple[int, ...]


class Talk(NamedTuple):
    """A question as a chat and its answer, as the engine's token ids."""

    question: Ids
    answer: Ids


class Talks(NamedTuple):
    """Those that take the skill, and others."""

    skill: list[Talk]
    rest: list[Talk]


def talks(ground: Ground) -> Talks:
    """About people who are kept, in wordings of the model's training."""
    people = make_world().kept[:_PEOPLE]
    dice = random.Random(0)
    others = sorted(set(ATTRIBUTES) - {SKILL})
    wordings = phrasings(ATTRIBUTES[SKILL])
    skill = [(p, SKILL, ask) for p in people for ask in dice.sample(wordings, _WORDINGS)]
    rest = [
        (person, key, dice.choice(ATTRIBUTES[key].asks))
        for person in people
        for key in dice.sample(others, _OTHERS)
    ]
    return Talks(_talks(ground, skill), _talks(ground, rest))


def moments_of(ground: Ground, found: Sequence[Talk]) -> dict[int, Moments]:
    """Of the keys of every layer, over all tokens of questions and answers."""
    ids = [each.question + each.answer for each in found]
    return moments(ground.engine.model, ids, range(ground.engine.layers))


def _talks(ground: Ground, asks: Sequence[tuple[Person, str, str]]) -> list[Talk]:
    tokenizer = ground.engine.tokenizer
    questions = asked(ground, (_about(person, ask) for person, _, ask in asks))
    said = (
        _about(person, ATTRIBUTES[key].answers[0]).replace("{v}", person.fact(key).value)
        for person, key, _ in asks
    )
    return [
        Talk(question, tuple(tokenizer.encode(answer + END, add_special_tokens=False)))
        for question, answer in zip(questions, said, strict=True)
    ]


def _about(person: Person, template: str) -> str:
    names = (f"{person.name}'s", person.name, person.name)
    for slot, name in zip(("{ns}", "{n}", "{o}"), names, strict=True):
        template = template.replace(slot, name)
    return template
