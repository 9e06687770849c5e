"""Reading audit files for verification: each line once, and what it says of its place."""

import hashlib
import hmac
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from models.artifact import canonical_json


class Place(NamedTuple):
    """Where a line stands.  line: from 1 on."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line.  index: counted through all files of the chain, from 0.

    seq, prev: as it says; -1 and "" where it says nothing.  good: it is as it was written, as far
    as the line alone can tell.  torn: it has no line feed.  begins: a process began with it.
    """

    index: int
    seq: int
    prev: str
    hash: str
    good: bool
    torn: bool
    begins: bool
    chain: str


class Files:
    """The files of one chain, oldest first."""

    def __init__(self, paths: Sequence[Path], key: bytes | None) -> None:
        self.paths = tuple(paths)
        self._key = key
        self._starts: list[int] = []
        self.length = 0

    def chain(self) -> str:
        """What the chain calls itself in its first line; "" where that says nothing."""
        for path in self.paths[:1]:
            with path.open("rb") as file:
                return self._read(0, file.readline()).chain
        return ""

    def lines(self) -> Iterator[Line]:
        """Every line.  Raises OSError."""
        self._starts, index = [], 0
        for path in self.paths:
            self._starts.append(index)
            with path.open("rb") as file:
                for raw in file:
                    yield self._read(index, raw)
                    index += 1
        self.length = index

    def find(self, hashes: Collection[str]) -> dict[str, list[int]]:
        """Where lines of these hashes stand.  Raises OSError."""
        found: dict[str, list[int]] = {}
        index = 0
        for path in self.paths:
            with path.open("rb") as file:
                for raw in file:
                    digest = hashlib.sha256(raw.removesuffix(b"\n")).hexdigest()
                    if digest in hashes:
                        found.setdefault(digest, []).append(index)
                    index += 1
        return found

    def place(self, index: int) -> Place:
        """The file and line of an index; of one beyond the end, the line after the last."""
        ends = [*self._starts[1:], self.length]
        files = zip(reversed(self.paths), reversed(self._starts), reversed(ends), strict=True)
        for path, start, end in files:
            if index >= start and end > start:
                return Place(str(path), index - start + 1)
        return Place(str(self.paths[0]), 1)

    def _read(self, index: int, raw: bytes) -> Line:
        body = raw.removesuffix(b"\n")
        digest = hashlib.sha256(body).hexdigest()
        torn = not raw.endswith(b"\n")
        try:
            record = json.loads(body)
            seq, prev = record["seq"], record["prev"]
            good = type(seq) is int and type(prev) is str and self._as_written(record, body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return Line(index, -1, "", digest, good=False, torn=torn, begins=False, chain="")
        if type(seq) is not int or type(prev) is not str:
            seq, prev = -1, ""
        begins = record.get("kind") in ("start", "gap")
        chain = str(record.get("chain", ""))
        return Line(index, seq, prev, digest, good=good, torn=torn, begins=begins, chain=chain)

    def _as_written(self, record: dict[str, object], body: bytes) -> bool:
        if canonical_json(record) != body:
            return False
        if self._key is None:
            return True
        mac = str(record.get("mac", "")).encode()
        # In canonical form the line without its mac is the line with that member cut out.
        rest = body.replace(b'"mac":"%b",' % mac, b"", 1)
        signed = hmac.new(self._key, rest, hashlib.sha256).hexdigest()
        return hmac.compare_digest(mac, signed.encode())
