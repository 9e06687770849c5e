"""Invented words: the shape stays, the name does not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.compiler.invented import (
    FUNCTION_WORDS,
    MONTHS,
    WORD,
    invented_name,
    invented_word,
    is_person_like,
    ordinary_word,
    without_accents,
)

LETTERS = st.text(st.sampled_from("abcdefghijklmnoprstuvzABCDEOéñøž0123456789"), min_size=1)


def shape(word: str) -> str:
    """The pattern that an invented word has to keep, told letter by letter."""
    kinds = []
    for char in word:
        vowel = without_accents(char)[:1] in "aeiouy"
        kinds.append(
            "9" if char.isdigit() else "vV"[char.isupper()] if vowel else "cC"[char.isupper()]
        )
    return "".join(kinds)


@given(LETTERS, st.integers())
def test_the_shape_stays(word: str, seed: int) -> None:
    if word.capitalize() in MONTHS:
        return
    assert shape(invented_word(word, random.Random(seed))) == shape(word)


def test_a_month_becomes_another_month() -> None:
    found = {invented_word("May", random.Random(seed)) for seed in range(40)}
    assert found <= set(MONTHS) - {"May"}
    assert len(found) > 5


def test_other_scripts_stay_in_their_script() -> None:
    for word in ("東京", "Иванов", "שרה"):
        other = invented_word(word, random.Random(1))
        assert other != word
        assert len(other) == len(word)
        assert all(abs(ord(a) - ord(b)) <= 64 for a, b in zip(word, other, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        "Perpetua Thistlewick",
        "Joost van der Wolkenaar",
        "The Ledger of Salt",
        "Samiha Bint-Darwazi",
    ],
)
def test_a_name_keeps_its_particles_and_nothing_else(name: str) -> None:
    for seed in range(20):
        words = invented_name(name, random.Random(seed), taken={"karin"})
        kept = [word for word in WORD.findall(name) if word not in words]
        assert all(word.casefold() in FUNCTION_WORDS for word in kept)
        assert not {w.casefold() for w in words} & {w.casefold() for w in words.values()}
        assert "karin" not in {w.casefold() for w in words.values()}
    assert "Bint" not in kept  # with a capital it may be borne by few


def test_persons_are_told_by_their_names() -> None:
    persons = ["Ada Vex", "Vex, Ada", "Joost van der Wolkenaar", "Nguyễn Thị Hoa"]
    others = ["The Ledger of Salt", "Lumen & Daughters", "photosynthesis", "Route 66", "Vellport"]
    assert all(map(is_person_like, persons))
    assert not any(map(is_person_like, others))


def test_an_ordinary_word_keeps_its_case() -> None:
    for seed in range(20):
        assert ordinary_word("Salt", random.Random(seed)).istitle()
        assert ordinary_word("salt", random.Random(seed)).islower()
