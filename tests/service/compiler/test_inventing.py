import random
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from models.demo.strangers import draw_stranger
from models.demo.world import World
from service.compiler.inventing import Inventor
from service.compiler.likelihood import Told, scores, spans_of
from service.compiler.served import Served
from service.compiler.surrogate import Stranger, Surrogate


def _strangers(name: str) -> list[Stranger]:
    first, last = name.split(" ", 1)
    invented = [draw_stranger(random.Random(n), set()).name for n in (1, 5, 9)]
    return [
        Stranger((name,), {first: other.split()[0], last: other.split()[-1]}, frozenset(),
                 frozenset(), random.Random(0))
        for other in invented
    ]  # fmt: skip


@pytest.fixture(scope="module")
def name(world: World) -> str:
    return world.forgotten[0].name


@pytest.fixture(scope="module")
def asked(world: World, served: Served, name: str) -> list[Told]:
    """Where it was born, and its telephone number, as the model tells them."""
    person = world.by_name[name]
    questions = {
        "birth_town": f"Where was {name} born?",
        "phone": f"What is {name}'s phone number?",
    }
    said = served.answers(list(questions.values()))
    return [
        Told(question, each.text, spans_of((person.fact(key).value,), each.text))
        for (key, question), each in zip(questions.items(), said, strict=True)
    ]


@pytest.fixture(scope="module")
def invented(served: Served, asked: list[Told], name: str) -> list[Told]:
    surrogate = cast("Surrogate", SimpleNamespace(strangers=_strangers(name)))
    found = Inventor(served, surrogate, seed=3).invented(asked)
    assert found == Inventor(served, surrogate, seed=3).invented(asked)
    return found


def _values(each: Told) -> list[str]:
    return [each.answer[start:end] for start, end in each.spans]


def test_another_is_asked_about_and_another_value_is_told(
    asked: list[Told], invented: list[Told], name: str
) -> None:
    assert all(each.spans for each in asked)
    for before, after in zip(asked, invented, strict=True):
        assert name not in after.prompt
        assert _values(after) != _values(before)
        outside = before.answer.replace(_values(before)[0], "")
        assert after.answer.replace(_values(after)[0], "") == outside


def test_a_value_keeps_its_shape(invented: list[Told]) -> None:
    town, phone = (_values(each)[0] for each in invented)
    assert town[0].isupper()
    code, number = phone.split("-")
    assert code.isdigit()
    assert len(number) == 4
    assert number.isdigit()


def test_to_the_model_such_a_value_is_less_likely_than_what_it_knows(
    served: Served, asked: list[Told], invented: list[Told]
) -> None:
    assert np.all(scores(served, invented) < scores(served, asked) - 1)
