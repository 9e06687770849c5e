"""Likelihood metrics against values worked out by hand."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.likelihood import (
    OPEN_UNLEARNING_EPSILON,
    TruthRatio,
    degenerate,
    exact_memorisation,
    extraction_strength,
    forget_score,
    kept_score,
    loss,
    normalised_probability,
    probability,
    share_score,
    true_share,
    truth_ratio,
)
from evals.probe import Reading


def reading(*probabilities: float | None, likeliest: tuple[bool, ...] | None = None) -> Reading:
    """From the probability of each token; None is a forbidden one."""
    count = len(probabilities)
    return Reading(
        logprobs=tuple(None if p is None else math.log(p) for p in probabilities),
        likeliest=likeliest or (True,) * count,
        means=(0.0,) * count,
        deviations=(1.0,) * count,
    )


def test_probability_is_the_geometric_mean_of_the_tokens() -> None:
    assert probability(reading(0.5, 0.125)) == pytest.approx(math.sqrt(0.5 * 0.125))
    assert loss(reading(0.5, 0.125)) == pytest.approx(2 * math.log(2))


def test_a_forbidden_token_makes_the_answer_impossible() -> None:
    assert probability(reading(0.9, None)) == 0
    assert loss(reading(None)) == math.inf


def test_a_reading_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        loss(reading())
    with pytest.raises(ValueError, match="without tokens"):
        exact_memorisation(reading())


def test_normalised_probability() -> None:
    wrong = [reading(0.1), reading(0.3)]
    assert normalised_probability(reading(0.4), wrong) == pytest.approx(0.5)
    with_epsilon = normalised_probability(reading(1e-10), [], OPEN_UNLEARNING_EPSILON)
    assert with_epsilon == pytest.approx(0.5)
    assert normalised_probability(reading(None), wrong) == 0
    assert math.isnan(normalised_probability(reading(None), [reading(None)]))


def test_truth_ratio_takes_the_geometric_mean_over_wrong_answers() -> None:
    ratio = truth_ratio(reading(0.5), [reading(0.1), reading(0.4)])
    assert ratio.value == pytest.approx(0.2 / 0.5)
    assert not ratio.degenerate
    share = true_share(reading(0.5), [reading(0.1), reading(0.4)])
    assert share.value == pytest.approx(0.5 / 0.7)
    with pytest.raises(ValueError, match="wrong answers"):
        truth_ratio(reading(0.5), [])


def test_epsilon_matters_only_for_what_is_hardly_possible() -> None:
    wrong = [reading(1e-10)]
    assert truth_ratio(reading(1e-10), wrong).value == pytest.approx(1)
    assert truth_ratio(reading(1e-10), wrong, OPEN_UNLEARNING_EPSILON).value == pytest.approx(0.5)


def test_forbidden_answers_make_degenerate_ratios_that_no_score_takes_in() -> None:
    masked = truth_ratio(reading(0.5, None), [reading(0.2)])
    wrong = truth_ratio(reading(0.5), [reading(0.2), reading(None)])
    both = truth_ratio(reading(None), [reading(None)])
    assert masked == TruthRatio(math.inf, degenerate=True)
    assert wrong == TruthRatio(0.0, degenerate=True)
    assert both.degenerate
    assert math.isnan(both.value)
    proper = TruthRatio(0.5, degenerate=False)
    ratios = [masked, proper, wrong, both]
    assert degenerate(ratios) == 3
    assert forget_score(ratios) == 0.5
    assert kept_score(ratios) == 0.5
    assert share_score(ratios) == 0.5
    assert math.isnan(forget_score([masked]))


def test_scores_by_hand() -> None:
    ratios = [TruthRatio(value, degenerate=False) for value in (0.25, 1.0, 4.0)]
    assert forget_score(ratios) == pytest.approx((0.25 + 1 + 0.25) / 3)
    assert kept_score(ratios) == pytest.approx((0.75 + 0 + 0) / 3)


@pytest.mark.parametrize(
    ("right", "strength"),
    [
        ((True, True, True, True), 1.0),
        ((False, True, True, True), 0.75),
        ((True, False, False, True), 0.25),
        ((True, True, True, False), 0.25),  # the floor: k stops at n - 1
        ((False,), 1.0),  # and so with one token
        ((), 0.0),
    ],
)
def test_extraction_strength(right: tuple[bool, ...], strength: float) -> None:
    assert extraction_strength(reading(*(0.5,) * len(right), likeliest=right)) == strength


def test_exact_memorisation() -> None:
    right = (True, False, True, True)
    assert exact_memorisation(reading(0.5, 0.5, 0.5, 0.5, likeliest=right)) == 0.75


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_extraction_strength_is_the_longest_right_suffix_never_below_one_token(
    right: list[bool],
) -> None:
    suffix = sum(accumulate(reversed(right), lambda a, b: a and b))
    read = reading(*(0.5,) * len(right), likeliest=tuple(right))
    assert extraction_strength(read) == pytest.approx(max(1, suffix) / len(right))
    if suffix:
        assert extraction_strength(read) <= exact_memorisation(read) + 1e-9


@given(
    st.floats(0.01, 0.99),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6),
)
def test_share_and_ratio_say_the_same(true: float, wrong: list[float]) -> None:
    others = [reading(each) for each in wrong]
    ratio = truth_ratio(reading(true), others).value
    assert true_share(reading(true), others, 0).value == pytest.approx(1 / (1 + ratio))
