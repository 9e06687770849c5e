"""What a character stands for, whatever it is dressed up as: the one folding of prompt and output.

Folding works character by character, which makes it linear, lets a stream be folded as it comes,
and keeps every letter's place in the original text.  NFKD, case fold and the loss of diacritics
need no context.  Look-alikes (UTS 39) and leet are kept apart, as second readings of a character:
"Ворон" is a raven, not somebody called Bopoh.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

from confusable_homoglyphs import confusables

VERSION = 1  # of the folding: raised with every change of what it returns

NO_GAP, MARKED_GAP, BLANK_GAP = 0, 1, 2

LEET = {
    "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b",
    "9": "g", "@": "a", "$": "s", "!": "il", "|": "il", "+": "t", "€": "e", "£": "l", "¡": "il",
}  # fmt: skip
SYMBOLS = frozenset(c for c in LEET if not c.isalnum())
# One class for letters that a digit or symbol may mean alike: l and i share "1", b and g share "6".
_CANONICAL = str.maketrans("0123456789lb@$!|+€£¡", "oizeasgtggigasiiteii")
ROT13 = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
_WITHOUT_STROKE = {
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "ȷ": "j", "æ": "ae",
    "œ": "oe", "þ": "th", "ŋ": "n", "ɫ": "l",
}  # fmt: skip
_INVISIBLE = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2065, 0x3164, 0xFFA0)
)
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
_TAGS = range(0xE0000, 0xE1000)
_ENCLOSED_A = (0x1F150, 0x1F170, 0x1F1E6)  # negative circles and squares, regional indicators
_UNSPACED = (
    range(0x0E00, 0x10A0), range(0x1100, 0x1200), range(0x1780, 0x1800), range(0x2E80, 0xA000),
    range(0xA960, 0xA980), range(0xAC00, 0xD800), range(0xF900, 0xFB00), range(0x20000, 0x40000),
)  # fmt: skip
_MEDIAL_JAMO = range(0x1160, 0x1200)


class Sign(NamedTuple):
    """What one character contributes to a text.

    letters: its letters and digits, folded within its own script; "" for none.  marks: vowel signs
    and the like, which belong to the letter before.  glyph: the one Latin letter or digit that it
    looks like, or "".  gap: which sort of separator it is.  leet: the letters that it may mean.
    """

    letters: str
    marks: str
    glyph: str
    gap: int
    leet: str

    @property
    def ignored(self) -> bool:
        """Whether it is as good as invisible: neither part of a word nor its end."""
        return not (self.letters or self.marks or self.gap)


def canonical(letters: str) -> str:
    """The letters with all that leet confuses merged: the form that is searched for."""
    return letters.translate(_CANONICAL)


@lru_cache(maxsize=1 << 16)
def sign(char: str) -> Sign:
    """What the character contributes.  Defined for every character, lone surrogates too."""
    folded = fold(char)
    letters = "".join(c for c in folded if _is_letter(c))
    marks = "".join(c for c in folded if c != " " and not _is_letter(c))
    gap = NO_GAP
    if folded and not letters and not marks:
        gap = BLANK_GAP if char.isspace() else MARKED_GAP
    return Sign(letters, marks, _glyph(char, letters), gap, LEET.get(char, ""))


@lru_cache(maxsize=1 << 16)
def fold(char: str) -> str:
    """Its letters, digits and marks in lower case; " " for a separator, "" for the invisible."""
    if char.isascii():
        return _fold_ascii(char)
    if _is_invisible(char):
        return ""
    folded = char
    for _ in range(3):  # compatibility forms and case each reveal what the other folds
        folded = unicodedata.normalize("NFKD", _opened(folded)).casefold()
        folded = "".join(_WITHOUT_STROKE.get(c, c) for c in folded if not _is_diacritic(c))
    if not folded:
        return ""
    return "".join(_plain(c) for c in folded if not _is_invisible(c))


def joined(before: str, after: str) -> bool:
    """Whether two adjacent letters (as written) are sure to be of one word.

    They are not in scripts that are written without spaces, nor where one is a digit.
    """
    if before.isascii() and after.isascii():
        return before.isdecimal() == after.isdecimal()
    if ord(after) in _MEDIAL_JAMO:
        return True
    if is_unspaced(before) or is_unspaced(after):
        return False
    return before.isdecimal() == after.isdecimal()


def touching(before: str, after: str) -> bool:
    """Whether the boundary between two adjacent letters is only one of letter and digit."""
    return before.isdecimal() != after.isdecimal() and not (
        is_unspaced(before) or is_unspaced(after)
    )


def is_unspaced(char: str) -> bool:
    """Whether the character's script is written without spaces, or packs syllables into one."""
    code = ord(char)
    return code >= 0x0E00 and any(code in scripts for scripts in _UNSPACED)


@lru_cache(maxsize=4096)
def script(char: str) -> str:
    """The script's name, for letters: the first word of the character's name."""
    return unicodedata.name(char, "?").partition(" ")[0]


def _fold_ascii(char: str) -> str:
    if char.isalnum():
        return char.lower()
    return " " if char.isprintable() or char.isspace() else ""


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    return char if category[0] in "LN" or category in ("Mn", "Mc") else " "


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN"


def _is_diacritic(char: str) -> bool:
    # Classes 0, 7, 8 and 9 are vowel signs, nukta, kana voicing and virama: they make other words.
    return unicodedata.category(char) == "Me" or unicodedata.combining(char) not in (0, 7, 8, 9)


def _is_invisible(char: str) -> bool:
    code = ord(char)
    return (
        (unicodedata.category(char) in ("Cf", "Cc", "Cs") and not char.isspace())
        or code in _INVISIBLE
        or code in _VARIATION_SELECTORS
        or code in _TAGS
    )


def _opened(text: str) -> str:
    return "".join(_letter_enclosed(c) for c in text)


def _letter_enclosed(char: str) -> str:
    code = ord(char)
    first = next((first for first in _ENCLOSED_A if first <= code < first + 26), None)
    return char if first is None else chr(ord("a") + code - first)


def _glyph(char: str, letters: str) -> str:
    if char.isascii() or len(letters) != 1 or letters.isascii():
        return ""
    for form in (char, letters, char.upper(), letters.upper()):
        for entry in confusables.confusables_data.get(form, ())[:1]:
            looks = "".join(fold(c) for c in entry["c"])
            if len(looks) == 1 and looks.isascii() and looks.isalnum():
                return looks
    return ""
