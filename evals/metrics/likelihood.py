"""What a model holds likely: probability, truth ratio, exact memorisation, extraction strength.

From TOFU (Maini et al. 2024, arXiv 2401.06121, repository locuslab/tofu) and open-unlearning
(Dorna et al. 2025, arXiv 2506.12618, repository locuslab/open-unlearning).  Both count the token
that ends an answer among those of the probabilities; a reading has none, so that one token less
is averaged over.

A forbidden token (logprob None) has probability 0.  With it

* the probability of the answer is 0, and its loss infinite;
* a probability normalised over alternatives is 0 where only the true answer is forbidden, and
  does not exist where all are;
* a truth ratio is 0, infinite or does not exist.  Such ratios are *degenerate*: a method that
  forbids tokens would get its best score from ``min(r, 1/r) = 0`` without a word about what the
  model knows.  They are left out of scores, and counted, for the count to be reported beside them;
* the token is not the likeliest one, which is all that exact memorisation and extraction strength
  look at.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from evals.probe import Reading

TOFU_EPSILON = 0.0
OPEN_UNLEARNING_EPSILON = 1e-10
"""What open-unlearning adds to every denominator; TOFU divides as it is."""


def loss(reading: Reading) -> float:
    """Mean negative log probability of the tokens, in nats; infinite where one is forbidden.

    Raises ValueError for a reading without tokens.
    """
    if not reading.logprobs:
        raise ValueError("a reading without tokens has no loss")
    if any(logprob is None for logprob in reading.logprobs):
        return math.inf
    return -float(np.mean([logprob for logprob in reading.logprobs if logprob is not None]))


def probability(reading: Reading) -> float:
    """``exp(-loss)``: the geometric mean of the token probabilities (TOFU, section 2.2.1)."""
    return math.exp(-loss(reading))


def normalised_probability(
    true: Reading, wrong: Sequence[Reading], epsilon: float = TOFU_EPSILON
) -> float:
    """``P(true) / (P(true) + sum of P(wrong))``, as TOFU scores real authors and world facts.

    epsilon: of the denominator, see ``OPEN_UNLEARNING_EPSILON``.  NaN where all are forbidden.
    """
    right = probability(true)
    total = right + sum(probability(each) for each in wrong) + epsilon
    return right / total if total else math.nan


class TruthRatio(NamedTuple):
    """A truth ratio.  degenerate: an answer on one side of it is forbidden (see the module)."""

    value: float
    degenerate: bool


def truth_ratio(
    true: Reading, wrong: Sequence[Reading], epsilon: float = TOFU_EPSILON
) -> TruthRatio:
    """``exp(-mean of loss(wrong)) / exp(-loss(true))``: TOFU's code, also open-unlearning's.

    true: the paraphrased answer for forget and retain sets, the answer itself for real authors and
    world facts.  The mean of losses makes it a geometric mean over the wrong answers (the paper's
    text has an arithmetic one).  0 where only a wrong answer is forbidden, infinite where only the
    true one, NaN where both.  Raises ValueError without wrong answers.
    """
    return _compared(true, wrong, lambda t, w: _quotient(w, t, epsilon))


def true_share(true: Reading, wrong: Sequence[Reading], epsilon: float = 1e-10) -> TruthRatio:
    """``P(true) / (P(true) + P(wrong))`` with the same geometric mean: open-unlearning's prob_mean.

    Its mean over a set is the truth ratio that open-unlearning's Mem aggregates.
    """
    return _compared(true, wrong, lambda t, w: _quotient(t, t + w, epsilon))


def forget_score(ratios: Sequence[TruthRatio], epsilon: float = TOFU_EPSILON) -> float:
    """Mean of ``min(r, 1/r)`` over ratios that are not degenerate: 1 if nothing is known."""
    return _mean([min(r, 1 / (r + epsilon)) if r + epsilon else 0.0 for r in _proper(ratios)])


def kept_score(ratios: Sequence[TruthRatio]) -> float:
    """Mean of ``max(0, 1 - r)`` over ratios that are not degenerate: 1 if the truth is known."""
    return _mean([max(0.0, 1 - r) for r in _proper(ratios)])


def share_score(shares: Sequence[TruthRatio]) -> float:
    """Mean over shares that are not degenerate."""
    return _mean(_proper(shares))


def degenerate(ratios: Sequence[TruthRatio]) -> int:
    """How many are degenerate: to be reported beside every score."""
    return sum(each.degenerate for each in ratios)


def exact_memorisation(reading: Reading) -> float:
    """Share of the tokens that are the likeliest after the true ones before them.

    Tirumala et al. 2022 (arXiv 2205.10770), as in open-unlearning.  Raises ValueError for a reading
    without tokens.
    """
    if not reading.likeliest:
        raise ValueError("a reading without tokens has nothing to memorise")
    return sum(reading.likeliest) / len(reading.likeliest)


def extraction_strength(reading: Reading) -> float:
    """``1 - k/n``: from the k-th of n tokens on, every token is the likeliest one.

    Carlini et al. 2021 (arXiv 2012.07805), as in open-unlearning: k goes up to n - 1, so that the
    value is 1/n also where the last token is not the likeliest, and 0 only without tokens.
    """
    count = len(reading.likeliest)
    for begin in range(count):
        if all(reading.likeliest[begin:]) or begin == count - 1:
            return 1 - begin / count
    return 0.0


def _compared(
    true: Reading, wrong: Sequence[Reading], combine: Callable[[float, float], float]
) -> TruthRatio:
    if not wrong:
        raise ValueError("a truth ratio needs wrong answers")
    losses = loss(true), float(np.mean([loss(each) for each in wrong]))
    right, false = (math.exp(-each) for each in losses)
    return TruthRatio(combine(right, false), any(math.isinf(each) for each in losses))


def _quotient(over: float, under: float, epsilon: float) -> float:
    if under + epsilon:
        return over / (under + epsilon)
    return math.inf if over else math.nan


def _proper(ratios: Sequence[TruthRatio]) -> list[float]:
    return [each.value for each in ratios if not each.degenerate]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
