"""Anchors: how far each chain has come, said outside of where the audit files lie.

Whoever can write the files can write a whole new chain, or cut one short; not so that an anchor
that lies elsewhere still fits.
"""

import hmac
import json
import logging
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from models.artifact import canonical_json
from service.audit_file import Head, mac_of

SEND_S = 10.0
_LONGEST_RETRY_S = 60.0

log = logging.getLogger(__name__)

Sink = Callable[[bytes], None]
"""Takes one anchor, one line of JSON.  Raises OSError where it could not keep it."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The chain in ``file`` had come to line ``seq``, whose hash was ``hash``, at ``time``."""

    file: str
    chain: str
    seq: int
    hash: str
    time: str

    def to_line(self, key: bytes | None) -> bytes:
        """One line of JSON, signed where there is a key."""
        record = asdict(self)
        signed = record if key is None else {**record, "mac": mac_of(record, key)}
        return canonical_json(signed) + b"\n"


@dataclass(frozen=True, slots=True)
class ReadAnchors:
    """anchors: with the line each stands in.  bad: lines that are none, or none of ours."""

    anchors: tuple[tuple[int, Anchor], ...]
    bad: tuple[int, ...]


def read_anchors(lines: Iterable[bytes], key: bytes | None) -> ReadAnchors:
    """What was sent to a sink.  With a key, only what it signed counts."""
    good: list[tuple[int, Anchor]] = []
    bad: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            mac = record.pop("mac", "")
            anchor = Anchor(**record)
            signed = key is None or hmac.compare_digest(str(mac), mac_of(record, key))
        except (ValueError, TypeError, AttributeError):
            signed = False
        if signed:
            good.append((number, anchor))
        else:
            bad.append(number)
    return ReadAnchors(tuple(good), tuple(bad))


def sink_of(target: str) -> Sink:
    """A sink by its name: an http(s) URL, ``command:`` and a program, or a file's path."""
    if target.startswith(("http://", "https://")):
        return lambda line: _post(target, line)
    if target.startswith("command:"):
        command = shlex.split(target.removeprefix("command:"))
        return lambda line: _run(command, line)
    return lambda line: _append(Path(target), line)


class Anchorer:
    """Sends anchors from a thread of its own, every so many lines and so many seconds.

    Only the newest head is sent: it speaks for every line before it.  What cannot be sent is tried
    again, and said in the log.
    """

    def __init__(
        self, sink: Sink, every_lines: int, every_s: float, key: bytes | None = None
    ) -> None:
        self._sink = sink
        self._every_lines = every_lines
        self._every_s = every_s
        self._key = key
        self._news = threading.Condition()
        self._head: Head | None = None
        self._sent: Head | None = None
        self._since = 0.0
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._watch, name="lethe-anchors", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Whether the last anchor could not be sent."""
        return self._failing

    def note(self, head: Head) -> None:
        """The chain has come so far.  Never blocks for long, never raises."""
        with self._news:
            if head == self._sent:
                return
            if self._head is None:
                self._since = time.monotonic()
            self._head = head
            if self._is_due():
                self._news.notify()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send the last head and stop.  Idempotent."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(timeout_s)

    def _watch(self) -> None:
        retry_s = 1.0
        while True:
            with self._news:
                while not (self._closing or self._is_due()):
                    self._news.wait(self._until_due())
                head, closing = self._head, self._closing
                self._head = None
            if head is not None:
                if self._send(head):
                    retry_s = 1.0
                else:
                    self._put_back(head, retry_s)
                    retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
            if closing:
                return

    def _is_due(self) -> bool:
        if self._head is None:
            return False
        now = time.monotonic()
        if now < self._since:
            return False  # a failure is being waited out
        before = self._sent
        same = before is not None and (before.file, before.chain) == (
            self._head.file,
            self._head.chain,
        )
        lines = self._head.seq - (before.seq if same and before is not None else 0)
        return lines >= self._every_lines or now >= self._since + self._every_s

    def _until_due(self) -> float | None:
        if self._head is None:
            return None
        return max(0.01, self._since + self._every_s - time.monotonic())

    def _send(self, head: Head) -> bool:
        anchor = Anchor(*head, time=datetime.now(UTC).isoformat(timespec="milliseconds"))
        try:
            self._sink(anchor.to_line(self._key))
        except OSError as error:
            if not self._failing:
                log.error("audit_anchor_failed kind=%s", type(error).__name__)
            self._failing = True
            return False
        self._sent, self._failing = head, False
        return True

    def _put_back(self, head: Head, retry_s: float) -> None:
        with self._news:
            self._head = self._head or head
            self._since = time.monotonic() + retry_s


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line)
        os.fsync(file)
    finally:
        os.close(file)


def _post(url: str, line: bytes) -> None:
    headers = {"content-type": "application/json"}
    try:
        httpx.post(url, content=line, headers=headers, timeout=SEND_S).raise_for_status()
    except httpx.HTTPError as error:
        raise OSError(f"anchor not taken: {type(error).__name__}") from None


def _run(command: list[str], line: bytes) -> None:
    quiet = subprocess.DEVNULL
    try:
        subprocess.run(  # noqa: S603 - the operator's own command, no shell
            command, input=line, stdout=quiet, stderr=quiet, timeout=SEND_S, check=True
        )
    except subprocess.SubprocessError as error:
        raise OSError(f"anchor not taken: {type(error).__name__}") from None
