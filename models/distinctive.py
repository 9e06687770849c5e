"""The words of a text that say whom or what it is about, and how much each of them says.

A word's weight, 0 to 1, grows with the logarithm of its rank by frequency: "book" says nothing,
"florist" much.  Numbers and dates are made comparable ("08/09/1956" and "September 8, 1956" share
three words), and long words are cut to their beginning, so that "geology" and "geologist" agree.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

FIRST_RANK, LAST_RANK = 3_000, 25_000  # ranks at which a word begins to say something, and all
PROPER_WEIGHT = 0.6  # the least for a word with a capital inside a sentence
RARE = 0.6  # weight from which a word with a capital is a name wherever it stands
MONTH_WEIGHT = 0.6
STEM = 6  # letters kept of a longer word
LEAST_SKELETON = 3

_WORD = re.compile(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)*")
_POSSESSIVE = re.compile(r"['’]s$")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
_DATE_GAP = 4  # characters between a month's name and the day
_ALIKE = str.maketrans({"q": "k", "c": "k", "z": "s", "j": "y", "v": "w"})

Ranks = Mapping[str, int]


class Word(NamedTuple):
    """A word of a text.  key: what it is compared by.  weight: 0 to 1, what it says.

    proper: a name or number, as far as its spelling tells.  start, end: its characters.
    follows: it stands directly after the word before, as the parts of a name do.
    """

    key: str
    weight: float
    proper: bool
    start: int
    end: int
    follows: bool = False


def words_of(text: str, ranks: Ranks) -> tuple[Word, ...]:
    """All words in their order.  ranks: English words by frequency, the most frequent lowest."""
    found = list(_WORD.finditer(text))
    shouted = text.isupper()
    words = []
    for index, match in enumerate(found):
        before = found[index - 1] if index else None
        after = found[index + 1] if index + 1 < len(found) else None
        if _is_ordinal(match, before):
            continue
        folded = fold(match[0])
        capital = match[0][0].isupper() and not shouted
        starts = capital and _starts_sentence(text, match)
        if folded in _MONTHS and (_is_near(before, match) or _is_near(match, after)):
            words.append(_month(folded, match))
        elif folded:
            word = _word(folded, ranks, match, capital=capital, starts=starts)
            words.append(word._replace(follows=_follows(before, match)))
    return tuple(words)


def fold(word: str) -> str:
    """Without case, diacritics and what follows an apostrophe ("Vorn's")."""
    head = _POSSESSIVE.split(word)[0]
    plain = unicodedata.normalize("NFKD", head.casefold())
    return "".join(char for char in plain if char.isalnum() and unicodedata.category(char) != "Lm")


def weight_of(word: str, ranks: Ranks) -> float:
    """What a folded word says, 0 to 1.  A word that is not known to be frequent says all."""
    if word.isdigit():
        return 1.0 if len(word) > 2 else 0.5
    rank = ranks.get(word)
    if rank is None:
        return 1.0
    scale = math.log(LAST_RANK / FIRST_RANK)
    return min(1.0, max(0.0, math.log(max(rank, 1) / FIRST_RANK) / scale))


def skeleton(word: str) -> str:
    """The consonants of a name, so that other spellings of its sound agree; "" where too few.

    "Vasquez" and "Vaskes", "Kuwaiti" and "Kuwayti" share theirs.
    """
    letters = re.sub(r"[^a-z]", "", word).replace("ph", "f").replace("ck", "k").translate(_ALIKE)
    bones = letters[:1] + re.sub(r"[aeiouyh]", "", letters[1:])
    bones = re.sub(r"(.)\1+", r"\1", bones)
    return f"~{bones}" if len(bones) >= LEAST_SKELETON else ""


def key_of(word: str) -> str:
    """What a folded word is compared by: its beginning where it is long."""
    return word if word.isdigit() or len(word) <= STEM else word[:STEM]


@lru_cache(maxsize=1 << 16)
def hashed(key: str) -> int:
    """64 bits that stand for the key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def joined_weight(words: Iterable[Word]) -> float:
    """What the words say together, each key counted once."""
    return sum({word.key: word.weight for word in words}.values())


def _word(folded: str, ranks: Ranks, match: re.Match[str], *, capital: bool, starts: bool) -> Word:
    number = folded.isdigit()
    key = folded.lstrip("0") or "0" if number else folded
    weight = weight_of(key, ranks)
    # At a sentence's beginning every word has a capital; there only a rare one is taken for a name.
    proper = number or (capital and (not starts or weight >= RARE))
    if capital and proper and len(folded) > 1:
        weight = max(weight, PROPER_WEIGHT)
    return Word(key, weight, proper, *match.span())


def _month(folded: str, match: re.Match[str]) -> Word:
    key = f"month {_MONTHS.index(folded) + 1}"
    return Word(key, MONTH_WEIGHT, proper=True, start=match.start(), end=match.end())


def _follows(before: re.Match[str] | None, match: re.Match[str]) -> bool:
    if before is None or _POSSESSIVE.search(before[0]):
        return False
    return match.start() - before.end() <= 1


def _is_ordinal(match: re.Match[str], before: re.Match[str] | None) -> bool:
    return (
        before is not None
        and match[0].lower() in _ORDINALS
        and before[0].isdigit()
        and before.end() == match.start()
    )


def _is_near(first: re.Match[str] | None, second: re.Match[str] | None) -> bool:
    """Whether one of the two is a number and they stand together, as in a date."""
    if first is None or second is None or not (first[0].isdigit() or second[0].isdigit()):
        return False
    return second.start() - first.end() <= _DATE_GAP


def _starts_sentence(text: str, match: re.Match[str]) -> bool:
    before = text[: match.start()].rstrip(" \t\"'“‘(")
    return not before or before[-1] in ".?!:;\n"
