import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fitting.conformal import attainable, highest_of, lowest_of
from models.fitting.detector import PREFERRED, chosen_threshold

SCORES = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=30)


def test_worked_by_hand() -> None:
    # 19 scores at 10 %: of 20 exchangeable ones, 2 may be wrong; so the second lowest.
    scores = [float(n) for n in range(1, 20)]
    assert lowest_of(scores, 0.1) == 2
    assert highest_of(scores, 0.1) == 18
    assert lowest_of(scores, 0.04) is None
    assert attainable(19, 0.04) == 0.05
    assert lowest_of(scores, attainable(19, 0.04)) == 1


@given(SCORES, st.floats(0.01, 0.9))
def test_over_every_choice_of_the_one_left_out_the_error_is_kept(
    scores: list[float], error: float
) -> None:
    """Exchangeability: each of the n + 1 scores is as likely to be the new one."""
    wrong = wrong_above = 0
    for index, new in enumerate(scores):
        rest = scores[:index] + scores[index + 1 :]
        low, high = lowest_of(rest, error), highest_of(rest, error)
        wrong += low is not None and new < low
        wrong_above += high is not None and new > high
    assert wrong <= error * len(scores) + 1e-6
    assert wrong_above <= error * len(scores) + 1e-6


def test_texts_that_nobody_has_seen_keep_the_stated_errors() -> None:
    dice, missed, alarmed, runs = random.Random(1), 0, 0, 2000
    for _ in range(runs):
        about = [dice.gauss(1.5, 1) for _ in range(30)]
        others = [dice.gauss(-1.5, 1) for _ in range(30)]
        threshold, stated = chosen_threshold(about, others, 0.1)
        alarmed += dice.gauss(-1.5, 1) >= threshold
        missed += stated["about"]["kept"] and dice.gauss(1.5, 1) < threshold
    assert alarmed / runs < 0.12
    assert missed / runs < 0.12


@pytest.mark.parametrize(
    ("about", "others", "threshold", "kept"),
    [
        ([2.0, 3.0], [-3.0, -2.0], PREFERRED, True),
        ([-1.0, 3.0], [-3.0, -2.0], -1.0, True),
        ([2.0, 3.0], [-3.0, 1.0], 1.0, True),
        ([-1.0, 3.0], [-3.0, 1.0], 1.0, False),
        ([-9.0, 3.0], [-20.0], -1.0, False),
        ([], [-3.0], PREFERRED, False),
        ([], [], PREFERRED, False),
    ],
)
def test_the_preferred_threshold_is_kept_where_both_errors_are(
    about: list[float], others: list[float], threshold: float, *, kept: bool
) -> None:
    found, stated = chosen_threshold(about, others, 0.01)
    assert found == pytest.approx(threshold)
    assert stated["about"]["kept"] is kept
    assert stated["others"]["kept"] is bool(others)
    assert all(other < found for other in others)
    assert stated["others"]["wrong"] == 0
    assert stated["about"]["wrong"] == sum(score < found for score in about)
