"""ROUGE-L (Lin 2004, W04-1013) of what was written against a reference, by ``rouge_score``.

Its words are runs of ASCII letters and digits in lower case: a reference without any scores 0.
"""

from functools import cache

from rouge_score import rouge_scorer


def rouge_l_recall(reference: str, written: str, *, stemmer: bool = True) -> float:
    """Longest common subsequence of words over the reference's words.

    TOFU and open-unlearning stem words (Porter); RWKU's package does not.
    """
    return float(_scorer(stemmer=stemmer).score(reference, written)["rougeL"].recall)


def rouge_l_f1(reference: str, written: str, *, stemmer: bool = False) -> float:
    """Harmonic mean of ROUGE-L recall and precision.

    MUSE (Shi et al. 2024, arXiv 2407.06460) does not stem; open-unlearning does, for MUSE too.
    """
    return float(_scorer(stemmer=stemmer).score(reference, written)["rougeL"].fmeasure)


@cache
def _scorer(*, stemmer: bool) -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=stemmer)
