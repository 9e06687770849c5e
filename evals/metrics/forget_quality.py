"""Whether truth ratios look like those of a model that never knew; and what is left of utility.

TOFU (Maini et al. 2024, arXiv 2401.06121, section 2.2.2).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import hmean, ks_2samp

TOFU_ROWS = 300
"""Of forget10's 400 rows, TOFU's evaluation reads the first 300 (``ds_size``)."""
OPEN_UNLEARNING_ROWS = 400
"""open-unlearning reads all of them.  p-values of different row counts cannot be compared."""

_UNDERFLOW = 1e-290


class ForgetQuality(NamedTuple):
    """Kolmogorov and Smirnov's distance between two samples, and its test.

    p: TOFU's forget quality.  log10_p: also where p itself underflows to 0.  sizes: of the samples.
    """

    statistic: float
    p: float
    log10_p: float
    sizes: tuple[int, int]


def forget_quality(
    ratios: Sequence[float], never_knew: Sequence[float], rows: int | None = None
) -> ForgetQuality:
    """The two-sample test on truth ratios, of the first ``rows`` of each where rows are given.

    Only their order counts: r or 1/r, and infinite values, give the same.  NaN (neither answer
    possible) has no place in that order and is left out.  Raises ValueError where nothing is left.
    """
    samples = [
        [ratio for ratio in sample[:rows] if not math.isnan(ratio)]
        for sample in (ratios, never_knew)
    ]
    if not all(samples):
        raise ValueError("forget quality needs truth ratios of both models")
    found = ks_2samp(*samples)
    statistic, p = float(found.statistic), float(found.pvalue)
    sizes = len(samples[0]), len(samples[1])
    return ForgetQuality(statistic, p, _log10(p, statistic, sizes), sizes)


def model_utility(values: Sequence[float]) -> float:
    """Harmonic mean of probability, ROUGE and truth ratio on retain set, authors and world facts.

    Nine values in TOFU and open-unlearning; 0 if one of them is.  Raises ValueError without values.
    """
    if not values:
        raise ValueError("there is no utility without a value")
    return float(hmean(values))


def _log10(p: float, statistic: float, sizes: tuple[int, int]) -> float:
    if p > _UNDERFLOW:
        return math.log10(p)
    n, m = sizes
    if n == m:
        # Gnedenko and Korolyuk 1951: p = 2 sum over j of (-1)^(j-1) C(2n, n-jh) / C(2n, n), with
        # h = n D; so far out its first term is all of it.
        h = round(n * statistic)
        log = math.log(2) + 2 * math.lgamma(n + 1) - math.lgamma(n - h + 1) - math.lgamma(n + h + 1)
    else:
        log = math.log(2) - 2 * statistic**2 * n * m / (n + m)  # the limit for large samples
    return log / math.log(10)
