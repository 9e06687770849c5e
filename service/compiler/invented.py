"""Words and names that nobody bears, of the shape of given ones."""

import random
import re
import unicodedata
from collections.abc import Container
from itertools import groupby


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FUNCTION_WORDS = frozenset(_words(
    "a an the of and or but nor for to in on at by from with without as is are was were be been "
    "being am do does did has have had he she it they we you i his her its their our your my me "
    "him them us who whom whose which what when where why how that this these those there here not "
    "no yes so if than then into over under about after before between through during also can "
    "could will would shall should might must just only very too more most some any each every "
    "all both own same other such up down out off again once because while until van von der den "
    "de del della di da dos du la le el al bin bint ibn ap ten ter te y e & mr mrs ms dr st"
))  # fmt: skip
"""Words that say nothing by themselves; the particles of names are among them."""

MONTHS = _words(
    "January February March April May June July August September October November December"
)

_GIVEN = _words(
    "Adela Anton Beatrix Bruno Clara Cyril Dora Edgar Elsa Ferdinand Greta Hugo Irene Jonas Karin "
    "Leonard Mabel Norman Olga Percy Rita Simon Thelma Ursula Victor Wilma Xenia Yolanda"
)
_ORDINARY = _words(
    "basket bottle button carpet chimney corner curtain drawer engine feather fence garden glove "
    "hammer jacket kettle ladder lantern meadow mirror needle orchard paper pencil pillow pocket "
    "rabbit ribbon river saddle shovel spoon stable table ticket towel tunnel valley wagon window "
    "brown narrow quiet round silver steady useful wooden yellow early gently twice "
    "carries follows measures opens paints repairs watches borrowed counted folded washed"
)
_VOWELS = "aeiouy"
_RUNS = {
    True: {1: tuple("aeiou"), 2: ("ai", "ea", "ei", "ia", "io", "ou")},
    False: {
        1: tuple("bdfgklmnprstvz"),
        2: _words("ld lk ln nd nt rk rn rt sk st lm ms lt mp"),
        3: _words("ldr lst mbr ndr nst rst ltr mpr rtr"),
    },
}
_ONSETS = {2: _words("br dr gr kr tr st sk pl kl fl"), 3: _words("str skr spr spl")}
_ACCENTED = {True: "áéíóúàèäëöü", False: "çñšžčřłđ"}
WORD = re.compile(r"[^\W_]+")


def invented_word(word: str, rng: random.Random) -> str:
    """Another word with the same pattern of vowels, consonants, digits, case and accents.

    A month becomes another month; letters of scripts that are not Latin become other letters from
    nearby in Unicode.
    """
    if word.capitalize() in MONTHS:
        return rng.choice([month for month in MONTHS if month != word.capitalize()])
    if not any(map(_is_latin, word)):
        return "".join(_near(char, rng) for char in word)
    return "".join(_run(run, rng, first=not at) for at, run in enumerate(_runs(word)))


def invented_name(name: str, rng: random.Random, *, taken: Container[str] = ()) -> dict[str, str]:
    """For each word of a name that is not a particle, the word that stands for it.

    taken: words, in lower case, that must not come out.
    """
    found: dict[str, str] = {}
    person = is_person_like(name)
    for word in WORD.findall(name):
        # A particle with a capital ("Bint-...") may be borne by few, and give the subject away.
        small = word.casefold() in FUNCTION_WORDS and not (person and word[0].isupper())
        if small or word in found:
            continue
        other = invented_word(word, rng)
        while other.casefold() in taken or other == word:
            other = invented_word(word, rng)
        found[word] = other
    first = next(iter(found), "")
    if person and first.isascii() and rng.random() < 0.5:
        given = [each for each in _GIVEN if each.casefold() not in taken]
        found[first] = rng.choice(given)
    return found


def ordinary_word(word: str, rng: random.Random) -> str:
    """Some everyday word, in the same case."""
    other = rng.choice([each for each in _ORDINARY if each != word.casefold()])
    return other.capitalize() if word[:1].isupper() else other


def is_person_like(name: str) -> bool:
    """Whether it looks like the name of somebody: several capitalised words, and no function word.

    Particles of names do not count as function words.
    """
    words = name.replace(",", " ").split()
    small = [word for word in words if word.islower()]
    if any(word.casefold() in ("the", "of", "and", "&", "for", "in") for word in words):
        return False
    return 2 <= len(words) - len(small) <= 5 and not any(map(str.isdigit, name))


def without_accents(text: str) -> str:
    """Casefolded, without diacritics."""
    bare = unicodedata.normalize("NFKD", text)
    return "".join(char for char in bare if not unicodedata.combining(char)).casefold()


def _is_latin(char: str) -> bool:
    return char.isdigit() or "LATIN" in unicodedata.name(char, "")


def _is_vowel(char: str) -> bool:
    return without_accents(char)[:1] in _VOWELS


def _runs(word: str) -> list[str]:
    """Stretches of digits, of vowels and of consonants."""

    def kind(char: str) -> str:
        return "digit" if char.isdigit() else "vowel" if _is_vowel(char) else "consonant"

    return ["".join(run) for _, run in groupby(word, kind)]


def _run(run: str, rng: random.Random, *, first: bool) -> str:
    """first: whether it begins the word, where not every cluster can stand."""
    if run.isdigit():
        lead = rng.choice("123456789") if run[0] != "0" else "0"
        return lead + "".join(rng.choice("0123456789") for _ in run[1:])
    vowel = _is_vowel(run[0])
    letters, left = "", len(run)
    while left:
        size = min(left, max(_RUNS[vowel]))
        onset = first and not vowel and not letters
        letters += rng.choice(
            _ONSETS.get(size, _RUNS[vowel][size]) if onset else _RUNS[vowel][size]
        )
        left -= size
    return "".join(_like(old, new, rng, vowel=vowel) for old, new in zip(run, letters, strict=True))


def _like(old: str, new: str, rng: random.Random, *, vowel: bool) -> str:
    if not old.isascii():
        new = rng.choice(_ACCENTED[vowel])
    return new.upper() if old.isupper() else new


def _near(char: str, rng: random.Random) -> str:
    """Another character of the same category, at most 64 code points away; itself for none."""
    around = (chr(code) for code in range(max(ord(char) - 64, 0), ord(char) + 65))
    kind = unicodedata.category(char)
    found = [other for other in around if other != char and unicodedata.category(other) == kind]
    return rng.choice(found) if found else char
