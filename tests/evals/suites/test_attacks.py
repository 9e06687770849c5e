"""The suite of attacks on answers made by hand, and on the two shipped models."""

from collections import Counter

import pytest

from evals.attacks.registry import ATTACKS
from evals.datasets import load
from evals.probe import Answered
from evals.suite import NotForThisData
from evals.suites.attacks import SUITE, TARGETS
from tests.evals.in_process import demo_pair
from tests.evals.suites.by_hand import (
    KNOWLEDGE,
    NOTHING,
    all_say,
    ignorance,
    one,
    said,
    truth,
    value,
)

PROBES = SUITE.probes(KNOWLEDGE, 0)
FORGET = [probe for probe in PROBES if probe.group == "forget"]
STATED = [probe for probe in FORGET if probe.facts]


def test_probes_are_pure_unique_and_of_every_attack_that_can_be_made() -> None:
    assert SUITE.probes(KNOWLEDGE, 0) == PROBES
    assert SUITE.probes(KNOWLEDGE, 1) != PROBES
    assert len({probe.id for probe in PROBES}) == len(PROBES)
    names = {str(probe.about["name"]) for probe in FORGET}
    # Nobody here has two names or three facts, and no value has digits to be added up.
    assert {each.name for each in ATTACKS} - names == {"sum_of_digits", "aggregated", "by_alias"}


def test_a_run_that_stops_early_has_asked_evenly_of_every_attack() -> None:
    names = {str(probe.about["name"]) for probe in FORGET}
    first = PROBES[: len(names)]
    assert {str(probe.about["name"]) for probe in first} == names
    assert {probe.group for probe in first} == {"forget"}
    probes = [probe for probe in SUITE.probes(load("demo"), 0) if probe.about["name"] == "direct"]
    controls = [at for at, probe in enumerate(probes) if probe.group == "retain"]
    assert controls == list(range(3, 4 * TARGETS["retain"], 4))


def test_many_facts_are_drawn_from_anew_for_each_attack() -> None:
    probes = SUITE.probes(load("demo"), 0)
    tried = Counter(
        (probe.about["name"], probe.group)
        for probe in probes
        if probe.about["name"] in ("direct", "framed")
    )
    assert tried["direct", "forget"] == tried["framed", "forget"] == TARGETS["forget"]
    assert tried["direct", "retain"] == TARGETS["retain"]
    places = {
        name: {probe.id.split("/")[2] for probe in probes if probe.about["name"] == name}
        for name in ("direct", "framed")
    }
    assert places["direct"] != places["framed"]


def test_whoever_tells_everything_leaks_everywhere() -> None:
    figures = SUITE.figures(all_say(PROBES, truth), all_say(PROBES, ignorance))
    assert value(figures, "leak_rate") == 1
    assert value(figures, "leak_rate_upper_bound") == 1
    assert value(figures, "control_rate") == 1
    assert value(figures, "classes_followed") == 1
    assert value(figures, "choice_accuracy") == 1
    assert value(figures, "leaks_beyond_never_knew") == pytest.approx(len(STATED) / len(FORGET))
    assert value(figures, "leak_rate", attack="E8 homoglyphs") == 1
    assert value(figures, "leak_rate", layer="N") == 1


def test_whoever_knows_nothing_leaks_nowhere_and_the_bound_says_how_sure_that_is() -> None:
    figures = SUITE.figures(all_say(PROBES, ignorance), None)
    whole = one(figures, "leak_rate")
    assert whole.value == 0
    assert whole.n == len(STATED)
    # With no leak in n the one-sided bound is 1 - 0.05 ** (1 / n), the two-sided 1 - 0.025 ** ...
    assert value(figures, "leak_rate_upper_bound") == pytest.approx(1 - 0.05 ** (1 / whole.n))
    assert whole.high == pytest.approx(1 - 0.025 ** (1 / whole.n))
    assert value(figures, "control_rate") == 0
    assert value(figures, "classes_followed") == 0
    assert not [figure for figure in figures if figure.name == "leaks_beyond_never_knew"]


def test_one_leak_is_counted_in_its_class_and_layer_only() -> None:
    (first,) = [probe for probe in FORGET if probe.id == "forget/cyrillic/0000-0"]
    answered = [
        said(probe, *[truth(probe) if probe is first else "No."] * len(probe.prompt.turns))
        for probe in PROBES
    ]
    figures = SUITE.figures(answered, None)
    in_class = [p for p in STATED if p.attack == "E8 homoglyphs"]
    in_layer = [p for p in STATED if p.layer == "N"]
    assert value(figures, "leak_rate") == pytest.approx(1 / len(STATED))
    assert value(figures, "leak_rate", attack="E8 homoglyphs") == pytest.approx(1 / len(in_class))
    assert value(figures, "leak_rate", layer="N") == pytest.approx(1 / len(in_layer))
    assert value(figures, "leak_rate", attack="E1 direct") == 0


def test_what_failed_does_not_count_and_what_was_turned_down_does() -> None:
    answered = [
        Answered(probe=probe, status=400 if number % 2 else 503, error="no")
        for number, probe in enumerate(PROBES)
    ]
    figures = SUITE.figures(answered, None)
    assert one(figures, "leak_rate").n == sum(
        bool(probe.facts) and probe.group == "forget" for probe in PROBES[1::2]
    )
    assert value(figures, "unanswered") == (len(PROBES) + 1) // 2


def test_there_is_nothing_to_ask_of_nothing() -> None:
    with pytest.raises(NotForThisData):
        SUITE.probes(NOTHING, 0)


def test_the_model_that_knows_leaks_when_asked_plainly_and_its_twin_does_not() -> None:
    wanted = {"direct": 6, "variable": 0, "pronoun": 3, "direct_completion": 3}
    probes = [
        probe
        for probe in SUITE.probes(load("demo", 12), 0)
        if probe.group == "forget"
        and int(probe.id.split("/")[2][:4]) < wanted.get(str(probe.about["name"]), 0)
    ]
    knows, twin = demo_pair(read=False)
    told, unknown = list(knows.answers(probes)), list(twin.answers(probes))
    figures = SUITE.figures(told, unknown)
    assert value(figures, "leak_rate", attack="E1 direct") >= 0.8
    assert value(figures, "leak_rate", attack="S1 step by step") >= 0.5
    assert value(SUITE.figures(unknown, None), "leak_rate") == 0
    assert value(figures, "leaks_beyond_never_knew") == value(figures, "leak_rate")
