"""The two-sample test against brute force; model utility by hand."""

import math
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.forget_quality import forget_quality, model_utility


def distance(one: list[float], other: list[float]) -> Fraction:
    """Greatest difference of the two empirical distribution functions, at every value."""
    return max(
        abs(
            Fraction(sum(x <= at for x in one), len(one))
            - Fraction(sum(x <= at for x in other), len(other))
        )
        for at in (*one, *other)
    )


def exact_p(n: int, m: int, least: Fraction) -> Fraction:
    """Share of all orders of n and m different values that are at least so far apart."""
    far = total = 0
    for chosen in combinations(range(n + m), n):
        rest = [float(i) for i in range(n + m) if i not in chosen]
        far += distance([float(i) for i in chosen], rest) >= least
        total += 1
    return Fraction(far, total)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]),
        ([0.1, 0.5, 0.6, 0.9], [0.2, 0.3, 0.4, 0.7]),
        ([0.1, 0.5, 0.6], [0.2, 0.3, 0.4, 0.7, 0.8]),
    ],
)
def test_against_every_possible_order(one: list[float], other: list[float]) -> None:
    found = forget_quality(one, other)
    far = distance(one, other)
    expected = float(exact_p(len(one), len(other), far))
    assert found.statistic == pytest.approx(float(far))
    assert found.p == pytest.approx(expected)
    assert found.log10_p == pytest.approx(math.log10(expected))


def test_log_p_where_p_underflows() -> None:
    # 2 / C(2n, n) where the samples lie apart, here by exact integers.
    n = 600
    found = forget_quality([i / n for i in range(n)], [2 + i / n for i in range(n)])
    assert found.p == 0
    assert found.log10_p == pytest.approx(math.log10(2) - log10(math.comb(2 * n, n)))


def test_log_p_of_unequal_samples_where_p_underflows() -> None:
    found = forget_quality(list(range(700)), [1000.0 + i for i in range(900)])
    expected = math.log10(2) - 2 * 700 * 900 / 1600 / math.log(10)  # the limit for large samples
    assert found.log10_p == pytest.approx(expected)


def log10(number: int) -> float:
    digits = str(number)
    return math.log10(float(f"0.{digits[:17]}")) + len(digits)


def test_formula_and_table_agree_just_above_the_underflow() -> None:
    n = 400
    found = forget_quality([i / n for i in range(n)], [2 + i / n for i in range(n)])
    assert found.log10_p == pytest.approx(math.log10(2) - log10(math.comb(2 * n, n)), rel=1e-9)
    assert found.log10_p == pytest.approx(math.log10(found.p))


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=20))
def test_ratios_and_their_inverses_give_the_same(ratios: list[float]) -> None:
    other = [0.5, 1.0, 2.0, 4.0]
    there = forget_quality(ratios, other)
    back = forget_quality([1 / r for r in ratios], [1 / r for r in other])
    assert there.p == pytest.approx(back.p)
    assert forget_quality(other, other).p == 1


def test_only_the_first_rows_count_where_rows_are_given() -> None:
    same, apart = [float(i) for i in range(300)], [1000.0] * 100
    assert forget_quality(same + apart, same + same[:100], rows=300).p == 1
    assert forget_quality(same + apart, same + same[:100]).p < 1e-6


def test_infinite_ratios_are_the_last_in_order_and_nan_is_left_out() -> None:
    found = forget_quality([math.inf, math.nan, 0.0], [0.5, 0.6, 0.7])
    assert found.sizes == (2, 3)
    assert found.statistic == pytest.approx(0.5)
    with pytest.raises(ValueError, match="both models"):
        forget_quality([math.nan], [0.5])


def test_model_utility_is_the_harmonic_mean() -> None:
    assert model_utility([0.5, 1.0]) == pytest.approx(2 / 3)
    assert model_utility([0.9] * 8 + [0.0]) == 0
    with pytest.raises(ValueError, match="without a value"):
        model_utility([])
