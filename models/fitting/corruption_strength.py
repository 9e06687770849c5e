"""How strong a corruption must be: a search that needs nothing but scores.

Source: Liu et al., "Large Language Model Unlearning via Embedding-Corrupted Prompts" (2024): a
zeroth-order gradient from two scores, and a surrogate for the score of a model that never knew.
A strength is a positive number, or one for each dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Strengths = NDArray[np.float64]
SMALLEST = 1e-8  # a strength must stay positive while it is probed


@dataclass(frozen=True, slots=True)
class Schedule:
    """rate: the step is the rate times the gradient.  reach: how far to each side it is probed.

    least: no strength but a probe goes below it.  steps: most steps.  enough: the search ends at
    an objective not above it; None: it does not.  Raises ValueError for what cannot be searched.
    """

    rate: float
    reach: float
    least: float = SMALLEST
    steps: int = 10
    enough: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.rate, self.reach, self.least)
        if not all(np.isfinite(number) and number > 0 for number in numbers) or self.steps < 1:
            raise ValueError("rate, reach and least must be positive and finite, steps at least 1")


@dataclass(frozen=True, slots=True)
class Found:
    """The best of the strengths stepped on, its objective, and how many scores the search took."""

    strength: float
    objective: float
    scores: int


@dataclass(frozen=True, slots=True)
class FoundEach:
    """As ``Found``, with a strength for each dimension: [dims]."""

    strengths: Strengths
    objective: float
    scores: int


def distance_to(metric: Callable[[float], float], surrogate: float) -> Callable[[float], float]:
    """The objective: how far the unlearned model's metric is from what the surrogate has.

    metric: of the model under a corruption of that strength.  surrogate: an estimate of the same
    metric for a model that never knew, such as 0.25 for questions with four choices.
    """
    return lambda strength: abs(metric(strength) - surrogate)


def search(objective: Callable[[float], float], start: float, how: Schedule) -> Found:
    """Lower the objective from ``start`` by steps against its two-point gradient.

    g = (f(b + r) - f(max(b - r, tiny))) / 2r;  b <- max(b - rate * g, least).
    Raises ValueError where the start is not positive or a score is not finite.
    """
    found = search_each(lambda each: objective(float(each[0])), np.array([start]), how, None)
    return Found(float(found.strengths[0]), found.objective, found.scores)


def search_each(
    objective: Callable[[Strengths], float], start: Strengths, how: Schedule, seed: int | None
) -> FoundEach:
    """The same for a strength for each dimension, along one random direction in each step.

    start: [dims].  seed: of the directions; None: along (1, ..., 1) / sqrt(dims), unchanged.
    The gradient is g = (f(b + r u) - f(max(b - r u, tiny))) / 2r, times u.
    """
    strengths = _positive(start)
    scored = _Scored(objective)
    random = None if seed is None else np.random.default_rng(seed)
    value = scored.stepped(strengths)
    for _ in range(how.steps):
        if how.enough is not None and value <= how.enough:
            break
        direction = _direction(len(strengths), random)
        above = scored.probed(np.maximum(strengths + how.reach * direction, SMALLEST))
        below = scored.probed(np.maximum(strengths - how.reach * direction, SMALLEST))
        gradient = (above - below) / (2 * how.reach) * direction
        strengths = np.maximum(strengths - how.rate * gradient, how.least)
        value = scored.stepped(strengths)
    return FoundEach(scored.best, scored.lowest, scored.count)


class _Scored:
    """The objective, how often it was asked, and the best step."""

    def __init__(self, objective: Callable[[Strengths], float]) -> None:
        self._objective = objective
        self.best: Strengths = np.empty(0)
        self.lowest = np.inf
        self.count = 0

    def probed(self, strengths: Strengths) -> float:
        value = float(self._objective(strengths.copy()))
        if not np.isfinite(value):
            raise ValueError("an objective must be finite")
        self.count += 1
        return value

    def stepped(self, strengths: Strengths) -> float:
        value = self.probed(strengths)
        if value < self.lowest:
            self.best, self.lowest = strengths.copy(), value
        return value


def _positive(start: Strengths) -> Strengths:
    strengths = np.asarray(start, dtype=np.float64).copy()
    if strengths.ndim != 1 or not len(strengths) or not (strengths > 0).all():
        raise ValueError("a search starts from positive strengths")
    if not np.isfinite(strengths).all():
        raise ValueError("a search starts from finite strengths")
    return strengths


def _direction(dims: int, random: np.random.Generator | None) -> Strengths:
    if random is None:
        return np.full(dims, 1 / np.sqrt(dims))
    drawn = random.standard_normal(dims)
    return drawn / np.linalg.norm(drawn)
