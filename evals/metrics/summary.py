"""Figures from values: the mean with its interval, a share with its."""

import math
from collections.abc import Mapping, Sequence

from evals.statistics import mean_interval, proportion
from evals.suite import Better, Figure


def mean_of(
    name: str,
    values: Sequence[float],
    better: Better,
    note: str = "",
    by: Mapping[str, str] | None = None,
) -> list[Figure]:
    """Their mean with a bootstrap interval; NaN is left out; no figure where nothing is left."""
    left = [value for value in values if not math.isnan(value)]
    if not left:
        return []
    whole = number(name, sum(left) / len(left), better, len(left), note, by)
    return _within(whole, *mean_interval(left))


def share_of(
    name: str,
    hits: int,
    n: int,
    better: Better,
    note: str = "",
    by: Mapping[str, str] | None = None,
) -> list[Figure]:
    """A share with its exact interval; no figure where there is nothing to count."""
    if not n:
        return []
    return _within(number(name, hits / n, better, n, note, by), *proportion(hits, n))


def number(
    name: str,
    value: float,
    better: Better,
    n: int,
    note: str = "",
    by: Mapping[str, str] | None = None,
) -> list[Figure]:
    """One number without an interval; no figure where it is not a number."""
    if math.isnan(value):
        return []
    return [Figure(name=name, value=value, better=better, n=n, by=by or {}, note=note)]


def _within(figures: list[Figure], low: float, high: float) -> list[Figure]:
    return [figure.model_copy(update={"low": low, "high": high}) for figure in figures]
