import itertools
import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.erasures import Erasure, Mode, highest, variants

WORDS = st.lists(
    st.sampled_from(["find", "me", "not", "bad", "?", "worse"]), min_size=1, max_size=7
)


def score(texts: Sequence[str]) -> list[float]:
    """Higher the more of "find me", lower the more of "bad" and "worse"."""
    found = [re.findall(r"\w+", text) for text in texts]
    return [
        2.0 * ("find" in f) + 2.0 * ("me" in f) - 3 - 1.5 * f.count("bad") - 2.5 * f.count("worse")
        for f in found
    ]


def pieces(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def one(text: str) -> float:
    return score([text])[0]


def reached(text: str, mode: Mode, most: int, looks: int) -> float:
    erasure = Erasure(mode, most, looks, low=None)
    return highest(text, one(text), math.inf, erasure, score)


@given(WORDS, st.integers(0, 7))
def test_suffixes_are_all_tried(words: list[str], most: int) -> None:
    text = " ".join(words)
    parts = pieces(text)
    tried = [" ".join(parts[: len(parts) - n]) for n in range(min(most, len(parts) - 1) + 1)]
    assert reached(text, "suffix", most, 256) == max(map(one, tried))


@given(WORDS, st.lists(st.sampled_from(["bad", "worse", "not", "!"]), max_size=5))
def test_the_certificate_holds_for_any_suffix_within_the_radius(
    words: list[str], suffix: list[str]
) -> None:
    text, threshold = " ".join(words), 1.0
    erasure = Erasure("suffix", most=5, looks=5, low=None)
    assert erasure.radius == 5
    whole = " ".join([text, *suffix])
    if one(text) >= threshold:
        assert highest(whole, one(whole), threshold, erasure, score) >= threshold


@given(WORDS)
def test_random_erasures_are_among_all_and_the_same_each_time(words: list[str]) -> None:
    text, most = " ".join(words), 2
    parts = pieces(text)
    every = {
        tuple(part for i, part in enumerate(parts) if i not in gone)
        for count in range(1, most + 1)
        for gone in itertools.combinations(range(len(parts)), count)
    }
    erasure = Erasure("random", most, 12)
    found = list(variants(text, erasure))
    assert {tuple(pieces(variant)) for variant in found} <= every
    assert found == list(variants(text, erasure))
    assert reached(text, "random", most, 12) >= one(text)


@given(WORDS)
def test_greedy_takes_the_best_piece_away_at_each_step(words: list[str]) -> None:
    text, best = " ".join(words), one(" ".join(words))
    parts = pieces(text)
    for _ in range(2):
        if len(parts) < 2:
            break
        shorter = [parts[:i] + parts[i + 1 :] for i in range(len(parts))][::-1]
        parts = max(shorter, key=lambda each: one(" ".join(each)))
        best = max(best, one(" ".join(parts)))
    assert reached(text, "greedy", 2, 256) == best


def test_only_the_uncertain_band_is_looked_at_again() -> None:
    asked: list[str] = []

    def noted(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return score(texts)

    erasure = Erasure("suffix", 3, 8, low=-2.0)
    for logit in (-2.1, 1.0, 5.0):
        assert highest("find me bad", logit, 1.0, erasure, noted) == logit
    assert asked == []
    assert highest("find me bad", -0.5, 1.0, erasure, noted) == 1.0
    assert asked == ["find me"]
    assert highest("find me bad", -0.5, 1.0, Erasure("off"), noted) == -0.5


@pytest.mark.parametrize("mode", ["suffix", "random", "greedy"])
def test_no_more_is_looked_at_than_allowed(mode: Mode) -> None:
    asked: list[str] = []

    def noted(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return [-5.0] * len(texts)

    highest("a b c d e f g h i j k", -5.0, 1.0, Erasure(mode, 9, 5, None), noted)
    assert 0 < len(asked) <= 5


def test_only_the_suffix_mode_certifies_and_only_what_it_looks_at() -> None:
    assert Erasure("suffix", 8, 16).radius == 8
    assert Erasure("suffix", 8, 3).radius == 3
    assert Erasure("random", 8, 16).radius == Erasure("greedy").radius == Erasure("off").radius == 0


def test_json_is_read_back_and_nonsense_refused() -> None:
    for erasure in (Erasure(), Erasure("greedy", 3, 20, None)):
        assert Erasure.of(erasure.to_json()) == erasure
    for wrong in ({"low": "x"}, {"most": 1.5}, {"most": True}, {"looks": -1}, {"low": math.nan}):
        with pytest.raises(ValueError, match=r"\w"):
            Erasure.of({**Erasure().to_json(), **wrong})
