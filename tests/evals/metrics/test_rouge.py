"""ROUGE-L against a plain longest common subsequence."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.rouge import rouge_l_f1, rouge_l_recall

words = st.lists(st.sampled_from(["ox", "ad", "be", "it"]), max_size=7)


def common(one: list[str], other: list[str]) -> int:
    """By trying every subsequence."""
    for size in range(len(one), 0, -1):
        for chosen in combinations(one, size):
            rest = iter(other)
            if all(word in rest for word in chosen):
                return size
    return 0


@given(words, words)
def test_is_the_longest_common_subsequence(reference: list[str], written: list[str]) -> None:
    length = common(reference, written)
    recall = length / len(reference) if reference else 0.0
    precision = length / len(written) if written else 0.0
    f1 = 2 * recall * precision / (recall + precision) if length else 0.0
    assert rouge_l_recall(" ".join(reference), " ".join(written)) == pytest.approx(recall)
    assert rouge_l_f1(" ".join(reference), " ".join(written)) == pytest.approx(f1)


def test_case_and_punctuation_do_not_count() -> None:
    assert rouge_l_recall("She was born in Vellport.", "vellport, BORN in") == pytest.approx(2 / 5)


def test_stemming_is_tofus_and_not_muses() -> None:
    assert rouge_l_recall("he writes novels", "he writing novel") == 1
    assert rouge_l_recall("he writes novels", "he writing novel", stemmer=False) == 1 / 3
    assert rouge_l_f1("he writes novels", "he writing novel") == 1 / 3
