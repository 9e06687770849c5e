"""The vectors nearest to a query.  All searching by meaning is behind this one class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 15  # rows compared at a time: bounds the memory that 8-bit rows are widened in
OVERSAMPLED = 8  # rows looked at for each owner that is wanted, before all are

Vectors = NDArray[np.float32]


class Near(NamedTuple):
    """A row near a query.  query, row: their numbers."""

    query: int
    row: int
    cosine: float


@dataclass(frozen=True)
class Nearest:
    """Rows, searched one and all.  Immutable; safe for many threads.

    rows: [n, dimensions] of floats, or of int8 in any scale; their lengths do not matter.
    """

    rows: NDArray[Any]

    @classmethod
    def joined(cls, parts: "list[Self]") -> Self:
        """All rows of some, in their order."""
        return cls(np.concatenate([part.rows for part in parts]))

    def from_cosine(self, queries: Vectors, least: float) -> Iterator[Near]:
        """Every row with at least this cosine, for each query.  queries: [m, dimensions], unit."""
        for start in range(0, len(self.rows), CHUNK):
            cosines = self.cosines(slice(start, start + CHUNK), queries)
            for row, query in np.argwhere(cosines >= least):
                yield Near(int(query), start + int(row), float(cosines[row, query]))

    def best(
        self,
        queries: Vectors,
        most: int,
        owners: NDArray[np.int32],
        counts: Callable[[int], bool],
    ) -> list[Near]:
        """For each query the nearest row of each of up to ``most`` owners, the nearest first.

        queries: [m, dimensions], of length 1.  owners: [n], whose each row is.  counts: whether an
        owner does.  Ties go to the lower row.
        """
        if not len(self.rows) or not len(queries) or most < 1:
            return []
        parts = [
            self.cosines(slice(start, start + CHUNK), queries)
            for start in range(0, len(self.rows), CHUNK)
        ]
        cosines = np.concatenate(parts)
        return [
            Near(query, row, float(cosines[row, query]))
            for query in range(len(queries))
            for row in _highest(cosines[:, query], most, owners, counts)
        ]

    def cosines(self, rows: slice, queries: Vectors) -> Vectors:
        """[rows, m].  queries: [m, dimensions], of length 1."""
        wide = self.rows[rows].astype(np.float32, copy=False)
        found: Vectors = (wide @ queries.T) / self.lengths[rows, None]
        return found

    @cached_property
    def lengths(self) -> Vectors:
        """[n], of the rows."""
        squares = [
            np.square(self.rows[start : start + CHUNK].astype(np.float32)).sum(axis=1)
            for start in range(0, len(self.rows), CHUNK)
        ]
        lengths = np.sqrt(np.concatenate(squares)) if squares else np.zeros(0, np.float32)
        result: Vectors = np.maximum(lengths, np.float32(1e-9))
        return result


def _highest(
    scores: Vectors, most: int, owners: NDArray[np.int32], counts: Callable[[int], bool]
) -> list[int]:
    looked_at = min(len(scores), most * OVERSAMPLED)
    while True:
        top = np.argpartition(-scores, looked_at - 1)[:looked_at]
        order = top[np.lexsort((top, -scores[top]))]
        first: dict[int, int] = {}
        for row in order.tolist():
            first.setdefault(int(owners[row]), row)
        found = [row for owner, row in first.items() if counts(owner)][:most]
        if len(found) == most or looked_at == len(scores):
            return found
        looked_at = min(len(scores), looked_at * OVERSAMPLED)
