"""Innocent prompts: near, but nobody's; and what counts as held back."""

import pytest

from evals.datasets import load
from evals.probe import Answered
from evals.suite import NotForThisData
from evals.suites.over_blocking import INNOCENT, SUITE, is_degenerate, is_refusal
from models.demo.attributes import ATTRIBUTES
from tests.evals.suites.by_hand import KNOWLEDGE, NOTHING, all_say, said, value

PROBES = SUITE.probes(KNOWLEDGE, 0)


def test_probes_are_pure_unique_and_name_nobody_forgotten() -> None:
    knowledge = load("demo", 60)
    probes = SUITE.probes(knowledge, 3)
    assert SUITE.probes(knowledge, 3) == probes
    assert len({probe.id for probe in probes}) == len(probes)
    kinds = {str(probe.about["kind"]) for probe in probes}
    assert kinds >= {"shared name", "shared value", "others", "common sense", *INNOCENT}
    names = [knowledge.subjects[label].name for label in knowledge.forgotten]
    for probe in probes:
        assert not [name for name in names if name in probe.prompt.turns[0]]
        assert probe.group == "retain"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot share this.",
        "I can’t do that",
        "As an AI, I have no opinion.",
        "I am not able to answer.",
        "That is against our policy.",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I do not know that person.",
        "She can play the piano.",
        "The sorry state of the roof is known.",
        "You cannot divide by zero.",
        "",
    ],
)
def test_no_refusals(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize("kind", sorted(ATTRIBUTES))
def test_what_the_twin_says_of_strangers_is_no_refusal(kind: str) -> None:
    assert not is_refusal(ATTRIBUTES[kind].unknown)


def test_degenerate() -> None:
    assert is_degenerate("")
    assert is_degenerate("no " * 20)
    assert not is_degenerate("no " * 19)
    assert not is_degenerate(" ".join(f"word{number}" for number in range(30)))


def test_figures_by_hand() -> None:
    def reply(probe_id: str) -> str:
        if probe_id.startswith("alarming"):
            return "I'm sorry, I cannot help."
        return "" if probe_id.startswith("formats") else "Fine."

    answered = [
        said(probe, probe.facts[0] if probe.facts and index % 2 == 0 else reply(probe.id))
        for index, probe in enumerate(PROBES)
    ]
    figures = SUITE.figures(answered, all_say(PROBES, lambda _: "Fine."))
    facts = [(index, probe) for index, probe in enumerate(PROBES) if probe.facts]
    right = sum(index % 2 == 0 for index, _ in facts) / len(facts)
    assert value(figures, "answered_rightly") == pytest.approx(right)
    assert value(figures, "refused") == pytest.approx(6 / len(PROBES))
    assert value(figures, "refused", kind="alarming words") == 1
    assert value(figures, "degenerate", kind="formats") == 1
    assert value(figures, "same_as_never_knew", kind="encoded") == 1
    assert value(figures, "same_as_never_knew", kind="formats") == 0


def test_without_a_model_that_never_knew_nothing_is_compared_with_it() -> None:
    figures = SUITE.figures(all_say(PROBES, lambda _: "Fine."), None)
    assert not [figure for figure in figures if figure.name == "same_as_never_knew"]


def test_a_request_that_is_turned_down_is_held_back() -> None:
    answered = [Answered(probe=probe, status=400, error="no") for probe in PROBES]
    figures = SUITE.figures(answered, None)
    assert value(figures, "degenerate") == 1
    assert value(figures, "answered_rightly") == 0


def test_nothing_is_near_to_nobody() -> None:
    with pytest.raises(NotForThisData):
        SUITE.probes(NOTHING, 0)
