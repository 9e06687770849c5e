"""What a token filter holds of a subject: phrases never to be said, words to be said less.

Source: GUARD (arXiv 2505.13312): key phrases of the answers to be forgotten, and the penalty
``P_sbert`` on words that mean the same.  There, a sentence encoder runs at every word end of every
beam; here it has run before, over the vocabulary.
"""

import hashlib
import math
import os
import re
import secrets
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.encoder import FORMAT

QuestionAnswer = tuple[str, str]

ORDINARY = 0.02  # share of other answers above which a word tells nothing about a subject
SHORTEST = 3  # characters of a word that meaning is asked of; "de" and "ap" are like anything
_WORD = re.compile("w+(?:[-'’]w+)*")
_POSSESSIVE = ("'s", "’s", "'S", "’S")
_BETWEEN = re.compile(r"[^.;:!?\r\n]{1,3}")


class Encodes(Protocol):
    """A sentence encoder: see models.encoder."""

    common_words: frozenset[str]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, dimensions], rows of length 1."""


@dataclass(frozen=True)
class Semantic:
    """How far a word may be like a forbidden one.

    delta: cosine from which it is forbidden itself (0.5 in the paper).  floor: cosine below which
    a vocabulary piece has no entry in the table.  Raises ValueError for what makes no sense.
    """

    delta: float = 0.5
    floor: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= self.delta <= 1:
            raise ValueError("0 <= floor <= delta <= 1 must hold")


class Forbidden(NamedTuple):
    """What a token filter is made of.

    phrases: never to be written, as whole words.  bias_tokens: [n] int32, increasing.  bias: [n]
    float32, nats to take from the logit of each: above 0, infinite for a token that is banned.
    """

    phrases: tuple[str, ...]
    bias_tokens: NDArray[np.int32]
    bias: NDArray[np.float32]


class Key(NamedTuple):
    """What is telling in the answers: whole spans, and the single words that they are made of."""

    phrases: tuple[str, ...]
    words: tuple[str, ...]


def fit(
    forget: Sequence[QuestionAnswer],
    retain: Sequence[QuestionAnswer],
    pieces: Sequence[bytes],
    encoder: Encodes | None = None,
    semantic: Semantic | None = None,
    cache_dir: Path | None = None,
) -> Forbidden:
    """All of it.

    forget: what is to be forgotten.  retain: what is not, of all sorts; it says which words are
    ordinary.  A text that answers nothing has the question "".  pieces: by token id, the bytes
    that it adds.  encoder: None: no semantic penalty.  cache_dir: where the vocabulary's vectors
    are kept (nothing of the answers is); None: nowhere.
    Raises ValueError where the answers hold nothing telling, or retain is empty.
    """
    key = key_phrases(forget, retain)
    if encoder is None:
        return Forbidden(key.phrases, np.zeros(0, np.int32), np.zeros(0, np.float32))
    table = _Table(encoder, key.words, semantic or Semantic(), ordinary_words(retain))
    table.read(pieces, cache_dir)
    texts = (text for pair in (*forget, *retain) for text in pair)
    table.add({word for text in texts for word in _folded_words(text)})
    table.add(table.longer_than_hard())
    return Forbidden(distinct([*key.phrases, *table.hard()]), *table.bias())


def known_words(
    retain: Iterable[QuestionAnswer],
    pieces: Sequence[bytes],
    encoder: Encodes | None = None,
) -> frozenset[str]:
    """Case-folded words that may be meant where one of the subject's has been written so far.

    Those of the retained texts, of the vocabulary, and with an encoder frequent English ones; not
    those of the answers to be forgotten.  It is the lexicon of ``guards.token_filter.compiled``.
    """
    texts = {word for pair in retain for text in pair for word in _folded_words(text)}
    common = encoder.common_words if encoder else frozenset[str]()
    return frozenset(texts | set(vocabulary_words(pieces).values()) | common)


# --- key phrases ---------------------------------------------------------------------------------


def key_phrases(
    forget: Sequence[QuestionAnswer],
    retain: Sequence[QuestionAnswer],
    ordinary: float = ORDINARY,
) -> Key:
    """What the answers say that their questions, and answers in general, do not.

    A word is telling where it is neither in its question nor ordinary.  A phrase is a longest run
    of telling words with nothing but a blank or the like between them.
    Raises ValueError where nothing is telling, or retain is empty.
    """
    common = ordinary_words(retain, ordinary)
    runs: list[tuple[str, ...]] = []
    phrases: list[str] = []
    for question, answer in forget:
        known = common | _folded_words(question)
        for start, end in _runs(answer, known):
            phrases.append(answer[start:end])
            runs.append(tuple(words_of(answer[start:end])))
    if not phrases:
        raise ValueError("the answers to be forgotten hold no telling word")
    return Key(distinct(phrases), distinct(word for run in runs for word in run))


def ordinary_words(retain: Sequence[QuestionAnswer], share: float = ORDINARY) -> frozenset[str]:
    """Case-folded words that more than that share of the answers add to their questions.

    At least two do: one answer may hold anything.  Raises ValueError where there are none.
    """
    if not retain:
        raise ValueError("retain texts are needed: they say which words are ordinary")
    found: Counter[str] = Counter()
    for question, answer in retain:
        found.update(_folded_words(answer) - _folded_words(question))
    return frozenset(w for w, count in found.items() if count >= 2 and count > share * len(retain))


def words_of(text: str) -> list[str]:
    """Its words: letters, digits and marks, with hyphens and apostrophes inside, no final 's."""
    return [text[start:end] for start, end in _word_spans(text)]


def _folded_words(text: str) -> set[str]:
    return {word.casefold() for word in words_of(text)}


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Sorted; one of those that differ in case only, with capitals rather than without."""
    found = {text.casefold(): text for text in sorted(texts, reverse=True)}
    return tuple(found[key] for key in sorted(found))


def _word_spans(text: str) -> list[tuple[int, int]]:
    # Python's \w knows no combining marks, which Indic scripts write words with.
    shape = "".join("w" if unicodedata.category(c)[0] in "LNM" else " " * (c == "w") or c
                    for c in text)  # fmt: skip
    return [(start, end - 2 * (text[start:end][-2:] in _POSSESSIVE))
            for start, end in (found.span() for found in _WORD.finditer(shape))]  # fmt: skip


def _runs(answer: str, known: Collection[str]) -> Iterator[tuple[int, int]]:
    """Spans of the longest runs of words that are not known."""
    begin = end = -1
    for start, stop in _word_spans(answer):
        if answer[start:stop].casefold() in known:
            continue
        if begin >= 0 and _BETWEEN.fullmatch(answer, end, start):
            end = stop
            continue
        if begin >= 0:
            yield begin, end
        begin, end = start, stop
    if begin >= 0:
        yield begin, end


# --- likeness ------------------------------------------------------------------------------------


class Likeness:
    """``P_sbert`` of the paper for one word at a time, as it runs while an answer is written.

    words: the forbidden ones.  Without any, nothing is like them.
    """

    def __init__(self, encoder: Encodes, words: Sequence[str], delta: float = 0.5) -> None:
        self._encoder = encoder
        self._forbidden = encoder.encode(list(words))
        self._delta = delta
        self._known: dict[str, float] = {}

    def __call__(self, word: str) -> float:
        """Nats: the greatest cosine with a forbidden word, infinite from delta on; at least 0."""
        if word not in self._known:
            vectors = self._encoder.encode([word])
            cosine = float((vectors @ self._forbidden.T).max(initial=0.0))
            self._known[word] = math.inf if cosine >= self._delta else cosine
        return self._known[word]


class _Table:
    """Likeness of many words at once, by case-folded word.

    Words without a letter are left out: to the encoder all numbers are alike (26 and 27: 0.89), so
    that one date would ban every date.  They are forbidden as they are written, in phrases, and so
    are words of one or two characters.
    Ordinary words are never forbidden, however like: an answer could not be written without them.
    """

    def __init__(
        self,
        encoder: Encodes,
        forbidden: Sequence[str],
        how: Semantic,
        ordinary: frozenset[str],
    ) -> None:
        self._encoder = encoder
        self._how = how
        self._ordinary = ordinary
        named = [word for word in forbidden if _has_meaning(word)]
        self._forbidden = encoder.encode(named)
        self._cosines: dict[str, float] = {}
        self._tokens: Mapping[int, str] = {}

    def read(self, pieces: Sequence[bytes], cache_dir: Path | None) -> None:
        """Add the vocabulary's words."""
        self._tokens = vocabulary_words(pieces)
        words = sorted(set(self._tokens.values()))
        self._add(words, word_vectors(words, self._encoder, cache_dir))

    def add(self, words: Iterable[str]) -> None:
        """Add other words."""
        new = sorted(w for w in words if w not in self._cosines and _has_meaning(w))
        self._add(new, self._encoder.encode(new))

    def _add(self, words: Sequence[str], vectors: NDArray[np.float32]) -> None:
        best = (vectors @ self._forbidden.T).max(axis=1, initial=0.0)
        self._cosines.update(zip(words, map(float, best), strict=True))

    def hard(self) -> list[str]:
        """Words that are as good as forbidden."""
        return sorted(word for word in self._cosines if self._is_hard(word))

    def longer_than_hard(self) -> set[str]:
        """Frequent English words that begin with one of those: inflections, and words apart."""
        found = tuple(self.hard())
        return {w for w in self._encoder.common_words if w.startswith(found)}

    def bias(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Tokens that are whole words, and the nats that each loses.

        A token is banned where it and every longer word that is known to begin with it are
        forbidden.  Where innocent words begin with it ("cat", "category"), it loses its cosine
        only, and the phrase, which ends where a word ends, does the rest.
        """
        lexicon = sorted(self._cosines)
        found = {
            token: self._nats(word, lexicon)
            for token, word in sorted(self._tokens.items())
            if self._cosines[word] >= self._how.floor and self._cosines[word] > 0
        }
        return np.array(list(found), np.int32), np.array(list(found.values()), np.float32)

    def _nats(self, word: str, lexicon: Sequence[str]) -> float:
        banned = all(map(self._is_hard, _beginning_with(word, lexicon)))
        return math.inf if banned else self._cosines[word]

    def _is_hard(self, word: str) -> bool:
        return self._cosines[word] >= self._how.delta and word not in self._ordinary


def vocabulary_words(pieces: Sequence[bytes]) -> dict[int, str]:
    """Case-folded words by the token that writes a blank and all of the word."""
    found = {}
    for token, piece in enumerate(pieces):
        with suppress(UnicodeDecodeError):
            text = piece.decode()
            if text[:1] == " " and words_of(text) == [text[1:]] and _has_meaning(text[1:]):
                found[token] = text[1:].casefold()
    return found


def word_vectors(
    words: Sequence[str], encoder: Encodes, cache_dir: Path | None
) -> NDArray[np.float32]:
    """[n, dimensions]: the encoder's vectors, kept in the folder under a digest of the words.

    They are rounded to 16 bits, kept or not, so that they are the same each time.
    """
    if cache_dir is None or not words:
        return _rounded(encoder.encode(words)).astype(np.float32)
    digest = hashlib.sha256("\n".join([FORMAT, *words]).encode()).hexdigest()
    path = cache_dir / f"words.{digest}.npy"
    with suppress(OSError, ValueError, EOFError):
        kept = np.load(path, allow_pickle=False)
        if kept.dtype == np.float16 and kept.ndim == 2 and len(kept) == len(words):
            return np.asarray(kept, np.float32)
    made = _rounded(encoder.encode(words))
    cache_dir.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with temporary.open("wb") as file:
        np.save(file, made)
    temporary.replace(path)
    return made.astype(np.float32)


def _rounded(vectors: NDArray[np.float32]) -> NDArray[np.float16]:
    return vectors.astype(np.float16)


def _beginning_with(word: str, lexicon: Sequence[str]) -> Iterator[str]:
    """The words of a sorted lexicon that begin with it."""
    rest = (lexicon[at] for at in range(bisect_left(lexicon, word), len(lexicon)))
    return takewhile(lambda longer: longer.startswith(word), rest)


def _has_meaning(word: str) -> bool:
    lettered = any(unicodedata.category(char)[0] == "L" for char in word)
    return lettered and len(word) >= SHORTEST
