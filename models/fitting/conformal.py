"""Thresholds that keep a stated error on texts that nobody has seen.

Split conformal prediction (Vovk, Gammerman, Shafer, 2005), one side at a time: of n + 1
exchangeable scores, the one not seen is among the k highest with probability at most k / (n + 1).
"""

import math
from collections.abc import Sequence


def lowest_of(scores: Sequence[float], error: float) -> float | None:
    """The largest threshold that a score drawn like these misses with probability <= error.

    A score misses it when it is below.  None: too few scores (fewer than 1 / error - 1).
    """
    rank = math.floor(error * (len(scores) + 1) + 1e-9)
    return sorted(scores)[rank - 1] if rank >= 1 else None


def highest_of(scores: Sequence[float], error: float) -> float | None:
    """The smallest bound that a score drawn like these exceeds with probability <= error.

    A score exceeds it when it is above.  None: too few scores (fewer than 1 / error - 1).
    """
    mirrored = lowest_of([-score for score in scores], error)
    return None if mirrored is None else -mirrored


def attainable(count: int, error: float) -> float:
    """The error that so many scores can keep: the stated one, or 1 / (count + 1) where few."""
    return max(error, 1 / (count + 1))
