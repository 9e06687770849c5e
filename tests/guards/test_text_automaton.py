"""The text automaton: what it finds, and that it equals a search in the folded text."""

import codecs
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.text_automaton import (
    State,
    TextAutomaton,
    _stands_for_itself,
    _unicode,
    folded,
    is_word,
)

PIECES = (
    "a", "b", "B", "A", "Ａ", "é", "e\u0301", "ß", "ss", "ﬁ", "fi", "½", " ", "  ", "\n", "\u3000",
    "-", "–", "'", "’", "+", "\u200b", "\u00ad", "東", "京", "र", "ा", "0", "_", "🙂", "\ufffd",
    "İ",
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def folded_text(text: str) -> str:
    """The whole text folded, white space as single blanks."""
    return re.sub(" +", " ", "".join(map(folded, text)))


def words(text: str) -> list[str]:
    return ["".join(run) for is_one, run in groupby(text, is_word) if is_one]


def is_closed(phrase: str, lexicon: Sequence[str] | None) -> bool:
    """Whether the folded phrase, which ends in a word, is complete at its last character."""
    if lexicon is None:
        return False
    last = words(phrase)[-1]
    known = [word for entry in lexicon for word in words(folded_text(entry))]
    digit = any(unicodedata.category(char).startswith("N") for char in last)
    return digit or not any(word != last and word.startswith(last) for word in known)


def occurrences(
    text: str, phrase: str, lexicon: Sequence[str] | None = None, *, ended: bool
) -> set[int]:
    """Where the phrase stands in the text, both folded.  ended: the text's end is a boundary."""
    found = set()
    for at in range(len(text) - len(phrase) + 1):
        end = at + len(phrase)
        before = not is_word(phrase[0]) or at == 0 or not is_word(text[at - 1])
        open_end = ended if end == len(text) else not is_word(text[min(end, len(text) - 1)])
        after = not is_word(phrase[-1]) or open_end or is_closed(phrase, lexicon)
        if text[at:end] == phrase and before and after:
            found.add(at)
    return found


def complete(
    data: bytes, phrases: Iterable[str], lexicon: Sequence[str] | None = None, *, ended: bool
) -> set[tuple[str, int]]:
    """Every phrase in what the bytes say so far: the slow reference."""
    text = folded_text(codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=False))
    return {
        (wanted, at)
        for phrase in phrases
        for wanted in [folded_text(phrase).strip()]
        for at in occurrences(text, wanted, lexicon, ended=ended)
    }


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("Vorn Castellane", "it is VORN\u3000\n castellane."),
        ("Vorn Castellane", "Ｖｏｒｎ Castellane"),
        ("Vorn Castellane", "Vo\u200brn Cas\u00adtellane"),
        ("Zoë O’Brien-Ångström", 'said "Zoe\u0308 O\'Brien–Angstro\u0308m"'),
        ("Łukasz", "Lukasz's"),
        ("C++", "in C++20"),
        ("東京太郎", "私は東京太郎です"),
        ("김철수", "김철수는"),
        ("straße", "STRASSE"),
        ("राम", "राम,"),
    ],
)
def test_finds_a_phrase_however_it_is_written(phrase: str, text: str) -> None:
    automaton = TextAutomaton(["other", phrase])
    end, found = automaton.read(automaton.start, text.encode())
    assert found or automaton.ending(end)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("Vorn", "Vorns"),
        ("Vorn", "Avorn avorn"),
        ("Vorn Castellane", "Vorn Castellanes and VornCastellane"),
        ("राम", "रामा"),
        ("김수", "김숨"),
        ("C++", "C+ +"),
        ("1984", "11984 19841"),
    ],
)
def test_lets_pass_what_only_contains_the_letters(phrase: str, text: str) -> None:
    automaton = TextAutomaton([phrase])
    end, found = automaton.read(automaton.start, text.encode())
    assert not found
    assert not automaton.ending(end)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(texts.filter(lambda t: folded_text(t).strip() and "\ufffd" not in t), max_size=4),
    st.none() | st.lists(texts, max_size=4),
    texts,
    st.data(),
)
def test_equals_a_search_in_the_folded_text(
    phrases: list[str], lexicon: list[str] | None, text: str, data: st.DataObject
) -> None:
    raw = bytearray(text.encode())
    for at in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=2)):
        raw[at : at + 1] = data.draw(st.binary(max_size=2))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    automaton = TextAutomaton.from_tensors(TextAutomaton(phrases, lexicon).tensors())
    state, read = automaton.start, b""
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        chunk = bytes(raw[start:end])
        old = complete(read, phrases, lexicon, ended=False)
        read += chunk
        new = complete(read, phrases, lexicon, ended=False)
        assert automaton.found(state, chunk) == bool(new - old)
        state = automaton.advance(state, chunk)
        assert automaton.ending(state) == bool(complete(read, phrases, lexicon, ended=True) - new)
    assert state == automaton.advance(automaton.start, bytes(raw))


@pytest.mark.parametrize(
    ("phrase", "lexicon", "text", "closed"),
    [
        ("Saint-Aubrin", [], "saint-aubrinmer", True),
        ("Saint-Aubrin", ["saint", "aubrin"], "Saint-Aubrin", True),
        ("Saint-Aubrin", ["ÀUBRINS"], "saint-aubrinmer", False),
        ("Saint-Aubrin", ["the-aubriner"], "saint-aubrinmer", False),
        ("a cat", ["category"], "a cats", False),
        ("a cat", ["a category", "ca", "dog"], "a cats", False),
        ("a cat", ["ca", "dog"], "a cats", True),
        ("555-658", ["65893 m²"], "555-65893", True),
        ("route B12", ["b12a"], "route b12a", True),
        ("राम", ["रामा"], "रामा", False),
        ("राम", ["र"], "रामा", True),
        ("東京 a", ["東京 ab"], "東京 ab", False),
        ("Straße", [], "STRASSEN", True),
        ("as", [], "aß", True),
    ],
)
def test_a_closed_phrase_is_complete_at_its_last_character(
    phrase: str, lexicon: list[str], text: str, *, closed: bool
) -> None:
    automaton = TextAutomaton([phrase], lexicon)
    state, found = automaton.read(State(), text.encode())
    assert found == closed
    assert not automaton.ending(state)
    assert not automaton.found(State(), b"x" + text.encode())  # still it must begin a word
    end, found = automaton.read(State(), phrase.encode())
    assert (found, automaton.ending(end)) == (closed, not closed)


def test_says_how_far_a_phrase_has_come() -> None:
    automaton = TextAutomaton(["vorn castellane", "vorns", "abcdefgh"])
    at = {text: automaton.advance(State(), text.encode()) for text in ("", "x Vo", "vorn cast")}
    assert [automaton.matched(state) for state in at.values()] == [0, 2, 9]
    assert [automaton.progress(s) for s in at.values()] == pytest.approx([0, 2 / 5, 9 / 15])
    assert automaton.progress(automaton.advance(State(), b"vorns")) == 1
    assert automaton.matched(automaton.advance(State(), b"avorn")) == 0


def test_what_was_spent_does_not_count_again() -> None:
    automaton = TextAutomaton(["vorn", "vorn x"])
    state = automaton.advance(State(), b"vorn")._replace(spent=True)
    assert not automaton.ending(state)
    assert not automaton.found(state, b" ")
    assert automaton.found(state, b" x ")
    assert automaton.found(state, b" vorn ")
    assert automaton.advance(state, "\u200b".encode()).spent
    assert not automaton.advance(state, b"s").spent


def test_bytes_that_are_no_character_are_a_boundary() -> None:
    automaton = TextAutomaton(["vorn"])
    pending = automaton.advance(State(), b"\x80vorn")
    assert automaton.ending(pending)
    assert not automaton.found(pending, b"\xe2\x82")
    assert automaton.found(pending, b"\xe2\x82a")
    assert automaton.found(pending, b"\xff")


def test_a_phrase_of_nothing_is_refused() -> None:
    for phrase in ("", " \n", "\u200b", "a\ufffdb"):
        with pytest.raises(ValueError, match="without characters"):
            TextAutomaton(["name", phrase])


def test_no_phrases_find_nothing() -> None:
    automaton = TextAutomaton([])
    state, found = automaton.read(State(), b"anything at all. ")
    assert not found
    assert (state.node, automaton.progress(state)) == (0, 0.0)


def test_the_table_of_characters_is_the_folding() -> None:
    single, word, several = _unicode()
    sample = random.Random(3).sample(range(0x110000), 20_000)
    for code in [*range(0x3000), *sample, *range(0x2F800, 0x2FA20)]:
        char = chr(code)
        if unicodedata.category(char) in ("Cn", "Co", "Cs"):
            continue
        text = folded(char)
        assert not _stands_for_itself(char) or unicodedata.category(char) != "Lo" or text == char
        assert several.get(code, text) == text
        if len(text) < 2:
            assert single[code] == (ord(text) if text else -1)
            assert bool(word[code]) == (text != "" and is_word(text))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fails", lambda a: a + 5),
        ("children", lambda a: a[::-1].copy()),
        ("symbols", lambda a: a - 9),
        ("table", lambda a: a - 10_000),
        ("pages", lambda a: a + 10_000),
        ("near", lambda a: a * np.float32("nan")),
        ("ends", lambda a: a.astype(np.int32)),
        ("ends", lambda a: a * 3),
        ("ends", lambda a: np.full_like(a, 2)),
        ("depths", lambda a: a[1:]),
    ],
)
def test_tensors_of_something_else_are_refused(name: str, change: Callable[[Any], Any]) -> None:
    tensors = TextAutomaton(["vorn castellane"]).tensors()
    with pytest.raises(ValueError, match="text automaton"):
        TextAutomaton.from_tensors({**tensors, name: change(tensors[name])})
    with pytest.raises(ValueError, match="missing"):
        TextAutomaton.from_tensors({k: v for k, v in tensors.items() if k != name})
