"""Texts that a policy gives as examples, found again by meaning.

Sentence embeddings alone cannot tell "Where was A born?" from "Where was B born?": that pair is
nearer than two phrasings about A.  So a text counts as like an example only where it also has every
distinctive word of the example: its numbers, its rare words, its names.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.case import Span
from guards.nearest import Nearest
from guards.normaliser import sign
from guards.policy import Policy
from models.encoder import DIMENSIONS, Encoder

MAX_WINDOWS = 16  # parts of a prompt that are compared
MAX_WINDOW_CHARS = 320  # about the 64 tokens that the encoder reads
NAMELESS_THRESHOLD = 0.92  # for examples without distinctive words, where only the cosine counts
SMALL = 512  # examples up to which a new block swallows the one before it

_SENTENCE = re.compile(r"[^.?!\n;]+[.?!\n;]*")
_WORD = re.compile(r"\w+(?:['’]\w+)*")

Vectors = NDArray[np.float32]


class Example(NamedTuple):
    """One example.  policy: whose.  names: the words that a text like it must have."""

    policy: str
    text: str
    names: frozenset[str]


class Likeness(NamedTuple):
    """A window that is like a policy's example.  score: cosine."""

    policy: str
    score: float
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    """Some examples and their embeddings.  vectors: [examples, DIMENSIONS], of length 1."""

    examples: tuple[Example, ...]
    vectors: Vectors

    def near(self, vectors: Vectors, threshold: float) -> Iterator[tuple[int, Example, float]]:
        """For each vector (by index), the examples from that cosine on.

        vectors: [n, DIMENSIONS].
        """
        for near in Nearest(self.vectors).from_cosine(vectors, threshold):
            yield near.query, self.examples[near.row], near.cosine


@dataclass(frozen=True)
class ExampleIndex:
    """The examples of an epoch, in immutable blocks, and the policies that no longer count."""

    threshold: float
    blocks: tuple[Block, ...] = ()
    dead: frozenset[str] = frozenset()

    def changed(
        self, added: Sequence[Policy], removed: frozenset[str], encoder: Encoder
    ) -> "ExampleIndex":
        """With some policies more and some less; only new examples are encoded."""
        known = {example.policy for block in self.blocks for example in block.examples}
        dead = (self.dead | (removed & known)) - {policy.digest for policy in added}
        new = [policy for policy in added if policy.digest not in known]
        block = encoded(new, encoder)
        blocks = [*self.blocks, block] if block.examples else list(self.blocks)
        while len(blocks) > 1 and len(blocks[-2].examples) <= SMALL:
            blocks[-2:] = [_joined(blocks[-2:], frozenset())]
        return ExampleIndex(self.threshold, tuple(blocks), dead)

    def compacted(self) -> "ExampleIndex":
        """The same in one block."""
        return ExampleIndex(self.threshold, (_joined(self.blocks, self.dead),))

    def like(self, text: str, windows: Sequence[Span], encoder: Encoder) -> Iterator[Likeness]:
        """Which windows of the text are like an example."""
        pieces = [text[start:end] for start, end in windows]
        vectors = encoder.encode(pieces)
        for block in self.blocks:
            for index, example, score in block.near(vectors, self.threshold):
                if example.policy not in self.dead and _agrees(example, pieces[index], score):
                    yield Likeness(example.policy, score, windows[index])


def _agrees(example: Example, text: str, score: float) -> bool:
    if not example.names:
        return score >= NAMELESS_THRESHOLD
    return example.names <= words_of(text)


def encoded(policies: Iterable[Policy], encoder: Encoder) -> Block:
    """The policies' examples, encoded."""
    examples = tuple(
        Example(policy.digest, text, distinctive_words(text, policy.aliases, encoder.common_words))
        for policy in policies
        for text in policy.examples
    )
    if not examples:
        return Block((), np.zeros((0, DIMENSIONS), np.float32))
    return Block(examples, encoder.encode([example.text for example in examples]))


def windows_of(text: str, content: Sequence[Span]) -> tuple[Span, ...]:
    """Parts of the content to compare: the last one first, whole and by sentence.

    At most MAX_WINDOWS.  Each ends within the part of the content that it starts in.
    """
    found: dict[Span, None] = {}
    for span in reversed(content):
        whole = _stripped(text, span)
        if 0 < whole.end - whole.start <= MAX_WINDOW_CHARS:
            found[whole] = None
        sentences = [
            _stripped(text, Span(span.start + m.start(), span.start + m.end()))
            for m in _SENTENCE.finditer(text[span.start : span.end])
        ]
        for sentence in reversed(sentences):
            for window in _cut(sentence):
                found[window] = None
            if len(found) >= MAX_WINDOWS:
                return tuple(found)[:MAX_WINDOWS]
    return tuple(found)


@lru_cache(maxsize=1 << 16)
def folded_word(word: str) -> str:
    """The word without case, diacritics and what follows an apostrophe ("Vorn's")."""
    head = re.split(r"['’]s$", word)[0]
    return "".join(sign(char).letters for char in head)


def words_of(text: str) -> frozenset[str]:
    """The words of a text, folded."""
    return frozenset(folded_word(word) for word in _WORD.findall(text))


def distinctive_words(text: str, aliases: Iterable[str], common: frozenset[str]) -> frozenset[str]:
    """Words of an example that a text like it must have.

    Numbers, words that are not common, words of the policy's aliases, and words with a capital
    that does not come from the start of a sentence.
    """
    names = frozenset[str]().union(*(words_of(alias) for alias in aliases)) - common
    found = {
        word
        for match in _WORD.finditer(text)
        if (word := folded_word(match[0]))
        and (
            word not in common
            or word in names
            or any(char.isdigit() for char in word)
            or (
                match[0][0].isupper()
                and match[0] != "I"
                and not _starts_sentence(text, match.start())
            )
        )
    }
    return frozenset(found)


def _starts_sentence(text: str, index: int) -> bool:
    before = text[:index].rstrip(" \t\"'“‘(")
    return not before or before[-1] in ".?!:;\n"


def _stripped(text: str, span: Span) -> Span:
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def _cut(span: Span) -> Iterator[Span]:
    for start in range(span.start, span.end, MAX_WINDOW_CHARS):
        yield Span(start, min(span.end, start + MAX_WINDOW_CHARS))


def _joined(blocks: Sequence[Block], dead: frozenset[str]) -> Block:
    kept = [
        (example, vector)
        for block in blocks
        for example, vector in zip(block.examples, block.vectors, strict=True)
        if example.policy not in dead
    ]
    if not kept:
        return Block((), np.zeros((0, DIMENSIONS), np.float32))
    return Block(tuple(e for e, _ in kept), np.stack([vector for _, vector in kept]))
