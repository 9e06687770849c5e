"""Intervals against slow sums, and against what is known in closed form."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics import mean_interval, proportion


def at_least(successes: int, n: int, p: float) -> float:
    """P(X >= successes) of a binomial, summed term by term."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(successes, n + 1))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_each_end_leaves_a_fortieth_in_its_tail(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = proportion(successes, n)
    if successes:
        assert at_least(successes, n, low) == pytest.approx(0.025, rel=1e-6)
    if successes < n:
        assert 1 - at_least(successes + 1, n, high) == pytest.approx(0.025, rel=1e-6)
    assert low <= successes / n <= high


def test_nothing_seen_leaves_the_bound_that_has_a_closed_form() -> None:
    assert proportion(0, 100) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert proportion(100, 100) == pytest.approx((0.025 ** (1 / 100), 1.0))
    assert proportion(0, 0) == (0.0, 1.0)


def test_the_bound_of_one_side_is_the_rule_of_three() -> None:
    assert proportion(0, 1000, level=0.9)[1] == pytest.approx(3 / 1000, rel=0.01)


@pytest.mark.parametrize("case", [(-1, 5), (6, 5)])
def test_what_is_no_proportion_is_refused(case: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        proportion(*case)


def test_the_bootstrap_agrees_with_the_normal_interval_of_a_large_sample() -> None:
    values = [math.sin(i) for i in range(1000)]
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    low, high = mean_interval(values)
    assert low == pytest.approx(statistics.fmean(values) - half, abs=half / 8)
    assert high == pytest.approx(statistics.fmean(values) + half, abs=half / 8)


def test_the_bootstrap_is_the_same_with_the_same_seed_and_only_then() -> None:
    values = [0.0, 0.25, 0.5, 1.0, 0.125]
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values * 7, seed=1) != mean_interval(values * 7, seed=2)


def test_equal_values_have_no_width_and_none_have_no_interval() -> None:
    assert mean_interval([0.5] * 9) == (0.5, 0.5)
    with pytest.raises(ValueError, match="nothing"):
        mean_interval([])
