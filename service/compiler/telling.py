"""Which words of an answer tell: that could not be known of a stranger."""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import dropwhile, groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.compiler.catalogue import CATALOGUE
from service.compiler.invented import FUNCTION_WORDS, MONTHS, without_accents
from service.compiler.material import Fact
from service.compiler.served import Served
from service.compiler.surrogate import Surrogate, named

LIKELY = 0.5
"""Mean probability from which a word of an answer is what one would say of a stranger too."""

_TOKEN = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
ORDINARY = FUNCTION_WORDS | {
    word.casefold()
    for attribute in CATALOGUE
    for text in (*attribute.asks, attribute.clause, *attribute.nouns, *attribute.stems)
    for word in _TOKEN.findall(text)
    if not word.isdigit()
}
"""Function words, and the words in which the catalogue asks."""

_MONTHS = frozenset(month.casefold() for month in MONTHS)


def says(text: str, telling: Iterable[str]) -> bool:
    """Whether any of the phrases stands in the text as whole words; case and accents aside."""
    plain = _plain(text)
    return any(_whole(_plain(phrase)).search(plain) for phrase in telling)


def not_in(telling: Iterable[str], prompt: str) -> tuple[str, ...]:
    """Those that the prompt does not say itself."""
    return tuple(phrase for phrase in telling if not says(prompt, (phrase,)))


def unlike(
    answer: str, prompt: str, names: Iterable[str], strange: Iterable[str], likely: Iterable[str]
) -> tuple[str, ...]:
    """The words and phrases of an answer that tell.

    Neither in the prompt nor of a name that the prompt has, no function words nor those that the
    catalogue itself asks with, and not in any answer about a stranger (strange).  Of adjacent words
    the first ones do not count that are likely about a stranger too (likely).  Small numbers,
    months and words of one or two letters tell only together with their neighbours.
    """
    spoken = {_plain(w) for text in (prompt, *strange) for w in _TOKEN.findall(text)} | ORDINARY
    if named(prompt, names):
        spoken |= {_plain(w) for name in names for w in _TOKEN.findall(name)}
    guessed = {_plain(word) for word in likely}
    words = [
        _Word(found.group(), _plain(found.group()) not in spoken)
        for found in _TOKEN.finditer(answer)
    ]
    runs = [_from_first_new(run, guessed) for run in _runs(words)]
    found = [phrase for run in runs for phrase in _phrases(run)]
    if not found:
        found = [" ".join(word.text for word in run) for run in runs if run]
    return tuple(dict.fromkeys(found))


class Telling:
    """Finds what tells in facts, by what the surrogate says and by what it finds likely."""

    def __init__(self, served: Served, surrogate: Surrogate, names: Sequence[str]) -> None:
        self._served = served
        self._surrogate = surrogate
        self._names = tuple(names)

    def of(self, facts: Sequence[Fact]) -> list[tuple[str, ...]]:
        """For each fact what its answer tells; empty where a stranger's could be the same."""
        strange = self._surrogate.said([fact.question for fact in facts])
        likely = self._likely(facts)
        return [
            unlike(fact.answer, fact.question, self._names, texts, words)
            for fact, texts, words in zip(facts, strange, likely, strict=True)
        ]

    def _likely(self, facts: Sequence[Fact]) -> list[list[str]]:
        strangers = self._surrogate.strangers
        pairs = [
            (each.in_place(fact.question), Surrogate.answer_for(each, fact.question, fact.answer))
            for fact in facts
            for each in strangers
        ]
        scores = self._served.log_probabilities(pairs)
        found = []
        for index, fact in enumerate(facts):
            at = slice(index * len(strangers), (index + 1) * len(strangers))
            words = _TOKEN.findall(fact.answer)
            each = [
                self._of_words(said, score)
                for (_, said), score in zip(pairs[at], scores[at], strict=True)
            ]
            alike = [chances for chances in each if len(chances) == len(words)]
            mean = np.mean(alike, axis=0) if alike else np.zeros(len(words))
            found.append([w for w, p in zip(words, mean, strict=True) if p >= LIKELY])
        return found

    def _of_words(self, said: str, score: NDArray[np.float64]) -> list[float]:
        """The probability of each word of a continuation, given what is before it."""
        ranges = self._served.pieces(said, len(score))
        return [
            float(np.exp(sum(p for p, (a, b) in zip(score, ranges, strict=True)
                             if a < found.end() and b > found.start())))
            for found in _TOKEN.finditer(said)
        ]  # fmt: skip


class _Word(NamedTuple):
    text: str
    new: bool

    @property
    def weak(self) -> bool:
        bare = self.text.casefold()
        return bare in _MONTHS or len(bare) <= 2


def _runs(words: Sequence[_Word]) -> Iterator[list[_Word]]:
    """Stretches of words that may tell."""
    return (list(run) for new, run in groupby(words, lambda word: word.new) if new)


def _from_first_new(run: Sequence[_Word], guessed: Set[str]) -> list[_Word]:
    """From the first word that could not be guessed: what follows it was likely only after it."""
    return list(dropwhile(lambda word: _plain(word.text) in guessed, run))


def _phrases(run: Sequence[_Word]) -> list[str]:
    """Every strong word, and every stretch of several weak ones."""
    found = []
    for weak, group in groupby(run, lambda word: word.weak):
        words = [word.text for word in group]
        if not weak:
            found += words
        elif len(words) > 1:
            found.append(" ".join(words))
    return found


def _plain(text: str) -> str:
    return " ".join(without_accents(text.replace("’", "'")).split())


def _whole(phrase: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)")
