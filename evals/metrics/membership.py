"""Membership inference: can one tell from likelihoods what a model was trained on?

Every attack scores a text so that *higher means less likely a member*, and ``auc`` is then 1 where
forgotten texts look like members and texts never trained on do not, .5 where they look alike: the
signs of open-unlearning.  A forbidden token makes every score infinite: the last in the order.

Attacks: loss (Yeom et al. 2018, arXiv 1709.01604), zlib (Carlini et al. 2021, arXiv 2012.07805),
min-k (Shi et al. 2024, arXiv 2310.16789), min-k++ (Zhang et al. 2025, arXiv 2404.02936).
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from evals.metrics import likelihood
from evals.probe import Reading

K = 0.4
"""Share of a text's least likely tokens that min-k looks at, in open-unlearning and MUSE."""
LEAST_DEVIATION = 1e-3
"""open-unlearning's: it holds the variance above 1e-6."""
RESAMPLES = 1000

Privleak = Literal["muse", "relative difference"]


def loss_score(reading: Reading) -> float:
    """Mean negative log probability, in nats."""
    return likelihood.loss(reading)


def zlib_score(reading: Reading, text: str) -> float:
    """Loss over the length of the compressed text in bytes."""
    return likelihood.loss(reading) / len(zlib.compress(text.encode()))


def min_k_score(reading: Reading, k: float = K) -> float:
    """Minus the mean log probability of the share k of tokens that are least likely."""
    likelihood.loss(reading)  # refuses a reading without tokens
    return _lowest([-math.inf if each is None else each for each in reading.logprobs], k)


def min_k_plus_plus_score(reading: Reading, k: float = K) -> float:
    """The same of log probabilities standardised by the distribution at each token."""
    likelihood.loss(reading)
    rows = zip(reading.logprobs, reading.means, reading.deviations, strict=True)
    return _lowest(
        [
            -math.inf if logprob is None else (logprob - mean) / max(deviation, LEAST_DEVIATION)
            for logprob, mean, deviation in rows
        ],
        k,
    )


def scores(reading: Reading, text: str) -> Mapping[str, float]:
    """All four by name, as open-unlearning calls them."""
    return {
        "mia_loss": loss_score(reading),
        "mia_zlib": zlib_score(reading, text),
        "mia_min_k": min_k_score(reading),
        "mia_min_k++": min_k_plus_plus_score(reading),
    }


def auc(forget: Sequence[float], holdout: Sequence[float]) -> float:
    """Probability that a forgotten text scores below a held-out one; equal scores count half.

    MUSE's own repository reports 1 minus this.  Raises ValueError where a side is empty.
    """
    if not forget or not holdout:
        raise ValueError("an AUC needs scores of both sides")
    ranks = rankdata([*forget, *holdout])[len(forget) :]
    least = len(holdout) * (len(holdout) + 1) / 2
    return float((ranks.sum() - least) / (len(forget) * len(holdout)))


def auc_interval(
    forget: Sequence[float], holdout: Sequence[float], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap of ``auc``, both sides resampled."""
    dice = np.random.default_rng(seed)
    drawn = [
        auc(list(dice.choice(forget, len(forget))), list(dice.choice(holdout, len(holdout))))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def privleak(auc_unlearned: float, auc_never_knew: float = 0.5, how: Privleak = "muse") -> float:
    """How far an attack's success is from that on a model that never knew, in percent of it; 0 is
    best, and open-unlearning takes .5 where there is no such model.

    "muse" (arXiv 2407.06460, also open-unlearning's ``privleak``): of MUSE's AUC, 1 minus ours:
    ``((1-a) - (1-b)) / (1-b) * 100``; -100 where everything is recognised, positive where forgotten
    texts are less likely than unknown ones.  "relative difference" (open-unlearning's ``rel_diff``)
    is ``(a - b) / b * 100``, with the other sign.  NaN where the divisor is 0.
    """
    one, other = auc_unlearned, auc_never_knew
    if how == "muse":
        one, other = 1 - one, 1 - other
    return (one - other) / other * 100 if other else math.nan


def _lowest(values: Sequence[float], k: float) -> float:
    count = max(1, int(len(values) * k))
    return -float(np.mean(np.sort(np.asarray(values))[:count]))
