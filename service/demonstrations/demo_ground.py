"""The ground of demonstrations: the invented world of the demo model."""

import random
from collections.abc import Iterable, Sequence

from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.demo.corpus import Probe as Question
from models.demo.corpus import held_out_probes, near_miss_probes, training_question
from models.demo.strangers import draw_stranger
from models.demo.world import Person, World, make_world
from models.local_engine import LocalEngine, Sampling
from service.demonstrations.ground import Ground, Probe

SUBJECT = "Perpetua Thistlewick"
_WORDINGS, _KEPT, _STRANGERS = 3, 12, 12
_LONGEST = 48


class NobodyOfThatName(ValueError):
    """The demo world has nobody of that name."""


def demo_ground(
    engine: LocalEngine, renderer: PromptRenderer, artifacts: ArtifactStore, subject: str = SUBJECT
) -> Ground:
    """One person of the demo world to forget, and others to keep.  Raises NobodyOfThatName.

    Questions are worded as in training; their answers are the model's own.
    """
    world = make_world()
    person = _person(world, subject)
    rng = random.Random(f"demonstration/{subject}")
    others = rng.sample([each for each in world.kept if each is not person], _KEPT)
    taken = {each.name.casefold() for each in world.people}
    return Ground(
        engine=engine,
        renderer=renderer,
        artifacts=artifacts,
        subject=person.name,
        aliases=tuple(alias for alias in person.aliases if alias != person.name),
        forget=_probes(engine, renderer, [person], rng, _WORDINGS),
        retain=_probes(engine, renderer, others, rng, 1),
        strangers=tuple(draw_stranger(rng, taken).name for _ in range(_STRANGERS)),
    )


def held_out_questions(subject: str) -> Sequence[str]:
    """Questions about the subject in wordings that nothing was fitted to, one for each fact."""
    world = make_world()
    probes = held_out_probes(world, [_person(world, subject)])
    found: dict[str, str] = {}
    for probe in probes:
        if probe.fact is not None and not probe.reverse and len(probe.messages) == 1:
            found.setdefault(probe.fact.attribute, _text(probe))
    return tuple(found.values())


def near_questions(subject: str, count: int) -> Sequence[str]:
    """Questions about others, who must be answered as ever."""
    probes = [p for p in near_miss_probes(make_world()) if len(p.messages) == 1]
    rng = random.Random(f"near/{subject}")
    return tuple(_text(probe) for probe in rng.sample(probes, count))


def answers(engine: LocalEngine, renderer: PromptRenderer, asked: Iterable[str]) -> list[str]:
    """The model's greedy answers."""
    chats = [renderer.conversation([Message("user", (text,))], None) for text in asked]
    prompts = [renderer.chat(chat, {}).ids for chat in chats]
    said = engine.generate_batch(prompts, Sampling(max_tokens=_LONGEST))
    decode = engine.tokenizer.decode
    return [decode(ids, skip_special_tokens=True).strip() for ids in said]


def _person(world: World, name: str) -> Person:
    found = world.by_name.get(name)
    if found is None:
        raise NobodyOfThatName(name)
    return found


def _probes(
    engine: LocalEngine,
    renderer: PromptRenderer,
    people: Iterable[Person],
    rng: random.Random,
    wordings: int,
) -> tuple[Probe, ...]:
    questions = [
        training_question(person, fact, rng)
        for person in people
        for fact in person.facts
        for _ in range(wordings)
    ]
    questions = list(dict.fromkeys(questions))
    said = answers(engine, renderer, questions)
    return tuple(Probe(q, a) for q, a in zip(questions, said, strict=True))


def _text(probe: Question) -> str:
    return str(probe.messages[0]["content"])
