"""A file of chained lines that exactly one process appends to.

Each line is canonical JSON and holds ``prev``, the SHA-256 of the line before it.  Several
processes on one path each get a file of their own (``audit.jsonl``, ``audit.1.jsonl``, ...): the
first that nobody has locked, so there are never more files than processes ran at once.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.artifact import canonical_json

FIRST = "0" * 64  # what the first line of a file names as the one before
MOST_FILES = 256
_TAIL = 1 << 20


class AuditFile:
    """Open for appending, locked until closed.  For one thread."""

    def __init__(self, path: Path) -> None:
        """Lock the first free file.  Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._file = _first_free(path)
        self._size = os.fstat(self._file).st_size
        self._seq, self._prev = 0, FIRST
        try:
            self._continue()
        except OSError:
            self.close()
            raise

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write the records, durably, all or (but for a crash) none.  Raises OSError."""
        self._check_in_place()
        seq, prev, lines = self._seq, self._prev, []
        for record in records:
            seq += 1
            line = canonical_json({**record, "seq": seq, "prev": prev})
            prev = hashlib.sha256(line).hexdigest()
            lines.append(line + b"\n")
        data = b"".join(lines)
        if not data:
            return
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            self._take_back()
            raise
        self._seq, self._prev, self._size = seq, prev, self._size + len(data)

    def close(self) -> None:
        """Unlock."""
        os.close(self._file)

    def _continue(self) -> None:
        """Take up the chain where the last process left it."""
        tail = os.pread(self._file, _TAIL, max(0, self._size - _TAIL))
        if tail and not tail.endswith(b"\n"):
            # A crash in mid-write.  Evidence is not deleted: what is there becomes a line of its
            # own.  A fragment breaks no chain, since nothing names it as the one before.
            self._size += os.write(self._file, b"\n")
        last = _last_record(tail)
        if last is not None:
            self._seq, self._prev = last

    def _check_in_place(self) -> None:
        there, ours = os.stat(self.path), os.fstat(self._file)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise FileNotFoundError("the audit file is no longer in its place")

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            return  # a torn line stays: verification names it


class Verdict(NamedTuple):
    """lines: records in order.  torn: fragments.  broken: number of the first wrong line, or 0."""

    lines: int
    torn: int
    broken: int


def verify(lines: Sequence[bytes]) -> Verdict:
    """Whether a file's lines are one chain.  What was cut off its end cannot be seen here."""
    prev, seq, torn = FIRST, 0, 0
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            found = (record["seq"], record["prev"])
        except (ValueError, KeyError, TypeError):
            torn += 1
            continue
        if found != (seq + 1, prev) or canonical_json(record) != line:
            return Verdict(seq, torn, number)
        seq, prev = seq + 1, hashlib.sha256(line).hexdigest()
    return Verdict(seq, torn, 0)


def _first_free(path: Path) -> tuple[Path, int]:
    for number in range(MOST_FILES):
        candidate = path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(candidate, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        return candidate, file
    raise OSError("too many processes write audit files on this path")


def _last_record(data: bytes) -> tuple[int, str] | None:
    for line in reversed(data.split(b"\n")):
        try:
            return int(json.loads(line)["seq"]), hashlib.sha256(line).hexdigest()
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
