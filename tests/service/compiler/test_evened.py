import numpy as np
import pytest
from scipy.special import log_softmax

from service.compiler.candidates.evened import MOST_NATS, lowered, penalty
from service.compiler.likelihood import TokenScore


def test_a_lowered_token_has_the_probability_that_softmax_gives_it() -> None:
    logits = np.random.default_rng(0).normal(scale=3, size=50)
    for token in (0, int(logits.argmax())):
        for nats in (0.0, 0.5, 6.0):
            less = logits.copy()
            less[token] -= nats
            before = log_softmax(logits)[[token]]
            assert lowered(before, nats) == pytest.approx(log_softmax(less)[[token]])


def test_a_certain_token_is_lowered_too() -> None:
    # A probability of 1 in floats, as the middle of a long word has.
    assert lowered(np.array([0.0]), 3.0) == pytest.approx([0.0])
    assert lowered(np.array([-1e-9]), 3.0)[0] < 0


def _scores(*log_p: float) -> list[TokenScore]:
    return [TokenScore(number, each) for number, each in enumerate(log_p)]


def test_the_penalty_brings_the_mean_down_to_the_goal_and_no_further() -> None:
    answers = [_scores(-0.2, -1.5), _scores(-2.0)]
    for goal in (-2.0, -4.0, -7.5):
        nats = penalty(answers, goal)
        each = [lowered(np.array([t.log_p for t in tokens]), nats).mean() for tokens in answers]
        assert np.mean(each) == pytest.approx(goal, abs=1e-6)


def test_what_is_unlikely_enough_is_left_alone() -> None:
    assert penalty([_scores(-5.0)], -4.0) == 0.0
    assert penalty([], -4.0) == 0.0


def test_no_penalty_is_a_ban() -> None:
    assert penalty([_scores(-0.1)], -1e6) == pytest.approx(MOST_NATS)
