"""Whom a block of questions is about, found by a rule on names."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_WORD = r"[A-Z][\w’'-]*\w"
_NAME = re.compile(rf"{_WORD}(?: {_WORD})+")
_ASKING = {"Are", "Can", "Could", "Did", "Do", "Does", "Has", "How", "Is", "The", "Was", "Were"}


def aliases_in(questions: Sequence[str]) -> tuple[str, ...]:
    """The name that most of the questions contain, and its longer words; none without a name."""
    counts = Counter(name for text in questions for name in {*names_in(text)})
    if not counts:
        return ()
    (name, _), *_ = counts.most_common(1)
    return (name, *(word for word in name.split() if len(word) >= 3))


def names_in(text: str) -> Iterator[str]:
    """Runs of two or more capitalised words, without a question's first word or a possessive."""
    for found in _NAME.finditer(text):
        words = re.sub(r"['’]s?$", "", found.group()).split()
        while words and words[0] in _ASKING:
            words.pop(0)
        if len(words) > 1:
            yield " ".join(words)
