"""The search for a strength, on functions whose best strength is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fitting.corruption_strength import (
    SMALLEST,
    Schedule,
    Strengths,
    distance_to,
    search,
    search_each,
)


@given(best=st.floats(0.5, 20.0), start=st.floats(0.1, 20.0))
@settings(max_examples=50, deadline=None)
def test_a_parabola_is_descended_to_its_foot(best: float, start: float) -> None:
    found = search(lambda b: (b - best) ** 2, start, Schedule(0.25, 0.05, steps=60))
    assert found.strength == pytest.approx(best, abs=1e-3)
    assert found.scores == 1 + 3 * 60


def test_each_step_is_the_formula() -> None:
    asked: list[float] = []

    def objective(strength: float) -> float:
        asked.append(strength)
        return strength**3

    search(objective, 2.0, Schedule(0.1, 0.5, least=0.5, steps=2))
    first = 2.0 - 0.1 * (2.5**3 - 1.5**3) / 1.0
    second = max(0.5, first - 0.1 * ((first + 0.5) ** 3 - (first - 0.5) ** 3) / 1.0)
    assert asked == pytest.approx([2.0, 2.5, 1.5, first, first + 0.5, first - 0.5, second])


def test_a_strength_that_is_probed_stays_positive() -> None:
    asked: list[float] = []

    def objective(strength: float) -> float:
        asked.append(strength)
        return strength

    found = search(objective, 0.1, Schedule(100.0, 0.9, least=0.05, steps=3))
    assert min(asked) == SMALLEST
    assert found.strength == 0.05


def test_the_accuracy_of_a_guess_is_sought_from_above_and_below() -> None:
    def accuracy(strength: float) -> float:
        return 0.1 + 0.8 * float(np.exp(-strength / 3))

    at = -3 * float(np.log(0.15 / 0.8))
    for start in (0.5, 7.0):
        how = Schedule(2.0, 0.3, steps=200, enough=0.004)
        found = search(distance_to(accuracy, 0.25), start, how)
        assert found.strength == pytest.approx(at, abs=0.2)
        assert found.objective <= 0.004
        assert found.scores < 1 + 3 * 200, "it goes on when it has enough"


def test_the_best_step_is_kept_where_later_ones_are_worse() -> None:
    found = search(lambda b: abs(b - 1.0), 1.0, Schedule(5.0, 0.25, steps=4))
    assert (found.strength, found.objective) == (1.0, 0.0)


def test_a_strength_for_each_dimension_is_found() -> None:
    best = np.array([1.0, 4.0, 2.0, 0.5])

    def objective(strengths: Strengths) -> float:
        return float(((strengths - best) ** 2).sum())

    found = search_each(objective, np.full(4, 3.0), Schedule(0.4, 0.01, steps=300), seed=1)
    assert found.strengths == pytest.approx(best, abs=0.05)
    short = Schedule(0.4, 0.01, steps=5)
    few = [search_each(objective, np.full(4, 3.0), short, seed).strengths for seed in (1, 1, 2)]
    assert np.array_equal(few[0], few[1])
    assert not np.array_equal(few[0], few[2])


def test_the_caller_s_start_is_not_written() -> None:
    start = np.full(3, 2.0)
    search_each(lambda each: float(each.sum()), start, Schedule(0.1, 0.1, steps=3), seed=0)
    assert start.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("start", [[], [0.0], [-1.0], [float("nan")], [float("inf")], [[1.0]]])
def test_a_start_that_is_no_strength_is_refused(start: list[float]) -> None:
    with pytest.raises(ValueError, match="strengths"):
        search_each(lambda each: 0.0, np.array(start), Schedule(1.0, 0.1), seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_ends_the_search(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        search(lambda strength: value, 1.0, Schedule(1.0, 0.1))


@pytest.mark.parametrize(
    "options", [{"rate": 0}, {"reach": -1}, {"least": 0}, {"steps": 0}, {"rate": float("nan")}]
)
def test_a_schedule_that_goes_nowhere_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Schedule(**{"rate": 1.0, "reach": 0.1, **options})  # type: ignore[arg-type]
