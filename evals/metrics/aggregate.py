"""One number for memorisation, privacy and utility each, and one for all of them.

open-unlearning (Dorna et al. 2025, arXiv 2506.12618) as Divergence Decoding (arXiv 2605.31293) puts
it together.  All are harmonic means, so that one bad value cannot be hidden; all are best at 1.
"""

from collections.abc import Mapping, Sequence

from scipy.stats import hmean


def memorisation(
    extraction_strength: float, exact_memorisation: float, paraphrased: float, truth_ratio: float
) -> float:
    """Mem: harmonic mean of 1 minus each.

    paraphrased: mean probability of the paraphrased answers.  truth_ratio: mean ``min(r, 1/r)`` of
    the forget set, which has to be free of degenerate ratios.  A model that never knew does not
    come to 1 (on TOFU with Llama-3.1-8B .53): more is not better beyond its value.
    """
    values = (extraction_strength, exact_memorisation, paraphrased, truth_ratio)
    return harmonic([1 - each for each in values])


def privacy(aucs: Mapping[str, float], never_knew: Mapping[str, float]) -> float:
    """Priv: harmonic mean over attacks of ``1 - |AUC - AUC of the model that never knew|``.

    Raises KeyError where an attack is missing there.
    """
    return harmonic([1 - abs(value - never_knew[name]) for name, value in aucs.items()])


def utility(
    model_utility: float, clean: float, reference_utility: float, reference_clean: float
) -> float:
    """Utility: harmonic mean of model utility and fluency over the same of a reference.

    The published reference is the target, which still knows everything.  Can exceed 1.
    """
    return harmonic([model_utility, clean]) / harmonic([reference_utility, reference_clean])


def aggregate(mem: float, priv: float, use: float) -> float:
    """Agg: harmonic mean of Mem, Priv and Utility."""
    return harmonic([mem, priv, use])


def harmonic(values: Sequence[float]) -> float:
    """Harmonic mean; 0 where a value is 0 or less.  Raises ValueError without values."""
    if not values:
        raise ValueError("there is no mean of nothing")
    return float(hmean(values)) if min(values) > 0 else 0.0
