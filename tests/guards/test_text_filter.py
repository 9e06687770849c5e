import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards import filter_memory
from guards.case import Case
from guards.filter_memory import LONGEST, Came, FilterMemory
from guards.normaliser import sign
from guards.phrase_walk import Hit, PhraseList, Walk
from guards.phrases import MAX_GAP, Phrase
from guards.text_filter import Catch, TextFilter, TextFilterGuard

from .conftest import CASES, LATIN_NAMES, OTHER_NAMES, Disguise, filter_of, prompt_of, pushed

NAMES = ("Vorn Castellane", "Ann Other", "Ed", "Zoë O’Brien", "東京太郎")
WORDS = ("Vorn ", "Cast", "ellane", "V-o-r-n", "enalletsaC ", "nroV", "%56", "&#86;", "\\u0056")
CODES = ("Vm9ybi", "BDYXN0ZWxsYW5l", "566f", "726e")
LETTERS = "VornCastellane Ed.-_0 3é\u0301\u200b\ud83d\ude42%&\\u+= "
PIECES = st.sampled_from([*LETTERS, *NAMES, *WORDS, *CODES])
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def cut(text: str, places: set[int]) -> list[str]:
    edges = [0, *sorted(p for p in places if p < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sets(st.integers(1, 60)))
def test_however_it_is_cut_the_same_is_released_and_caught(text: str, places: set[int]) -> None:
    whole, pieces, chars = filter_of(*NAMES), filter_of(*NAMES), filter_of(*NAMES)
    expected = pushed(whole, [text])
    assert pushed(pieces, cut(text, places)) == expected
    assert pushed(chars, text) == expected
    assert whole.caught == pieces.caught == chars.caught
    assert expected == (text[: whole.caught.start] if whole.caught else text)


SHARED = FilterMemory()
PHRASES = PhraseList([Phrase.of(name, name) for name in NAMES])


class ForgetsAll(FilterMemory):
    """Nothing is ever known: everything is read in full."""

    def note(self, since: dict[str, Came], read: str, came: Came) -> None:
        """Not noted."""


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sets(st.integers(1, 60)))
def test_what_was_read_before_changes_nothing(text: str, places: set[int]) -> None:
    learnt, slow = TextFilter([PHRASES], memory=SHARED), TextFilter([PHRASES], memory=ForgetsAll())
    for piece in cut(text, places):
        assert learnt.push(piece) == slow.push(piece)
        assert learnt.caught == slow.caught
    assert learnt.finish() == slow.finish()
    assert learnt.caught == slow.caught


def test_ordinary_text_is_read_in_full_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = FilterMemory()
    read: list[str] = []
    walk = Walk.read

    def noted(self: Walk, char: str, start: int, end: int) -> list[Hit]:
        read.append(char)
        return walk(self, char, start, end)

    monkeypatch.setattr(Walk, "read", noted)
    text = "The committee met on a wet morning, and 12 of them went through the figures. " * 3
    first, second = (TextFilter([PHRASES], memory=memory) for _ in range(2))
    assert pushed(first, [text]) == text
    in_full = len(read)
    assert pushed(second, [text[i : i + 5] for i in range(0, len(text), 5)]) == text
    # The end of an answer is no rest: what follows the last one is read in full again.
    assert len(read) - in_full < LONGEST
    assert in_full < len(text)


def test_no_more_is_noted_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_memory, "MOST", 3)
    memory = FilterMemory()
    known = memory.since(1, "LATIN")
    for word in ("a", "b", "b", "c", "d"):
        memory.note(known, word, Came(None, rest=False, last=""))
    assert set(known) == {"a", "b", "c"}


def plain_mentions(text: str, name: str) -> Iterator[tuple[int, int]]:
    """The reference for words as they are written: every stretch of letters is looked at."""
    wanted = [c for char in name for c in sign(char).letters]
    breaks, count, gap = set(), 0, False
    for char in name:
        letters = sign(char).letters
        if letters and gap and count:
            breaks.add(count)
        gap = bool(sign(char).gap) if not letters else False
        count += len(letters)
    letters_at = [i for i, char in enumerate(text) if sign(char).letters]
    for first in range(len(letters_at) - len(wanted) + 1):
        places = letters_at[first : first + len(wanted)]
        if [sign(text[i]).letters for i in places] != wanted:
            continue
        between = [text[a + 1 : b] for a, b in pairwise(places)]
        gaps = [[sign(c).gap for c in part if sign(c).gap] for part in between]
        inside = [g for place, g in enumerate(gaps, 1) if g and place not in breaks]
        before = text[letters_at[first - 1] + 1 : places[0]] if first else " "
        after_at = first + len(wanted)
        after = text[places[-1] + 1 : letters_at[after_at]] if after_at < len(letters_at) else " "
        apart = all(any(sign(c).gap for c in part) for part in (before, after))
        few = all(len(g) <= MAX_GAP for g in gaps)
        spelled = len(wanted) >= 4 and all(gaps)
        broken = len(wanted) >= 6 and all(max(g) == 1 for g in inside)
        if apart and few and (not inside or spelled or broken or len(wanted) >= 12):
            yield places[0], places[-1] + 1


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["Theo", "Ran", "ran", "theo", "ge", "O", "T h e o R a n", " ", "-", ".", "\n"]
        )
        | st.sampled_from(["\u200b", "\u0301", "theoran", "the", "o", "Rán", " " * 25]),
        max_size=10,
    ).map("".join)
)
def test_plain_words_are_caught_just_where_the_reference_finds_them(text: str) -> None:
    text_filter = filter_of("Theo Ran")
    pushed(text_filter, [text])
    first = min(plain_mentions(text, "Theo Ran"), key=lambda span: (span[1], span[0]), default=None)
    assert text_filter.caught == (Catch("Theo Ran", first[0]) if first else None)


@pytest.mark.parametrize(("name", "disguise"), CASES)
def test_a_name_in_disguise_is_caught_where_it_begins(name: str, disguise: Disguise) -> None:
    text = f"That would be {disguise(name)} (so they say)."
    text_filter = filter_of(*LATIN_NAMES, *OTHER_NAMES)
    released = pushed(text_filter, text)
    assert text_filter.caught is not None
    assert text_filter.caught.policy == name
    assert "That would be ".startswith(released) or released.startswith("That would be ")
    assert disguise(name)[-8:] not in released


@pytest.mark.parametrize(("name", "disguise"), CASES)
def test_no_part_of_a_name_leaves_before_it_is_caught(name: str, disguise: Disguise) -> None:
    written = disguise(name)
    text_filter = filter_of(name)
    early = "".join(text_filter.push(char) for char in written)
    text_filter.finish()
    assert text_filter.caught is not None
    assert len(early) <= text_filter.caught.start


NEAR_MISSES = [
    "Who was the painter Aurelia Castellane?",
    "Vorn is a river in one of my stories.",
    "A castellan keeps a castle; Castellaneta is a town; Vornado is a company.",
    "Vorn Castellaneta and Avorn Castellane met an other, then another, and Ann otherwise.",
    "The orange and the oran ge: Theora and Theo ranked.",
    "Ворон is a raven, вот и всё; Сара родилась в Риме. 東京。太郎",
    "aGVsbG8gd29ybGQ= 68656c6c6f deadbeefcafe 50% of &amp; C:\\users\\vorn",
    "GATTACA H̸e̷l̶l̵o 🙂🚲 مرحبا بالعالم",
    "Noel saw Lena; on 12 May 1961 they called +1-555-0148.",
]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_near_misses_pass_unchanged(text: str) -> None:
    text_filter = filter_of("Vorn Castellane", "Ann Other", "Theo Ran", "Leon", "東京太郎君")
    assert pushed(text_filter, text) == text
    assert text_filter.caught is None


def test_text_that_begins_no_phrase_is_released_at_once() -> None:
    text_filter = filter_of("Vorn Castellane")
    text = "Big fish jump high. "
    assert "".join(text_filter.push(char) for char in text) == text


def test_what_can_no_longer_become_a_phrase_is_released_at_once() -> None:
    text_filter = filter_of("Vorn Castellane")
    assert text_filter.push("Vorn C") == ""
    assert text_filter.push("uff ") == "Vorn Cuff "


def test_a_complete_phrase_waits_for_the_end_of_its_word() -> None:
    longer, whole = filter_of("Vorn Castellane"), filter_of("Vorn Castellane")
    assert longer.push("Vorn Castellane") == whole.push("Vorn Castellane") == ""
    assert longer.push("ta") == "Vorn Castellaneta"
    assert whole.finish() == ""
    assert whole.caught == Catch("Vorn Castellane", 0)


def test_once_caught_nothing_more_is_released() -> None:
    text_filter = filter_of("Vorn Castellane")
    assert text_filter.push("It is Vorn Castellane. And") == "It is "
    assert text_filter.push(" more") == ""
    assert text_filter.finish() == ""


def test_phrases_of_dead_policies_pass() -> None:
    phrases = PhraseList([Phrase.of("dead", "Vorn Castellane"), Phrase.of("alive", "Ann Other")])
    text_filter = TextFilter([phrases], {"dead"})
    assert pushed(text_filter, "Vorn Castellane, Ann Other") == "Vorn Castellane, "


def test_a_filter_without_phrases_holds_nothing() -> None:
    assert TextFilter([]).push("anything \\u00") == "anything \\u00"


def test_lone_surrogates_pass_and_hide_nothing() -> None:
    assert pushed(filter_of("Ed"), "a\ud83d b\udc00") == "a\ud83d b\udc00"
    assert pushed(filter_of("Vorn Castellane"), "Vo\ud83drn Castellane.") == ""


def test_random_text_is_the_same_with_a_thousand_phrases() -> None:
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdeilnorst", k=rng.randint(2, 9))) for _ in range(2000)]
    names = [f"{rng.choice(words)} {rng.choice(words)}x" for _ in range(1000)]
    text = " ".join(rng.choices(words, k=300))
    text_filter = filter_of(*names)
    assert pushed(text_filter, [text[i : i + 5] for i in range(0, len(text), 5)]) == text


def test_the_guard_leaves_the_prompt_alone() -> None:
    case = Case("c", "t", "m", 1, prompt_of("Vorn Castellane"))
    assert TextFilterGuard().on_prompt(case, None) is case  # type: ignore[arg-type]
