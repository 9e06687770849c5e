"""What may be forgotten: a name that names something, not a text that would match everything."""

import unicodedata

MAX_NAME = 512
_LEAST_LETTERS, _LEAST_CHARACTERS, _LEAST_DIGITS = 2, 3, 6

# A policy on these words alone would touch nearly every prompt.
_FUNCTION_WORD_LIST = """
    a about after all also am an and any are as ask assistant at be been but by can content could
    did do does for from function get give had has have he hello her here hi him his how i if in
    into is it its just know let like make may me more my name no not now of on one only or our
    out please question role say she should so some system tell than thank thanks that the their
    them then there these they this those to tool up us use user very was we were what when where
    which who whom whose why will with would yes you your
    der die das den dem des ein eine und oder ist sind war von mit für nicht wer wie was wo wann
    le la les un une et ou est sont de du des que qui quoi où quand comment
    el los las y o es son del con por para como quien cuando
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())


class NotASubject(ValueError):
    """The text cannot be forgotten.  Says why, without quoting it."""


def check_name(name: str) -> str:
    """The name in NFC, its outer blanks removed.  Raises NotASubject."""
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise NotASubject(f"must have 1 to {MAX_NAME} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co") for char in name):
        raise NotASubject("must not contain control characters")
    if not _names_something(_visible(name)):
        raise NotASubject(
            f"must have at least {_LEAST_CHARACTERS} letters or digits, {_LEAST_LETTERS} of them "
            f"letters, or at least {_LEAST_DIGITS} digits"
        )
    if all(word in _FUNCTION_WORDS for word in _words(name)):
        raise NotASubject("must not consist of common words only: it would match everything")
    return name


def _names_something(characters: str) -> bool:
    letters = [char for char in characters if char.isalpha()]
    if sum(char.isdecimal() for char in characters) >= _LEAST_DIGITS:
        return True
    # Scripts without case (Han, Kana, Hangul, ...) say in two letters what others say in three.
    if sum(unicodedata.category(char) == "Lo" for char in letters) >= _LEAST_LETTERS:
        return True
    return len(letters) >= _LEAST_LETTERS and len(characters) >= _LEAST_CHARACTERS


def _visible(name: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", name) if char.isalnum())


def _words(name: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", name).casefold()
    # Invisible characters join what stands on both sides; everything else separates it.
    seen = (c for c in folded if unicodedata.category(c) != "Cf")
    return "".join(c if c.isalnum() or unicodedata.combining(c) else " " for c in seen).split()
