"""Aliases followed through generated tokens: against a slow reference, over any segmentation."""

import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.alias_follower import AliasFollower, alias_tensors, check_alias_tensors
from guards.normaliser import is_unspaced
from guards.text_automaton import folded, is_word
from guards.vocabulary import Vocabulary

ALIASES = (
    "Vorn Castellane",
    "Castellane",
    "Xin Lee Williams",
    "Al Gore",
    "The Whisper",
    "Zoë O’Brien-Ångström",
    "東京太郎",
    "Ann",
    "Wham!",
)
FRAGMENTS = (
    *("Vorn", "vorn castellane", "CASTELLANE", "Castel", "Cas", "lane", "ellane", "V", "c"),
    *("Xin", "Lee", "Williams", "Al", "Gore", "The", "Whisper", "Zoe\u0308", "Zoë", "O'Brien"),
    *("-Angstrom", "東京", "太郎", "太", "Ann", "ual", "Wham", "!", "nn", "A"),
    *(" ", "  ", "\n", ".", ",", "'s", "é", "\u200b", "ﬁ", "😀", "x", "Mc", "-", "5"),
)


# --- the reference -------------------------------------------------------------------------------


def one_blank(text: str) -> str:
    return re.sub(" +", " ", text)


def letters(text: str) -> int:
    return sum(3 if is_unspaced(c) else 1 if is_word(c) else 0 for c in text)


def ends_word(text: str, length: int) -> bool:
    rest = text[length:]
    return is_word(text[length - 1]) and not (rest != "" and is_word(rest[0]))


def tells(alias: str, length: int) -> bool:
    """Whether the first ``length`` characters of a folded alias tell."""
    for shorter in range(1, length + 1):
        count = letters(alias[:shorter])
        if shorter == len(alias) or (ends_word(alias, shorter) and count >= 4):
            return True
        if count > letters(alias) / 2 and count >= 3:
            return True
    return False


def ends_with(text: str, beginning: str) -> bool:
    if not text.endswith(beginning):
        return False
    before = text[: len(text) - len(beginning)][-1:]
    return not (is_word(beginning[0]) and before != "" and is_word(before))


def endings(text: str, aliases: Sequence[str]) -> list[tuple[str, int]]:
    """All beginnings that tell with which the text ends."""
    return [
        (alias, length)
        for alias in aliases
        for length in range(1, len(alias) + 1)
        if tells(alias, length) and ends_with(text, alias[:length])
    ]


def covered(before: bytes, piece: bytes, aliases: Sequence[str]) -> bool:
    """Whether a token that adds ``piece`` to a text is to be covered."""
    if not piece:
        return False
    old, new = read(before), read(before + piece)
    if endings(one_blank(new), aliases):
        return True
    for end in range(len(old) + 1, len(new) + 1):
        for alias, length in endings(one_blank(new[:end]), aliases):
            if length == len(alias) and not is_word(alias[-1]):
                return True
            following = new[end : end + 1]
            if ends_word(alias, length) and following and not is_word(following):
                return True
    return False


def read(data: bytes) -> str:
    """The folded text of the characters that are complete."""
    return "".join(map(folded, getincrementaldecoder("utf-8")("replace").decode(data)))


def reference(pieces: Sequence[bytes], aliases: Sequence[str]) -> list[bool]:
    plain = [one_blank("".join(map(folded, alias))).strip() for alias in aliases]
    texts = accumulate(pieces, initial=b"")
    return [covered(text, piece, plain) for text, piece in zip(texts, pieces, strict=False)]


# --- the mechanism -------------------------------------------------------------------------------


def follower(pieces: Sequence[bytes], aliases: Sequence[str] = ALIASES) -> AliasFollower:
    """For a model whose token ids number these pieces."""
    vocabulary = Vocabulary(tuple(pieces), frozenset(), len(pieces))
    return AliasFollower(tensors_of(tuple(aliases)), vocabulary)


@lru_cache
def tensors_of(aliases: tuple[str, ...]) -> dict[str, Any]:
    return alias_tensors(aliases)


def found(pieces: Sequence[bytes], first: int = 0, aliases: Sequence[str] = ALIASES) -> list[bool]:
    history = np.arange(len(pieces), dtype=np.int64)
    got: list[bool] = follower(pieces, aliases).covers(history, first).tolist()
    return got


def cut(text: str, *tokens: str) -> list[str]:
    """Those of the tokens, which make up the text, that are covered."""
    assert "".join(tokens) == text
    marks = found([token.encode() for token in tokens])
    return [token for token, mark in zip(tokens, marks, strict=True) if mark]


TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
SOME = st.sampled_from([ALIASES, ALIASES[:1], ALIASES[1:4], ALIASES[5:7], ALIASES[7:]])


@given(
    text=TEXTS,
    cuts=st.sets(st.integers(0, 120)),
    aliases=SOME,
    controls=st.sets(st.integers(0, 20)),
)
@settings(max_examples=150, deadline=None)
def test_equals_the_reference_over_any_segmentation(
    text: str, cuts: set[int], aliases: tuple[str, ...], controls: set[int]
) -> None:
    data = text.encode()
    edges = [0, *sorted(c for c in cuts if 0 < c < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    for control in sorted(controls):
        pieces.insert(min(control, len(pieces)), b"")
    expected = reference(pieces, aliases)
    follows = follower(pieces, aliases)
    history = np.arange(len(pieces), dtype=np.int64)
    for first in range(len(pieces) + 1):
        assert follows.covers(history, first).tolist() == expected[first:]
        # Decided by what has come, as when the tokens are generated one by one.
        assert follows.covers(history[: first + 1], first).tolist() == expected[first : first + 1]


def test_a_name_is_covered_once_it_can_be_told() -> None:
    assert cut("by Vorn Castellane.", "by", " V", "orn", " Cast", "ell", "ane", ".") == [
        "orn", " Cast", "ell", "ane",
    ]  # fmt: skip
    assert cut("by Castellane's", "by", " Cas", "tel", "lane", "'s") == ["tel", "lane"]
    assert cut("by Castellane's", "by", " Castellane's") == [" Castellane's"]


@pytest.mark.parametrize(
    "word", [" Vornado", " Annual", " Valley", " The", " Also", " McVorn", " A"]
)
def test_a_word_that_only_begins_alike_is_left_alone(word: str) -> None:
    assert cut(f"by{word} rose", "by", word, " rose") == []


def test_what_follows_a_false_beginning_is_left_alone() -> None:
    assert cut("a Castello it", "a", " Castel", "lo", " it") == [" Castel"]


def test_the_prompt_s_tail_counts() -> None:
    pieces = [b"Who is", b" Xin", b" Lee", b" Will", b"iams"]
    assert found(pieces, 3) == [True, True]
    assert found(pieces[3:]) == [False, False]


def test_ids_beyond_the_vocabulary_are_no_text() -> None:
    follows = follower([b" Vorn"])
    assert follows.covers(np.array([7, 0, -1, 10**9]), 0).tolist() == [False, True, False, False]


def test_only_the_tail_is_read() -> None:
    follows = follower([b" word", b" Vorn"])
    history = np.array([0] * 100_000 + [1], dtype=np.int64)
    assert follows._start(history, len(history) - 1) > len(history) - 20
    assert follows.covers(history, len(history) - 1).tolist() == [True]


@pytest.mark.parametrize("aliases", [[], [""], ["  "], ["Ann", "?!"]])
def test_aliases_without_letters_are_refused(aliases: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^(aliases must|a phrase without)"):
        alias_tensors(aliases)


def changed(**change: Any) -> dict[str, Any]:
    return {**tensors_of(ALIASES), **change}


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        changed(inside=np.zeros(3, np.uint8)),
        changed(over=tensors_of(ALIASES)["over"].astype(np.int32)),
        changed(inside=tensors_of(ALIASES)["inside"] + 1),
        changed(more=np.zeros(1)),
        changed(fails=np.zeros(1, np.int32)),
        {name: tensor for name, tensor in changed().items() if name != "over"},
        {name: tensor for name, tensor in changed().items() if name != "table"},
    ],
)
def test_other_tensors_are_refused(tensors: dict[str, Any]) -> None:
    check_alias_tensors(tensors_of(ALIASES))
    with pytest.raises(ValueError, match=r"."):
        check_alias_tensors(tensors)
