"""Confidence intervals of the figures: of a proportion, and of a mean."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import beta

LEVEL = 0.95
RESAMPLES = 2000


def proportion(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a proportion (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).

    Never narrower than its level says.  With no trials it is (0, 1).  Raises ValueError unless
    0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a proportion")
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def mean_interval(
    values: Sequence[float], seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean (Efron 1979, doi:10.1214/aos/1176344552).

    The same values and seed give the same interval.  Raises ValueError without values.
    """
    if not len(values):
        raise ValueError("there is no mean of nothing")
    drawn = np.asarray(values, dtype=float)
    generator = np.random.default_rng(seed)
    # One resample at a time: all at once would take 2000 times the memory of the values.
    means = [generator.choice(drawn, drawn.size).mean() for _ in range(resamples)]
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
