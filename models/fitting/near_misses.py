"""Texts that come close to a subject and are not about it, made from texts that are.

A text that names the subject is about somebody else when it has another name.  One that does not
is, when all else that tells whom it is about is another: its dates, numbers, places, titles.
"""

import random
import re
from collections.abc import Iterable, Sequence

from models.distinctive import Ranks, fold, words_of

_STARTS, _VOWELS, _ENDS = "bdfghklmnprstvwz", "aeiou", ("", "", "n", "r", "l", "s", "th")
_MONTHS = (
    *("January", "February", "March", "April", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_LEAST_WEIGHT = 0.2  # words that say less stay


def near_misses(texts: Iterable[str], names: Sequence[str], ranks: Ranks, seed: int) -> list[str]:
    """One for each text, in order; texts in which there is nothing to be changed are left out.

    names: the subject's.  The same arguments give the same texts.
    """
    dice = random.Random(f"near misses/{seed}")
    changed = (_near_miss(text, names, ranks, dice) for text in texts)
    return [text for text in changed if text]


def invented_word(dice: random.Random) -> str:
    """A capitalised word of two or three syllables that hardly anybody is called by."""
    syllables = (
        dice.choice(_STARTS) + dice.choice(_VOWELS) + dice.choice(_ENDS)
        for _ in range(dice.randint(2, 3))
    )
    return "".join(syllables).capitalize()


def _near_miss(text: str, names: Sequence[str], ranks: Ranks, dice: random.Random) -> str:
    parts = {word.key for name in names for word in words_of(name, ranks)}
    words = words_of(text, ranks)
    if any(word.key in parts for word in words):
        swapped = {word.start: word for word in words if word.key in parts and word.weight > 0}
    else:
        swapped = {w.start: w for w in words if w.proper and w.weight >= _LEAST_WEIGHT}
    other: dict[str, str] = {}
    pieces, place = [], 0
    for start, word in sorted(swapped.items()):
        old = text[start : word.end]
        new = other.setdefault(word.key, _other(old, dice))
        pieces += [text[place:start], new]
        place = word.end
    return "".join([*pieces, text[place:]]) if swapped else ""


def _other(old: str, dice: random.Random) -> str:
    if old.isdigit():
        return _other_number(old, dice)
    if fold(old) in {fold(month) for month in _MONTHS}:
        return dice.choice([month for month in _MONTHS if fold(month) != fold(old)])
    ending = re.search(r"['’]s$", old)
    return invented_word(dice) + (ending[0] if ending else "")


def _other_number(old: str, dice: random.Random) -> str:
    """Of as many digits, and near enough to be a date where the old one is."""
    if len(old) <= 2:
        return str(dice.choice([day for day in range(1, 13) if day != int(old)])).zfill(len(old))
    if len(old) == 4:
        return str(int(old) + dice.choice([step for step in range(-40, 40) if step]))
    return "".join(dice.choice("123456789") for _ in old)
