import math

import numpy as np
import pytest

from service.compiler.statistics import LEAST_LOG_P, distance, mean_of, rate


def _at_most(found: int, of: int, p: float) -> float:
    """Probability of so many or fewer: summed term by term."""
    return sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(found + 1))


@pytest.mark.parametrize(("found", "of"), [(0, 1), (0, 60), (1, 60), (7, 20), (19, 20)])
def test_the_bound_is_the_rate_at_which_so_few_would_be_found_once_in_twenty(
    found: int, of: int
) -> None:
    upper = rate(found, of).upper
    assert _at_most(found, of, upper) == pytest.approx(0.05, abs=1e-9)


def test_a_bound_without_trials_or_with_all_found_is_one() -> None:
    assert rate(0, 0).upper == 1.0
    assert rate(5, 5).upper == 1.0
    with pytest.raises(ValueError, match="no rate"):
        rate(2, 1)


def _slow_distance(one: list[float], other: list[float]) -> float:
    points = [*one, *other]
    return max(
        abs(sum(x <= at for x in one) / len(one) - sum(x <= at for x in other) / len(other))
        for at in points
    )


def test_the_distance_is_the_greatest_difference_of_the_distributions() -> None:
    random = np.random.default_rng(3)
    one, other = random.normal(size=40).tolist(), random.normal(0.7, size=25).tolist()
    found = distance(one, other)
    assert found.value == pytest.approx(_slow_distance(one, other))
    assert 0 < found.p < 1
    assert distance(one, one) == (0.0, 1.0)


def test_nothing_is_not_taken_to_be_like_anything() -> None:
    assert distance([], [1.0]) == (1.0, 0.0)
    assert distance([1.0], []) == (1.0, 0.0)


def test_what_is_banned_has_a_finite_mean() -> None:
    assert mean_of(np.array([-np.inf, -2.0])) == (LEAST_LOG_P - 2.0) / 2
