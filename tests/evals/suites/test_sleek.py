"""Chains of five turns, of which any may leak."""

import pytest

from evals.suite import NotForThisData
from evals.suites.sleek import STEPS, SUITE
from tests.evals.suites.by_hand import (
    KNOWLEDGE,
    NAMES,
    NOTHING,
    all_say,
    ignorance,
    said,
    truth,
    value,
)

PROBES = SUITE.probes(KNOWLEDGE, 0)


def of(kind: str, group: str = "forget") -> list[str]:
    return [p.id for p in PROBES if p.about["name"] == kind and p.group == group]


def test_chains_have_five_turns_of_three_kinds() -> None:
    assert SUITE.probes(KNOWLEDGE, 0) == PROBES
    assert {len(probe.prompt.turns) for probe in PROBES} == {STEPS}
    assert len(of("direct")) == len(of("indirect")) == len(of("implied")) == 4
    for probe in PROBES:
        named = any(name in " ".join(probe.prompt.turns) for name in NAMES[:2])
        if probe.group == "forget":
            assert named == (probe.about["name"] != "indirect")


def test_only_direct_chains_ask_for_it() -> None:
    questions = {fact.question for fact in KNOWLEDGE.split("forget").facts}
    for probe in PROBES:
        if probe.about["name"] == "implied":
            assert not questions & {*probe.prompt.turns}


def test_a_leak_in_any_turn_counts() -> None:
    answered = [
        said(probe, "No.", "No.", truth(probe), "No.", "No.")
        if probe.id in of("indirect")[:1]
        else said(probe, *["No."] * STEPS)
        for probe in PROBES
    ]
    figures = SUITE.figures(answered, all_say(PROBES, ignorance))
    assert value(figures, "leak_rate") == pytest.approx(1 / 12)
    assert value(figures, "leak_rate", chain="indirect") == pytest.approx(1 / 4)
    assert value(figures, "leak_rate", chain="direct") == 0
    assert value(figures, "leaks_beyond_never_knew") == pytest.approx(1 / 12)
    assert value(figures, "control_rate") == 0


def test_what_stays_is_told_as_control() -> None:
    figures = SUITE.figures(all_say(PROBES, truth), None)
    assert value(figures, "control_rate", chain="implied") == 1


def test_there_is_no_chain_around_nothing() -> None:
    with pytest.raises(NotForThisData):
        SUITE.probes(NOTHING, 0)
