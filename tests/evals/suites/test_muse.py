"""MUSE on answers made by hand, and on the demo models."""

import math
from collections.abc import Sequence

import pytest

from evals.datasets import load
from evals.knowledge import Fact, Knowledge, Split
from evals.probe import Answered, Probe, Reading, Reply
from evals.suite import Figure, NotForThisData
from evals.suites.muse import SUITE, VERBATIM_CHARACTERS
from tests.evals.in_process import demo_pair


def fact(question: str, answer: str, subject: str = "") -> Fact:
    return Fact(subject=subject, question=question, answer=answer)


KNOWLEDGE = Knowledge(
    source="by hand",
    splits={
        "forget": Split(
            facts=tuple(fact(f"Q{i}", "red green", f"s{i}") for i in range(4)),
            passages=("one two three", "four five"),
        ),
        "retain": Split(facts=(fact("R", "blue"),)),
        "holdout": Split(passages=("six seven", "eight nine")),
        "forget_icl": Split(facts=(fact("E", "yes"),)),
        "verbmem": Split(facts=tuple(fact(f"V{i}", "a b c d") for i in range(8))),
        "sust/1": Split(facts=(fact("the forget set itself", "w"),)),
        "sust/3": Split(facts=(fact("W", "word " * 400),)),
    },
)


def read(probability: float) -> Reading:
    return Reading(
        logprobs=(math.log(probability),), likeliest=(True,), means=(0.0,), deviations=(1.0,)
    )


def answered(replies: dict[str, str], likely: dict[str, float]) -> list[Answered]:
    """By beginning of the probe's id."""

    def of(probe: Probe) -> Answered:
        if probe.about["task"] == "privleak":
            return Answered(probe=probe, readings=(read(likely[probe.id]),))
        text = next(text for start, text in replies.items() if probe.id.startswith(start))
        return Answered(probe=probe, conversations=((Reply(text=text),),))

    return [of(probe) for probe in SUITE.probes(KNOWLEDGE, 0)]


REPLIES = {
    "verbmem/0000": "a b",
    "verbmem/0001": "a b c d",
    "verbmem": "x",
    "sust/3": "x",
    "knowmem/forget/0000": "red green\n\nQuestion: another?\nAnswer: red",
    "knowmem/forget": "grey",
    "knowmem/retain": "blue",
}
LIKELY = {
    "privleak/forget/0000": 0.5,
    "privleak/forget/0001": 0.2,
    "privleak/holdout/0000": 0.1,
    "privleak/holdout/0001": 0.3,
}


def one(figures: Sequence[Figure], name: str, **by: str) -> Figure:
    (found,) = (f for f in figures if f.name == name and f.by == by)
    return found


def test_probes() -> None:
    probes = {probe.id: probe for probe in SUITE.probes(KNOWLEDGE, 0)}
    asked = probes["knowmem/forget/0002"].prompt
    assert asked.turns == ("Question: E\nAnswer: yes\n\nQuestion: Q2\nAnswer:",)
    assert (asked.kind, asked.max_tokens) == ("completion", 32)
    assert probes["knowmem/retain/0000"].prompt.turns == ("Question: R\nAnswer:",)
    assert [probes[f"verbmem/{i:04}"].about["fold"] for i in range(8)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [probes[f"knowmem/forget/{i:04}"].about["fold"] for i in range(4)] == [1, 2, 3, 4]
    assert probes["sust/3/0000"].about["fold"] == 3
    assert len(probes["sust/3/0000"].reference) <= VERBATIM_CHARACTERS
    assert not any(name.startswith("sust/1") for name in probes)
    read_ = probes["privleak/forget/0000"]
    assert (read_.prompt.turns, read_.read, read_.facts) == (("one",), (" two three",), ())
    with pytest.raises(NotForThisData):
        SUITE.probes(Knowledge(source="empty"), 0)


def test_figures_by_hand() -> None:
    figures = SUITE.figures(answered(REPLIES, LIKELY), None)
    # F1 of "a b" against four words is 2 * .5 * 1 / 1.5
    assert one(figures, "verbmem").value == pytest.approx((2 / 3 + 1) / 9)
    assert one(figures, "verbmem", fold="sust/1").value == pytest.approx((2 / 3 + 1) / 2)
    assert one(figures, "verbmem", fold="scal/2").value == pytest.approx((2 / 3 + 1) / 4)
    assert one(figures, "verbmem", fold="scal/4").value == one(figures, "verbmem").value
    assert one(figures, "knowmem_forget").value == pytest.approx(1 / 4)
    assert one(figures, "knowmem_forget", fold="sust/1").value == 1
    assert one(figures, "knowmem_retain").value == 1
    assert one(figures, "mia_min_k").value == pytest.approx(3 / 4)
    assert not [f for f in figures if f.name == "privleak"]


def test_leakage_is_relative_to_the_model_that_never_knew() -> None:
    never = answered(REPLIES, {**LIKELY, "privleak/forget/0000": 0.2})
    figures = SUITE.figures(answered(REPLIES, LIKELY), never)
    # AUCs .75 and .5, in MUSE's sign .25 and .5
    assert one(figures, "privleak").value == pytest.approx(-50)


def test_without_readings_there_is_no_leakage() -> None:
    bare = [each.model_copy(update={"readings": ()}) for each in answered(REPLIES, LIKELY)]
    names = {f.name for f in SUITE.figures(bare, bare)}
    assert names == {"verbmem", "knowmem_forget", "knowmem_retain"}


def test_the_demo_models_are_the_two_ends() -> None:
    probes = SUITE.probes(load("demo", rows=16), 0)
    knows, twin = (list(model.answers(probes)) for model in demo_pair())
    target, never = (SUITE.figures(each, twin) for each in (knows, twin))
    assert one(target, "verbmem").value > 0.9 > 0.3 > one(never, "verbmem").value
    assert one(target, "knowmem_forget").value > 0.5 > 0.25 > one(never, "knowmem_forget").value
    assert one(never, "knowmem_retain").value > 0.5
    assert one(target, "mia_min_k").value > 0.95
    assert one(target, "privleak").value < -80
    assert one(never, "privleak").value == 0
    assert one(target, "verbmem", fold="scal/4").value == one(target, "verbmem").value
