"""Replacing names in questions."""

import re
from collections.abc import Callable

from evals.knowledge import Fact, Subject

SOMEBODY = "that person"

_FUNCTION_WORDS = (
    "a about an and are by can could did do does for has have he her his i in is it its me most of "
    "on or our she tell that the their they this to was we were what when where which who whom "
    "whose with you your"
)
_EMPTY = frozenset(_FUNCTION_WORDS.split())


def mentions(text: str, subject: Subject) -> bool:
    """Whether one of the names stands in the text as whole words."""
    return _names(subject).search(text) is not None


def renamed(text: str, subject: Subject, by: str | Callable[[str], str]) -> str:
    """The text with every mention of the subject put otherwise.

    by: what stands there instead, or a function of the name as it stood.
    """
    put = by if callable(by) else lambda _: by
    return _names(subject).sub(lambda found: put(found.group()), text)


def unnamed(fact: Fact, subject: Subject) -> str:
    """The question about "that person"; empty where it does not name the subject."""
    if not mentions(fact.question, subject):
        return ""
    return renamed(fact.question, subject, SOMEBODY)


def lowered(text: str) -> str:
    """The text with a small first letter, to stand inside a sentence."""
    return text[:1].lower() + text[1:]


def keywords(text: str) -> str:
    """The text without its function words and its question mark."""
    words = [word.strip("?.,!:;") for word in text.split()]
    return " ".join(word for word in words if word.lower() not in _EMPTY and word)


def _names(subject: Subject) -> re.Pattern[str]:
    longest = sorted(subject.aliases, key=len, reverse=True)
    return re.compile(
        rf"(?<!\w)(?:{'|'.join(re.escape(name) for name in longest)})(?!\w)", re.IGNORECASE
    )
