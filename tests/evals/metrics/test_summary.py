"""Figures say how many values they are made of, and leave out what is not a number."""

import math

from evals.metrics.summary import mean_of, number, share_of


def test_mean_with_interval() -> None:
    (figure,) = mean_of("x", [0.0, 1.0, math.nan, 0.5], "lower", note="n")
    assert (figure.value, figure.n, figure.note) == (0.5, 3, "n")
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= 0.5 <= figure.high
    assert mean_of("x", [math.nan], "lower") == []


def test_share_with_interval() -> None:
    (figure,) = share_of("x", 3, 4, "higher", by={"attack": "a"})
    assert figure.value == 0.75
    assert figure.by == {"attack": "a"}
    assert share_of("x", 0, 0, "higher") == []
    assert number("x", math.nan, "higher", 3) == []
    assert number("x", 0.5, "higher", 3)[0].low is None
