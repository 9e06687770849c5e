"""Some policies' detectors as a few arrays, so that many cost little more than one.

Prototypes and near misses lie in one array each, ordered by policy; all words in one sorted list.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from guards.nearest import Nearest
from guards.policy import Policy
from models.detector import FEATURES, Detector, Key, Kind, codes_of, features, summed
from models.distinctive import Word
from models.encoder import DIMENSIONS
from models.erasures import Erasure

# Policies with words worth less than this, and no prototype of cosine LEAST_COSINE, are not
# evaluated: no head with weights anywhere near the general ones would come near its threshold.
LEAST_VALUE = 0.4
LEAST_COSINE = 0.4
CROWDED = 512  # policies from which on a word that they share leads to none of them

T = TypeVar("T")
Vectors = NDArray[np.float32]


class Rows(NamedTuple):
    """Something that each policy has any number of, in the order of the policies.

    starts: [policies + 1], where each policy's begin.
    """

    starts: NDArray[np.int64]
    owners: NDArray[np.int32]

    @staticmethod
    def of(counts: Sequence[int]) -> "Rows":
        """So many for each policy."""
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        return Rows(starts, np.repeat(np.arange(len(counts), dtype=np.int32), counts))

    def of_owner(self, owner: int) -> slice:
        """The rows of one policy."""
        return slice(int(self.starts[owner]), int(self.starts[owner + 1]))


@dataclass(frozen=True)
class Postings:
    """Every policy's keys, sorted by code and then by policy.  All arrays: [keys]."""

    codes: NDArray[np.uint64]
    owners: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    values: NDArray[np.float32]

    @staticmethod
    def sorted(
        codes: NDArray[np.uint64],
        owners: NDArray[np.int32],
        kinds: NDArray[np.uint8],
        values: NDArray[np.float32],
    ) -> "Postings":
        """From arrays in any order."""
        order = np.lexsort((owners, codes))
        return Postings(codes[order], owners[order], kinds[order], values[order])

    def places(self, codes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the keys with each code begin and end."""
        return np.searchsorted(self.codes, codes, "left"), np.searchsorted(
            self.codes, codes, "right"
        )

    def key(self, first: int, last: int, owner: int) -> Key | None:
        """The policy's key among those at [first, last), or None."""
        place = first + int(np.searchsorted(self.owners[first:last], owner))
        if place >= last or self.owners[place] != owner:
            return None
        return Key(int(self.codes[place]), Kind(int(self.kinds[place])), float(self.values[place]))


@dataclass(frozen=True)
class Read:
    """A text as a block reads it.  first, last: [words, 3], the places of each word's codes."""

    words: tuple[Word, ...]
    vector: Vectors
    first: NDArray[np.int64]
    last: NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Some policies' detectors, stacked.  Immutable.

    weights: [policies, features].  thresholds: [policies], logits.
    """

    policies: tuple[Policy, ...]
    weights: NDArray[np.float32]
    thresholds: NDArray[np.float64]
    erasures: tuple[Erasure, ...]
    own: Nearest
    own_rows: Rows
    against: Nearest
    against_rows: Rows
    postings: Postings

    @staticmethod
    def of(detectors: Sequence[tuple[Policy, Detector]]) -> "Block":
        """Stacked in this order."""
        each = [detector for _, detector in detectors]
        keys = [key for detector in each for key in detector.keys]
        key_rows = Rows.of([len(detector.keys) for detector in each])
        return Block(
            tuple(policy for policy, _ in detectors),
            _stacked([d.weights[None] for d in each], len(FEATURES), np.float32),
            np.array([d.threshold for d in each], np.float64),
            tuple(d.erasure for d in each),
            Nearest(_stacked([d.prototypes for d in each], DIMENSIONS, np.int8)),
            Rows.of([len(d.prototypes) for d in each]),
            Nearest(_stacked([d.against for d in each], DIMENSIONS, np.int8)),
            Rows.of([len(d.against) for d in each]),
            Postings.sorted(
                np.array([key.code for key in keys], np.uint64),
                key_rows.owners,
                np.array([key.kind for key in keys], np.uint8),
                np.array([key.value for key in keys], np.float32),
            ),
        )

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """Of the policies."""
        return tuple(policy.digest for policy in self.policies)

    @cached_property
    def known(self) -> frozenset[str]:
        """The same, to look one up."""
        return frozenset(self.digests)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        arrays: list[NDArray[Any]] = [self.weights, self.thresholds, self.own.rows]
        arrays += [self.against.rows, *self.own_rows, *self.against_rows]
        posts = self.postings
        arrays += [posts.codes, posts.owners, posts.kinds, posts.values]
        return sum(array.nbytes for array in arrays)

    def read(self, words: tuple[Word, ...], vector: Vectors) -> Read:
        """A text, looked up in the postings."""
        codes = np.array([codes_of(word) for word in words], np.uint64).reshape(-1, 3)
        first, last = self.postings.places(codes)
        last[codes == 0] = first[codes == 0]  # 0 is no code
        return Read(words, vector, first, last)

    def candidates(self, read: Read, most: int, counts: Callable[[int], bool]) -> list[int]:
        """The policies (by number) that come near the text by its words, the nearest first."""
        totals: dict[int, float] = {}
        for first, last in zip(read.first.flat, read.last.flat, strict=True):
            if last - first > CROWDED:
                continue
            owners = self.postings.owners[first:last].tolist()
            values = self.postings.values[first:last].tolist()
            for owner, value in zip(owners, values, strict=True):
                totals[owner] = totals.get(owner, 0.0) + value
        some = (owner for owner, total in totals.items() if total >= LEAST_VALUE)
        ranked = sorted(some, key=lambda owner: (-totals[owner], owner))
        return list(islice((owner for owner in ranked if counts(owner)), most))

    def logit(self, owner: int, read: Read) -> float:
        """What one policy's head says of a text."""
        found = summed(read.words, [self._key(owner, read, i) for i in range(len(read.words))])
        own = self._cosine(self.own, self.own_rows, owner, read.vector)
        rival = self._cosine(self.against, self.against_rows, owner, read.vector)
        return float(features(found, own, rival) @ self.weights[owner])

    def _key(self, owner: int, read: Read, word: int) -> Key | None:
        for first, last in zip(read.first[word].tolist(), read.last[word].tolist(), strict=True):
            if first < last and (key := self.postings.key(first, last, owner)):
                return key
        return None

    @staticmethod
    def _cosine(nearest: Nearest, rows: Rows, owner: int, vector: Vectors) -> float:
        place = rows.of_owner(owner)
        if place.start == place.stop:
            return 0.0
        return max(0.0, float(nearest.cosines(place, vector[None]).max()))


def joined(blocks: Sequence[Block], dead: frozenset[str]) -> Block:
    """All their policies but the dead in one block."""
    keep = [np.array([digest not in dead for digest in block.digests], bool) for block in blocks]
    numbers, count = [], 0
    for kept in keep:
        numbers.append(np.where(kept, np.cumsum(kept) - 1 + count, -1).astype(np.int32))
        count += int(kept.sum())
    own, own_rows = _joined_rows([(b.own, b.own_rows) for b in blocks], keep)
    against, against_rows = _joined_rows([(b.against, b.against_rows) for b in blocks], keep)
    marks = [kept[b.postings.owners] for b, kept in zip(blocks, keep, strict=True)]
    posts = list(zip((b.postings for b in blocks), marks, numbers, strict=True))
    return Block(
        tuple(p for b, kept in zip(blocks, keep, strict=True) for p in _kept(b.policies, kept)),
        np.concatenate([b.weights[kept] for b, kept in zip(blocks, keep, strict=True)]),
        np.concatenate([b.thresholds[kept] for b, kept in zip(blocks, keep, strict=True)]),
        tuple(e for b, kept in zip(blocks, keep, strict=True) for e in _kept(b.erasures, kept)),
        own,
        own_rows,
        against,
        against_rows,
        Postings.sorted(
            np.concatenate([p.codes[mark] for p, mark, _ in posts]),
            np.concatenate([number[p.owners[mark]] for p, mark, number in posts]),
            np.concatenate([p.kinds[mark] for p, mark, _ in posts]),
            np.concatenate([p.values[mark] for p, mark, _ in posts]),
        ),
    )


def _joined_rows(
    parts: Sequence[tuple[Nearest, Rows]], keep: Sequence[NDArray[np.bool_]]
) -> tuple[Nearest, Rows]:
    rows = [
        nearest.rows[kept[places.owners]]
        for (nearest, places), kept in zip(parts, keep, strict=True)
    ]
    counts = [np.diff(places.starts)[kept] for (_, places), kept in zip(parts, keep, strict=True)]
    return Nearest(np.concatenate(rows)), Rows.of(np.concatenate(counts).tolist())


def _kept(values: Iterable[T], kept: NDArray[np.bool_]) -> Iterator[T]:
    return (value for value, stays in zip(values, kept.tolist(), strict=True) if stays)


def _stacked(parts: Sequence[NDArray[Any]], columns: int, kind: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros((0, columns), kind), *parts])
