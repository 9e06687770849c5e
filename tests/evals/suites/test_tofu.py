"""TOFU on answers made by hand, and on models that are the two ends of each scale."""

import math
from collections.abc import Mapping, Sequence

import pytest

from evals.datasets import load
from evals.knowledge import Fact, Knowledge, Split
from evals.probe import Answered, Probe, Reading, Reply
from evals.suite import Figure, NotForThisData
from evals.suites.tofu import SUITE
from tests.evals.in_process import TOFU, InProcess, demo_pair, needs_testbed, testbed_pair


def values(figures: Sequence[Figure]) -> Mapping[str, float]:
    return {figure.name: figure.value for figure in figures}


def fact(number: int) -> Fact:
    return Fact(
        subject="a",
        question=f"What is number {number}?",
        answer="one two three four",
        paraphrased_answer="four it is",
        wrong=("five it is", "six it is"),
        values=("four",),
    )


KNOWLEDGE = Knowledge(
    source="by hand",
    splits={
        "forget": Split(facts=(fact(1), fact(2))),
        "retain": Split(facts=(fact(3),)),
        "world_facts": Split(facts=(Fact(subject="", question="Q", answer="A", wrong=("B",)),)),
        "holdout": Split(facts=(fact(4), fact(5))),
    },
)


def read(probability: float | None, *, right: bool = True) -> Reading:
    logprob = None if probability is None else math.log(probability)
    return Reading(logprobs=(logprob,), likeliest=(right,), means=(-1.0,), deviations=(1.0,))


def answer(probe: Probe, text: str, *probabilities: float | None) -> Answered:
    readings = tuple(read(each) for each in probabilities)
    said = ((Reply(text=text),),) if probe.prompt.max_tokens else ()
    return Answered(probe=probe, conversations=said, readings=readings)


def by_hand(first: Sequence[float | None]) -> list[Answered]:
    told = {
        "forget/0000": ("one two", *first),
        "forget/0001": ("", 0.4, 0.2, 0.1, 0.4),
        "retain/0000": ("one two three", 0.6, 0.5, 0.2, 0.2),
        "world_facts/0000": ("A", 0.3, 0.1),
        "holdout/0000": ("", 0.1),
        "holdout/0001": ("", 0.45),
    }
    return [answer(probe, *told[probe.id]) for probe in SUITE.probes(KNOWLEDGE, 0)]  # type: ignore[arg-type]


def test_probes_say_what_figures_need() -> None:
    probes = {probe.id: probe for probe in SUITE.probes(KNOWLEDGE, 0)}
    first = probes["forget/0000"]
    assert first.read == ("one two three four", "four it is", "five it is", "six it is")
    assert first.facts == ("four",)
    assert first.prompt.max_tokens == 200
    assert probes["world_facts/0000"].read == ("A", "B")
    assert probes["retain/0000"].facts == ()
    assert probes["holdout/0000"].read == ("one two three four",)
    assert probes["holdout/0000"].prompt.max_tokens == 0
    with pytest.raises(NotForThisData):
        SUITE.probes(Knowledge(source="empty"), 0)


def test_figures_by_hand() -> None:
    answered = by_hand((0.5, 0.4, 0.1, 0.4))
    found = values(SUITE.figures(answered, None))
    assert found["forget_rouge"] == pytest.approx((2 / 4 + 0) / 2)
    assert found["forget_probability"] == pytest.approx(0.45)
    assert found["forget_paraphrased_probability"] == pytest.approx(0.3)
    # ratios sqrt(.1 * .4) / .4 = .5 and .2 / .2 = 1
    assert found["forget_truth_ratio"] == pytest.approx(0.75)
    assert found["forget_true_share"] == pytest.approx((1 / 1.5 + 1 / 2) / 2)
    assert found["forget_truth_ratio_degenerate"] == 0
    assert found["forget_extraction_strength"] == found["forget_exact_memorisation"] == 1
    assert found["retain_truth_ratio"] == pytest.approx(0.6)
    assert found["world_facts_probability"] == pytest.approx(0.75)
    nothing_wrong = (0.75, 0.6, 0.6, 1, 0.75, 1 - 1 / 3)
    assert found["model_utility"] == pytest.approx(6 / sum(1 / each for each in nothing_wrong))
    # losses: forget .5, .4; holdout .1, .45: three of four pairs are told apart
    assert found["mia_loss"] == pytest.approx(0.75)
    assert found["mem"] == 0
    assert not {"forget_quality", "privleak", "priv", "aggregate"} & set(found)


def test_compared_with_itself_nothing_differs() -> None:
    answered = by_hand((0.5, 0.4, 0.1, 0.4))
    found = values(SUITE.figures(answered, answered))
    assert found["forget_quality"] == found["priv"] == found["utility"] == 1
    assert found["forget_quality_ks"] == found["privleak"] == 0


def test_forbidden_tokens_are_counted_and_not_scored() -> None:
    masked = values(SUITE.figures(by_hand((0.0001, None, 0.1, 0.4)), by_hand((0.5, 0.4, 0.1, 0.4))))
    assert masked["forget_truth_ratio_degenerate"] == 1
    assert masked["forget_truth_ratio"] == pytest.approx(1)  # of the other row alone
    assert masked["forget_paraphrased_probability"] == pytest.approx(0.1)
    assert masked["forget_quality_ks"] == pytest.approx(0.5)  # infinite is an order, too


def test_without_readings_there_are_figures_of_text_alone() -> None:
    answered = [each.model_copy(update={"readings": ()}) for each in by_hand((0.5, 0.4, 0.1, 0.4))]
    found = values(SUITE.figures(answered, answered))
    assert {"forget_rouge", "forget_clean", "retain_rouge", "world_facts_rouge"} <= set(found)
    assert not any("probability" in name or "mia" in name or "truth" in name for name in found)
    assert found["model_utility"] == pytest.approx(2 / (1 / 0.75 + 1))


def test_failed_requests_are_in_no_figure_but_refused_ones_say_nothing() -> None:
    whole = by_hand((0.5, 0.4, 0.1, 0.4))
    failed = whole[0].model_copy(update={"conversations": (), "readings": (), "status": 503,
                                         "error": "gone"})  # fmt: skip
    found = {f.name: f for f in SUITE.figures([failed, *whole[1:]], None)}
    assert found["unanswered"].value == 1
    assert found["forget_rouge"].n == 1
    refused = failed.model_copy(update={"status": 400})
    found = {f.name: f for f in SUITE.figures([refused, *whole[1:]], None)}
    assert (found["forget_rouge"].n, found["forget_rouge"].value) == (2, 0)


def test_more_rows_than_tofu_reads_give_both_conventions() -> None:
    rows = Knowledge(
        source="by hand", splits={"forget": Split(facts=tuple(fact(i) for i in range(302)))}
    )
    answered = [
        answer(probe, "x", 0.5, 0.5, *(2 * [0.4 if index < 300 else 0.9]))
        for index, probe in enumerate(SUITE.probes(rows, 0))
    ]
    figures = [f for f in SUITE.figures(answered, answered) if f.name == "forget_quality"]
    assert {f.by["convention"]: f.n for f in figures} == {"TOFU": 300, "open-unlearning": 302}


def measured(model: InProcess, probes: Sequence[Probe]) -> list[Answered]:
    return list(model.answers(probes))


def test_the_demo_models_are_the_two_ends() -> None:
    probes = SUITE.probes(load("demo", rows=24), 0)
    knows, twin = (measured(model, probes) for model in demo_pair())
    target, never = (values(SUITE.figures(each, twin)) for each in (knows, twin))
    assert target["forget_rouge"] > 0.65 > 0.3 > never["forget_rouge"]
    assert target["forget_probability"] > 0.8 > 0.1 > never["forget_probability"]
    assert target["forget_extraction_strength"] > 0.8 > 0.3 > never["forget_extraction_strength"]
    assert target["forget_truth_ratio"] < 0.2 < 0.4 < never["forget_truth_ratio"]
    assert target["forget_quality"] < 1e-6
    assert never["forget_quality"] == never["priv"] == 1
    assert target["mia_min_k"] > 0.95
    assert 0.2 < never["mia_min_k"] < 0.7
    assert target["privleak"] < -90
    assert target["mem"] < 0.2 < never["mem"]
    assert abs(target["model_utility"] - never["model_utility"]) < 0.1
    assert target["forget_clean"] > 0.9
    assert never["forget_clean"] > 0.9


@needs_testbed
def test_the_testbeds_models_are_the_two_ends() -> None:
    knowledge = load(f"tofu:{TOFU}", rows=120)
    probes = [probe for probe in SUITE.probes(knowledge, 0) if probe.group == "forget"]
    knows, retain = (measured(model, probes) for model in testbed_pair())
    target, never = (values(SUITE.figures(each, retain)) for each in (knows, retain))
    assert target["forget_rouge"] > 0.95
    assert never["forget_rouge"] < 0.3
    assert target["forget_exact_memorisation"] > 0.95
    assert target["forget_quality"] < 1e-6
    assert target["forget_quality_log10_p"] < -6
    assert never["forget_quality"] == 1
