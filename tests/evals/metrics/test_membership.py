"""Membership attacks by hand, and the AUC by counting pairs."""

import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.membership import (
    auc,
    auc_interval,
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    privleak,
    scores,
    zlib_score,
)
from evals.probe import Reading

READ = Reading(
    logprobs=(-1.0, -2.0, -4.0, -3.0, -5.0),
    likeliest=(False,) * 5,
    means=(-1.0, -1.0, -2.0, -5.0, -3.0),
    deviations=(1.0, 0.5, 2.0, 1.0, 0.0),
)


def test_attacks_by_hand() -> None:
    text = "She was born in Vellport."
    assert loss_score(READ) == 3
    assert zlib_score(READ, text) == pytest.approx(3 / len(zlib.compress(text.encode())))
    assert min_k_score(READ) == pytest.approx((5 + 4) / 2)  # 0.4 of 5 tokens
    assert min_k_score(READ, 0.1) == 5  # at least one
    # standardised: 0, -2, -1, 2, and (-5 + 3) over the least deviation
    assert min_k_plus_plus_score(READ) == pytest.approx((2 + 2 / 1e-3) / 2)
    assert min_k_plus_plus_score(READ, 0.6) == pytest.approx((2 + 2 / 1e-3 + 1) / 3)
    assert set(scores(READ, text)) == {"mia_loss", "mia_zlib", "mia_min_k", "mia_min_k++"}


def test_a_forbidden_token_comes_last_in_order_under_every_attack() -> None:
    masked = READ.model_copy(update={"logprobs": (None, -0.1, -0.1, -0.1, -0.1)})
    assert all(value == math.inf for value in scores(masked, "text").values())
    assert auc([math.inf, math.inf], [1.0, math.inf]) == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)


def test_a_reading_without_tokens_is_refused() -> None:
    empty = Reading(logprobs=(), likeliest=(), means=(), deviations=())
    with pytest.raises(ValueError, match="without tokens"):
        min_k_score(empty)
    with pytest.raises(ValueError, match="without tokens"):
        min_k_plus_plus_score(empty)


few = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf]), min_size=1, max_size=8)


@given(few, few)
def test_auc_counts_pairs(forget: list[float], holdout: list[float]) -> None:
    pairs = [
        1.0 if one < other else 0.5 if one == other else 0.0 for one in forget for other in holdout
    ]
    assert auc(forget, holdout) == pytest.approx(sum(pairs) / len(pairs))


def test_auc_is_one_where_forgotten_texts_are_likelier() -> None:
    assert auc([0.1, 0.2], [1.0, 2.0]) == 1
    with pytest.raises(ValueError, match="both sides"):
        auc([], [1.0])


def test_interval_holds_the_value_and_is_the_same_each_time() -> None:
    forget, holdout = [0.1 * i for i in range(20)], [0.1 * i + 0.5 for i in range(20)]
    low, high = auc_interval(forget, holdout)
    assert low < auc(forget, holdout) < high
    assert (low, high) == auc_interval(forget, holdout)


def test_privleak_by_hand() -> None:
    # MUSE-News: target recognised all but wholly, the retrained model's (MUSE's) AUC .4772.
    assert privleak(0.999, 1 - 0.4772) == pytest.approx((0.001 - 0.4772) / 0.4772 * 100)
    assert privleak(1.0) == -100
    assert privleak(0.5) == 0
    assert privleak(0.25) == 50
    assert privleak(0.75, 0.5, "relative difference") == 50
    assert math.isnan(privleak(0.5, 1.0))
