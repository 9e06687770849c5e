"""A file of chained lines that exactly one process appends to.

Each line is canonical JSON and holds ``prev``, the SHA-256 of the line before it, and, with a key,
``mac``, an HMAC-SHA-256 over the rest of the line.  Several processes on one path each get a file
of their own (``audit.jsonl``, ``audit.1.jsonl``, ...): the first that nobody has locked, so there
are never more files than processes ran at once.  A file that has grown to its limit is put aside
under its name and a number (``audit.jsonl.000001``), and the chain goes on in a new one.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.artifact import canonical_json

FIRST = "0" * 64  # what the first line of a file names as the one before
MOST_FILES = 256
_TAIL = 1 << 20
_NUMBERED = re.compile(r"\.(\d{6})$")


class Head(NamedTuple):
    """How far a chain has come.  chain: what it calls itself; hash: of its last line."""

    file: str
    chain: str
    seq: int
    hash: str


class AuditFile:
    """Open for appending, locked until closed.  For one thread."""

    def __init__(self, path: Path, key: bytes | None = None, max_bytes: int | None = None) -> None:
        """Lock the first free file.  key: signs the lines.  Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._key = key
        self._max_bytes = max_bytes
        self.path, self._file = _first_free(path)
        self._open()

    def _open(self) -> None:
        self._size = os.fstat(self._file).st_size
        self._chain, self._seq, self._prev = "", 0, FIRST
        try:
            self._continue()
        except OSError:
            self.close()
            raise

    @property
    def head(self) -> Head:
        """How far the chain has come."""
        return Head(self.path.name, self._chain, self._seq, self._prev)

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write the records, durably, all or (but for a crash) none.  Raises OSError."""
        self._check_in_place()
        if self._max_bytes is not None and self._size >= self._max_bytes:
            self._put_aside()
        seq, prev, lines = self._seq, self._prev, []
        for record in records:
            seq += 1
            links = {"seq": seq, "prev": prev}
            if seq == 1:
                links["chain"] = self._chain = secrets.token_hex(16)
            line = signed_line({**record, **links}, self._key)
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
        """Unlock.  Idempotent."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _put_aside(self) -> None:
        """Go on in a new file.  Killed in between, the next process does so."""
        last = max((number for number, _ in numbered(self.path)), default=0)
        self.path.rename(self.path.with_name(f"{self.path.name}.{last + 1:06d}"))
        self.close()
        # Another process may have taken the free name meanwhile, and this chain with it.
        self.path, self._file = _first_free(self.path)
        self._open()

    def _continue(self) -> None:
        """Take up the chain where the last process left it."""
        self._chain = _chain_of(self.path)
        if self._size == 0:
            for _, path in reversed(numbered(self.path)):
                last = _last_record(_tail_of(path))
                if last is not None:
                    self._seq, self._prev = last
                    return
        tail = os.pread(self._file, _TAIL, max(0, self._size - _TAIL))
        if tail and not tail.endswith(b"\n"):
            # A crash in mid-write.  Evidence is not deleted: what is there becomes a line of its
            # own.  A fragment breaks no chain, since nothing names it as the one before.
            self._size += os.write(self._file, b"\n")
        last = _last_record(tail)
        if last is not None:
            self._seq, self._prev = last

    def _check_in_place(self) -> None:
        if not _is_at(self.path, self._file):
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


def signed_line(record: Mapping[str, Any], key: bytes | None) -> bytes:
    """The line of a record, without its line feed; with a key, ``mac`` is added to it."""
    if key is None:
        return canonical_json(record)
    return canonical_json({**record, "mac": mac_of(record, key)})


def digest_of_line(line: bytes) -> str:
    """What the next line names: SHA-256 (hex) of a line without its line feed."""
    return hashlib.sha256(line).hexdigest()


def mac_of(record: Mapping[str, Any], key: bytes) -> str:
    """HMAC-SHA-256 (hex) over the record without its ``mac``."""
    rest = {name: value for name, value in record.items() if name != "mac"}
    return hmac.new(key, canonical_json(rest), hashlib.sha256).hexdigest()


def numbered(path: Path) -> list[tuple[int, Path]]:
    """The files that were put aside from this one, oldest first."""
    found = []
    for other in path.parent.glob(f"{path.name}.*"):
        number = _NUMBERED.fullmatch(other.name.removeprefix(path.name))
        if number:
            found.append((int(number[1]), other))
    return sorted(found)


def _tail_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read()


def _chain_of(path: Path) -> str:
    """What the chain in this file and those put aside from it calls itself; "" before its start."""
    for _, each in [*numbered(path), (0, path)]:
        try:
            with each.open("rb") as file:
                return str(json.loads(file.readline()).get("chain", ""))
        except (OSError, ValueError, AttributeError):
            continue
    return ""


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
        if _is_at(candidate, file):
            return candidate, file
        os.close(file)  # put aside between opening and locking: whoever did so goes on elsewhere
    raise OSError("too many processes write audit files on this path")


def _is_at(path: Path, file: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(file)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


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
