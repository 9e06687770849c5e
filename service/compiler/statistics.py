"""The statistics of a certificate: rates with their bounds, and how far two samples are apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, ks_2samp

from service.compiler.certificate import Rate

LEVEL = 0.95
LEAST_LOG_P = -100.0
"""Nats that stand for no probability at all, so that means of a banned word stay finite."""


Sample = Sequence[float] | NDArray[np.float64]


class Distance(NamedTuple):
    """Kolmogorov-Smirnov: the greatest difference of two distribution functions, and its p."""

    value: float
    p: float


def rate(found: int, of: int) -> Rate:
    """With the upper end of the one-sided exact interval (Clopper and Pearson, 1934) at 95 %.

    Without any trial the bound is 1: nothing is known.  Raises ValueError unless found <= of.
    """
    if not 0 <= found <= of:
        raise ValueError(f"{found} of {of} is no rate")
    upper = 1.0 if found == of else float(beta.ppf(LEVEL, found + 1, of - found))
    return Rate(found=found, of=of, upper=upper)


def distance(one: Sample, other: Sample) -> Distance:
    """Of two samples; (1, 0) where either is empty: nothing speaks for them being alike."""
    if not len(one) or not len(other):
        return Distance(1.0, 0.0)
    found = ks_2samp(np.asarray(one), np.asarray(other))
    return Distance(float(found.statistic), float(found.pvalue))


def mean_of(log_p: NDArray[np.float64]) -> float:
    """Mean log probability (nats a token), each at least ``LEAST_LOG_P``."""
    return float(np.maximum(log_p, LEAST_LOG_P).mean())
