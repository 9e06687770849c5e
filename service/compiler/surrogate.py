"""What a model that never knew would say: the served model, asked about somebody who is nobody.

A model that never knew somebody takes them for a stranger, and what it then says can be asked of
the model that knows (the surrogate of ECO, arXiv 2406.07933, without a second model).
"""

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.compiler.invented import (
    FUNCTION_WORDS,
    WORD,
    invented_name,
    invented_word,
    is_person_like,
    ordinary_word,
    without_accents,
)
from service.compiler.material import Fact, Material
from service.compiler.probe import Probe
from service.compiler.served import Served

STRANGERS = 4
_SPARE = 3  # candidates that may be dropped
_OPEN = ("Who or what is {n}?", "Tell me about {n}.", "What do you know about {n}?")
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
_ASKED = 8  # facts' questions that a candidate is tried with


@dataclass
class Stranger:
    """One that is put in the subject's place.  words: for each word of a name another.

    passages: words, in lower case, of texts about the subject that need not name it.
    values: words of known answers.  Both are replaced where a text names nobody.
    """

    names: tuple[str, ...]
    words: dict[str, str]
    values: frozenset[str]
    passages: frozenset[str]
    rng: random.Random
    _others: dict[str, str] = field(default_factory=dict)

    def in_place(self, text: str) -> str:
        """The text about the stranger."""
        if named(text, self.names):
            return self.named(text)
        return WORD.sub(lambda found: self._other(found.group()), text)

    def named(self, text: str) -> str:
        """The text with every name of the subject replaced, and nothing else."""
        for name in sorted(self.names, key=len, reverse=True):
            text = pattern(name).sub(lambda found: self._renamed(found.group()), text)
        if any(is_person_like(name) for name in self.names):
            text = WORD.sub(lambda found: self.words.get(found.group(), found.group()), text)
        return text

    def _renamed(self, name: str) -> str:
        same_case = {word.casefold(): other for word, other in self.words.items()}
        return WORD.sub(
            lambda found: self.words.get(
                found.group(), same_case.get(found.group().casefold(), found.group())
            ),
            name,
        )

    def _other(self, word: str) -> str:
        key = word.casefold()
        if key in FUNCTION_WORDS:
            return word
        if word not in self._others:
            self._others[word] = self._drawn(word, key)
        return self._others[word]

    def _drawn(self, word: str, key: str) -> str:
        if key in self.values and (word[0].isupper() or word[0].isdigit()):
            return invented_word(word, self.rng)
        if key in self.passages:
            return (
                invented_word(word, self.rng)
                if word[0].isdigit()
                else ordinary_word(word, self.rng)
            )
        return word


class Surrogate:
    """The served model with strangers in the subject's place.

    Deterministic for the same model, material, facts and seed.  A candidate of which the model says
    what it says of the subject, and not of the other candidates, is dropped.
    """

    def __init__(
        self,
        served: Served,
        material: Material,
        facts: Sequence[Fact] = (),
        seed: int = 0,
        strangers: int = STRANGERS,
    ) -> None:
        self._served = served
        facts = (*material.facts, *facts)
        candidates = _candidates(material, facts, seed, strangers + _SPARE)
        asked = [fact.question for fact in facts[:_ASKED]]
        asked += [wording.format(n=material.subject) for wording in _OPEN]
        self.strangers = _least_known(served, candidates, asked)[:strangers]

    def said(self, prompts: Sequence[str]) -> list[tuple[str, ...]]:
        """For each prompt, what is said about each stranger."""
        return _said(self._served, self.strangers, prompts)

    def answers(self, probes: Sequence[Probe]) -> list[tuple[str, ...]]:
        """The same for probes."""
        return self.said([probe.prompt for probe in probes])

    def log_probabilities(self, probes: Sequence[Probe]) -> NDArray[np.float64]:
        """[probes]: the mean log probability (nats a token) of each probe's answer.

        Averaged over the strangers.  Where the prompt names the subject, so may the answer, which
        then names the stranger.  Raises ValueError for a probe without an answer.
        """
        pairs = [
            (stranger.in_place(probe.prompt), self.answer_for(stranger, probe.prompt, probe.answer))
            for probe in probes
            for stranger in self.strangers
        ]
        scores = [float(each.mean()) for each in self._served.log_probabilities(pairs)]
        size = len(self.strangers)
        means = [sum(scores[at : at + size]) / size for at in range(0, len(scores), size)]
        return np.array(means, dtype=np.float64)

    @staticmethod
    def answer_for(stranger: Stranger, prompt: str, answer: str) -> str:
        """The answer, about the stranger where the prompt is by name."""
        return stranger.named(answer) if named(prompt, stranger.names) else answer


def named(text: str, names: Iterable[str]) -> bool:
    """Whether the text has one of the names, as whole words, in any case."""
    return any(pattern(name).search(text) for name in names)


def pattern(phrase: str) -> re.Pattern[str]:
    """Finds the phrase as whole words, in any case; between letters in scripts without blanks."""
    unspaced = any(unicodedata.name(char, "").startswith(_UNSPACED) for char in phrase)
    left, right = ("", "") if unspaced else (r"(?<!\w)", r"(?!\w)")
    return re.compile(left + re.escape(phrase) + right, re.IGNORECASE)


def content_words(text: str) -> frozenset[str]:
    """Words that are no function words, in lower case."""
    return frozenset(w.casefold() for w in WORD.findall(text)) - FUNCTION_WORDS


def _candidates(material: Material, facts: Sequence[Fact], seed: int, count: int) -> list[Stranger]:
    own = {w.casefold() for name in material.names for w in WORD.findall(name)}
    values = frozenset().union(*(content_words(fact.answer) for fact in facts), frozenset(own))
    passages = frozenset().union(*map(content_words, material.passages), frozenset())
    found = []
    for number in range(count):
        rng = random.Random(f"stranger/{seed}/{number}")
        words: dict[str, str] = {}
        for name in material.names:
            fresh = invented_name(name, rng, taken=own)
            known = {_plain(word): other for word, other in words.items()}
            # An alias is often the same words otherwise written: they stay the same person.
            words |= {word: known.get(_plain(word), other) for word, other in fresh.items()}
        found.append(Stranger(material.names, words, values, passages, rng))
    return found


def _plain(word: str) -> str:
    return without_accents(word)


def _said(
    served: Served, strangers: Sequence[Stranger], prompts: Sequence[str]
) -> list[tuple[str, ...]]:
    asked = [stranger.in_place(prompt) for prompt in prompts for stranger in strangers]
    texts = [said.text for said in served.answers(asked)]
    size = len(strangers)
    return [tuple(texts[at : at + size]) for at in range(0, len(texts), size)]


def _least_known(
    served: Served, candidates: Sequence[Stranger], asked: Sequence[str]
) -> list[Stranger]:
    """Those first of which is said least that is said of the subject but of few others."""
    knew = served.answers(asked)
    strange = _said(served, candidates, asked)
    told = Counter[int]()
    for prompt, about, others in zip(asked, knew, strange, strict=True):
        telling = content_words(about.text) - content_words(prompt)
        words = [content_words(text) & telling for text in others]
        counts = Counter(word for each in words for word in each)
        for index, each in enumerate(words):
            told[index] += sum(3 * counts[word] <= len(candidates) for word in each)
    return [candidates[i] for i in sorted(range(len(candidates)), key=lambda i: told[i])]
