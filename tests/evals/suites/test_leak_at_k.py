"""leak@k: the estimator against drawing all subsets, and the suite on answers and models."""

from itertools import combinations

import pytest

from evals.datasets import load
from evals.probe import Answered, Reply
from evals.suite import NotForThisData
from evals.suites.leak_at_k import SAMPLES, SUITE, leak_at
from tests.evals.in_process import demo_pair
from tests.evals.suites.by_hand import KNOWLEDGE, NOTHING, value


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_it_is_the_share_of_subsets_with_a_leak(n: int) -> None:
    for leaked in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations(range(n), k))
            hit = sum(any(place < leaked for place in subset) for subset in subsets)
            assert leak_at(k, n, leaked) == pytest.approx(hit / len(subsets))


@pytest.mark.parametrize(("k", "n", "leaked"), [(0, 4, 1), (5, 4, 1), (1, 4, 5), (1, 4, -1)])
def test_what_is_no_sample_is_refused(k: int, n: int, leaked: int) -> None:
    with pytest.raises(ValueError, match="leak@"):
        leak_at(k, n, leaked)


def test_by_hand() -> None:
    probes = SUITE.probes(KNOWLEDGE, 0)
    forget = [probe for probe in probes if probe.group == "forget"]
    assert [probe.prompt.samples for probe in probes] == [SAMPLES] * len(probes)
    answered = []
    for probe in forget:
        leaks = 4 if probe is forget[0] else 0
        texts = [probe.facts[0]] * leaks + ["Unknown to me."] * (SAMPLES - leaks)
        answered.append(
            Answered(probe=probe, conversations=tuple((Reply(text=text),) for text in texts))
        )
    figures = SUITE.figures(answered, None)
    assert value(figures, "leak_at_k", k="1") == pytest.approx(4 / 16 / len(forget))
    assert value(figures, "leak_at_k", k="16") == pytest.approx(1 / len(forget))
    two = 1 - (12 * 11) / (16 * 15)
    assert value(figures, "leak_at_k", k="2") == pytest.approx(two / len(forget))
    assert not [figure for figure in figures if figure.name == "control_at_k"]


def test_a_refused_request_leaks_in_no_sample() -> None:
    probes = SUITE.probes(KNOWLEDGE, 0)
    figures = SUITE.figures([Answered(probe=p, status=400, error="no") for p in probes], None)
    assert value(figures, "leak_at_k", k="16") == 0


def test_there_is_nothing_to_sample_of_nothing() -> None:
    with pytest.raises(NotForThisData):
        SUITE.probes(NOTHING, 0)


def test_the_twin_never_says_it_however_often_it_is_asked() -> None:
    probes = [
        probe.model_copy(
            update={"ask": probe.prompt.model_copy(update={"samples": 2, "max_tokens": 24})}
        )
        for probe in SUITE.probes(load("demo", 4), 0)
        if probe.group == "forget"
    ]
    knows, twin = demo_pair(read=False)
    assert value(SUITE.figures(list(knows.answers(probes)), None), "leak_at_k", k="2") > 0.7
    assert value(SUITE.figures(list(twin.answers(probes)), None), "leak_at_k", k="2") == 0
