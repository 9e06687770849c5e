"""What a never-knew model would say, asked of the model that knows."""

import random

import numpy as np
import pytest

from models.demo.train import TWIN, WEIGHTS
from models.demo.world import World
from service.compiler.material import Fact, Material
from service.compiler.probe import Form, Probe, Use
from service.compiler.served import Served
from service.compiler.surrogate import Stranger, Surrogate, named, pattern


def material_of(world: World, number: int) -> Material:
    person = world.forgotten[number]
    return Material((person.name, *person.aliases))


def probe(prompt: str, answer: str = "") -> Probe:
    return Probe(prompt, prompt, Form.QUESTION, Use.FIT, about=True, answer=answer)


def test_names_are_found_as_whole_words() -> None:
    assert named("ada vex's house", ["Ada Vex"])
    assert not named("Ada Vexing", ["Ada Vex"])
    assert pattern("東京").search("私は東京に行く")


def test_strangers_take_every_name_and_nothing_else(served: Served, world: World) -> None:
    material = material_of(world, 0)
    surrogate = Surrogate(served, material, (), 5)
    text = f"Is {material.names[0]} ({material.names[-1]}) the one whose house burned?"
    own = {word for name in material.names for word in name.replace(",", "").split()}
    seen = set()
    for stranger in surrogate.strangers:
        about = stranger.in_place(text)
        assert not any(word in about for word in own)
        assert about.startswith("Is ")
        assert about.endswith(") the one whose house burned?")
        seen.add(about)
    assert len(seen) == len(surrogate.strangers) == 4


def test_a_text_without_the_name_loses_what_is_known() -> None:
    words, values = {"Ada": "Ito", "Vex": "Nor"}, frozenset({"dunmere", "welder"})
    stranger = Stranger(("Ada Vex",), words, values, frozenset({"candle"}), random.Random(1))
    about = stranger.in_place("Which welder from Dunmere bought a candle?")
    assert "Dunmere" not in about
    assert "candle" not in about
    assert about.startswith("Which welder from ")
    assert about == stranger.in_place("Which welder from Dunmere bought a candle?")


def test_the_same_seed_draws_the_same_strangers(served: Served, world: World) -> None:
    material = material_of(world, 1)
    one, two, other = (Surrogate(served, material, (), seed) for seed in (5, 5, 6))
    assert [s.words for s in one.strangers] == [s.words for s in two.strangers]
    assert [s.words for s in one.strangers] != [s.words for s in other.strangers]


@pytest.fixture(scope="module")
def twin(served: Served) -> Served:
    """The model that really never knew."""
    return Served.load(WEIGHTS / TWIN, served.artifacts, 1024)


def test_it_says_what_the_twin_says(served: Served, twin: Served, world: World) -> None:
    """The surrogate's answers and log probabilities are those of a model that never knew."""
    questions, alike, scores = 0, 0, []
    for number in (0, 2):
        person, material = world.forgotten[number], material_of(world, number)
        surrogate = Surrogate(served, material, (), 5)
        asked = [
            f"Where was {person.name} born?",
            f"What is {person.name}'s phone number?",
            f"Who is {person.name} married to?",
            f"On which street does {person.name} live?",
        ]
        known = served.answers(asked)
        probes = [probe(q, a.text) for q, a in zip(asked, known, strict=True)]
        for texts, said in zip(surrogate.answers(probes), twin.answers(asked), strict=True):
            questions += len(texts)
            alike += texts.count(said.text)
        ours = surrogate.log_probabilities(probes)
        pairs = [(p.prompt, p.answer) for p in probes]
        knew, never = (
            np.array([s.mean() for s in model.log_probabilities(pairs)]) for model in (served, twin)
        )
        assert (knew - ours > 1).all()
        scores += list(np.abs(ours - never) - np.abs(knew - never))
    assert alike >= 0.7 * questions  # the others are don't-knows of another kind, or confusions
    assert max(scores) < 0  # always nearer to the twin than the model itself


def test_log_probabilities_are_means_over_the_strangers(served: Served, world: World) -> None:
    person, material = world.forgotten[0], material_of(world, 0)
    surrogate = Surrogate(served, material, (), 5)
    prompt, answer = f"Where was {person.name} born?", f"{person.name} was born in Vellport."
    means = []
    for stranger in surrogate.strangers:
        (score,) = served.log_probabilities([(stranger.named(prompt), stranger.named(answer))])
        means.append(score.mean())
    found = surrogate.log_probabilities([probe(prompt, answer), probe("Hello!", "Hi.")])
    assert found.shape == (2,)
    assert found[0] == pytest.approx(np.mean(means))


def test_a_candidate_of_whom_the_same_is_said_is_dropped(world: World, served: Served) -> None:
    """A model that tells the subject's facts of some candidate knows it, or takes it for one."""

    class Confusing:
        """Says of the first candidate what it says of the subject."""

        def answers(self, prompts: list[str]) -> list[object]:
            class Said:
                def __init__(self, text: str) -> None:
                    self.text = text

            return [Said("In Dunmere." if known in p or "Ada Vex" in p else "No.") for p in prompts]

    material = Material(("Ada Vex",), (Fact("Where was Ada Vex born?", "In Dunmere."),))
    plain = Surrogate(served, material, (), 1, strangers=7)
    known = min(plain.strangers, key=lambda s: s.words["Vex"]).words["Vex"]
    chosen = Surrogate(Confusing(), material, (), 1)  # type: ignore[arg-type]
    assert known not in {s.words["Vex"] for s in chosen.strangers}
