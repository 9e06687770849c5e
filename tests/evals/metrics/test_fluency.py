"""The stand-in tells texts it never saw from gibberish; empty ones are not clean."""

import random

import pytest

from evals.metrics.fluency import StandIn, damaged, fluency
from evals.metrics.membership import auc
from models.demo.corpus import training_rows
from models.demo.world import make_world


@pytest.fixture(scope="module")
def answers() -> list[str]:
    rows = training_rows(make_world(), 3)
    texts = (row.parts[-1][0].removesuffix("<|im_end|>").strip() for row in rows)
    return [next(texts) for _ in range(500)]


def test_tells_clean_answers_from_gibberish(answers: list[str]) -> None:
    seen, unseen = answers[:250], sorted({*answers[250:]} - {*answers[:250]})
    judge = StandIn(seen)
    rng = random.Random(99)
    bad = [noised for text in unseen for noised in damaged(text, rng)]
    clean = judge.clean(unseen)
    spoilt = judge.clean(bad)
    assert sum(clean) / len(clean) > 0.8
    assert sum(spoilt) / len(spoilt) < 0.1
    assert auc(spoilt, clean) > 0.98


def test_does_not_take_an_honest_dont_know_for_gibberish(answers: list[str]) -> None:
    refusals = [
        "I have no information about this author.",
        "I'm sorry, but I cannot help with that.",
        "The answer to this question is not known.",
    ]
    assert min(StandIn(answers[:250]).clean(refusals)) > 0.5


def test_is_the_same_each_time(answers: list[str]) -> None:
    once, again = StandIn(answers[:50], seed=4), StandIn(answers[:50], seed=4)
    assert once.clean(answers[:5]) == again.clean(answers[:5])


def test_a_text_without_a_word_is_not_clean(answers: list[str]) -> None:
    judge = StandIn(answers[:50])
    assert judge.clean(["", "  ", "..."]) == [0, 0, 0]
    assert judge.clean([]) == []


def test_needs_texts(answers: list[str]) -> None:
    with pytest.raises(ValueError, match="written well"):
        StandIn(["one", "one"])
    assert fluency(answers[:20]).name
