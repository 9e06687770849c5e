"""Forgotten or never known: attackers that always can tell, and that never can."""

from collections.abc import Callable

import pytest

from evals.datasets import load
from evals.probe import Answered, Probe, Reading, Reply
from evals.suite import NotForThisData
from evals.suites.distinguishability import INVENTED, SUITE, invented_names, pairs_of, text_scores
from tests.evals.suites.by_hand import KNOWLEDGE, NOTHING, one, value

DEMO = load("demo", 24)
PROBES = SUITE.probes(DEMO, 0)


def told(
    text: Callable[[Probe], str],
    first: Callable[[Probe], float] = lambda _: 0.1,
    loss: Callable[[Probe], float] | None = None,
) -> list[Answered]:
    """Answers with these texts, times and likelihoods."""
    found = []
    for probe in PROBES:
        readings: tuple[Reading, ...] = ()
        if loss:
            logprob = -loss(probe)
            readings = (
                Reading(logprobs=(logprob,), likeliest=(True,), means=(0,), deviations=(1,)),
            )
        reply = Reply(text=text(probe), first=first(probe), seconds=0.5)
        found.append(Answered(probe=probe, conversations=((reply,),), readings=readings))
    return found


def forgotten(probe: Probe) -> bool:
    return probe.group == "forget"


def place(probe: Probe) -> int:
    return int(probe.id.split("/")[1])


def test_pairs_differ_in_the_name_alone() -> None:
    assert SUITE.probes(DEMO, 0) == PROBES
    assert len(PROBES) == 48
    for known, made in zip(PROBES[::2], PROBES[1::2], strict=True):
        assert (known.group, made.group) == ("forget", INVENTED)
        name, other = known.about["aliases"][0], made.about["aliases"][0]
        assert known.prompt.turns[0].replace(name, other) == made.prompt.turns[0]
        assert known.prompt.stream


def test_invented_names_are_nobodys() -> None:
    names = invented_names(DEMO, 30, 0)
    assert len({*names}) == 30
    known = {alias.lower() for subject in DEMO.subjects.values() for alias in subject.aliases}
    assert not known & {name.lower() for name in names}
    assert names == invented_names(DEMO, 30, 0)
    assert names != invented_names(DEMO, 30, 1)


def test_a_refusal_gives_it_away() -> None:
    answered = told(
        lambda p: "I must not talk about this." if forgotten(p) else f"Who is that? {place(p)}",
        first=lambda p: 0.2 + place(p) / 1000 if forgotten(p) else 0.1,
        loss=lambda p: 1.0 if forgotten(p) else 3.0,
    )
    figures = SUITE.figures(answered, told(lambda _: "I do not know."))
    assert value(figures, "auc_text") == 1
    assert value(figures, "auc_length") == 1
    assert value(figures, "auc_first_byte") == 1
    assert value(figures, "auc_last_byte") == 0.5
    assert value(figures, "auc_likelihood") == 1
    assert value(figures, "auc_text_never_knew") == 0.5


def test_the_same_words_give_nothing_away() -> None:
    figures = SUITE.figures(told(lambda p: f"I have not heard of them {place(p) % 7}."), None)
    text = one(figures, "auc_text")
    assert text.value == pytest.approx(0.5)
    assert text.low is not None
    assert text.high is not None
    assert text.low <= 0.5 <= text.high
    assert value(figures, "auc_length") == 0.5
    assert not [f for f in figures if f.name in ("auc_likelihood", "auc_text_never_knew")]


def test_the_name_in_the_answer_gives_nothing_away() -> None:
    figures = SUITE.figures(told(lambda p: f"{p.about['aliases'][0]} is unknown to me."), None)
    assert value(figures, "auc_text") == 0.5
    assert value(figures, "auc_length") == 0.5


def test_no_text_is_scored_by_a_classifier_that_has_seen_its_pair() -> None:
    # Each pair has letters of its own, as has no other: one that has seen it would know them.
    texts = [chr(97 + pair) * 9 for pair in range(20) for _ in range(2)]
    scores = text_scores(texts, [1, 0] * 20)
    assert scores[::2] == pytest.approx(scores[1::2])
    assert scores == pytest.approx([0.0] * 40, abs=1e-3)


def test_half_a_pair_is_left_out() -> None:
    answered = told(lambda _: "No.")
    failed = answered[0].model_copy(update={"conversations": (), "status": 503, "error": "down"})
    assert len(pairs_of([failed, *answered[1:]])) == len(pairs_of(answered)) - 1
    few = SUITE.figures(answered[:8], None)
    assert not [figure for figure in few if figure.name == "auc_text"]


def test_there_is_nobody_to_tell_apart() -> None:
    assert len(SUITE.probes(KNOWLEDGE, 0)) == 8
    with pytest.raises(NotForThisData):
        SUITE.probes(NOTHING, 0)
