"""The audit log: one JSON line for each case and each admin act, chained by hash.

It never holds a prompt, an answer or a subject: ids, digests, counts and verdicts only.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from guards.case import Evidence
from service.audit_anchors import Anchorer, sink_of
from service.audit_file import AuditFile
from service.settings import Settings

RETRY_S = 0.2
LOOK_S = 0.5  # how often an idle log makes sure that it could still write
MOST_AT_ONCE = 1_000

log = logging.getLogger(__name__)

Outcome = Literal["completed", "rejected", "unavailable", "upstream_error", "client_gone", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEntry:
    """What is kept of one case.

    key: id of the API key ("" without).  policies: digests matched.  edits: guard -> number.
    scanned_bytes, released_bytes: of the reply; equal, or text left that no filter saw.
    """

    case: str
    tenant: str
    key: str
    epoch: int
    outcome: Outcome
    policies: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    edits: Mapping[str, int]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    scanned_bytes: int = 0
    released_bytes: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEntry:
    """What is kept of one admin act.  target: the opaque id acted on.  digest: of its policy."""

    act: str
    key: str
    target: str
    digest: str = ""
    epoch: int = 0


class _Queued(NamedTuple):
    """An entry and when it was written, in Unix seconds."""

    at: float
    entry: CaseEntry | AdminEntry


class AuditLog:
    """Appends entries from a thread of its own.  ``write`` never blocks and never raises.

    What cannot be put on disk shows in ``healthy``; whoever serves asks that before each request.
    """

    def __init__(
        self,
        path: Path,
        capacity: int = 10_000,
        *,
        key: bytes | None = None,
        max_bytes: int | None = None,
        anchors: Anchorer | None = None,
    ) -> None:
        """Open the log.  An impossible path makes it unhealthy; it is tried again and again.

        key: signs each line.  max_bytes: from then on a file is put aside.  anchors: told how far
        the chain has come.
        """
        self._path = path
        self._key = key
        self._max_bytes = max_bytes
        self._anchors = anchors
        self._queue: queue.Queue[_Queued | None] = queue.Queue(capacity)
        self._lost = 0
        self._lock = threading.Lock()
        self._file: AuditFile | None = None
        self._healthy = False
        self._closing = threading.Event()
        self._record([])
        self._thread = threading.Thread(target=self._run, name="lethe-audit", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether everything written so far is, or still can be, recorded.  False: refuse work."""
        return self._healthy and self._lost == 0

    def write(self, entry: CaseEntry | AdminEntry) -> None:
        """Queue one entry.  A full queue makes the log unhealthy; the loss is itself recorded."""
        try:
            self._queue.put_nowait(_Queued(time.time(), entry))
        except queue.Full:
            with self._lock:
                self._lost += 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, flush it to disk and stop.  Idempotent."""
        self._closing.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)
        if self._anchors is not None:
            self._anchors.close(timeout_s)

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            batch = self._next_batch()
            while not self._record(batch):
                if self._closing.wait(RETRY_S):
                    return  # nowhere to write, and nobody left to refuse work
        self._close_file()

    def _next_batch(self) -> list[_Queued]:
        batch: list[_Queued | None] = []
        with suppress(queue.Empty):
            batch.append(self._queue.get(timeout=LOOK_S))
            while len(batch) < MOST_AT_ONCE:
                batch.append(self._queue.get_nowait())
        return [queued for queued in batch if queued is not None]

    def _record(self, batch: Sequence[_Queued]) -> bool:
        """Put a batch on disk; False where that failed."""
        lost = self._lost
        gap = [{"kind": "gap", "time": _moment(time.time()), "lost": lost}] if lost else []
        try:
            if self._file is None:
                self._file = AuditFile(self._path, self._key, self._max_bytes)
                start = {"kind": "start", "time": _moment(time.time()), "pid": os.getpid()}
                self._file.append([start])
            self._file.append([*gap, *map(_record_of, batch)])
            if self._anchors is not None:
                self._anchors.note(self._file.head)
        except OSError as error:
            if self._healthy:
                log.error("audit_unwritable errno=%s", error.errno)
            self._healthy = False
            self._close_file()
            return False
        with self._lock:
            self._lost -= lost
        self._healthy = True
        return True

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def open_audit(settings: Settings) -> AuditLog:
    """The log that the settings describe.  Raises ValueError for a key that cannot be used."""
    key, anchors = settings.audit_key(), None
    if settings.audit_anchor:
        sink = sink_of(settings.audit_anchor)
        lines, seconds = settings.audit_anchor_lines, settings.audit_anchor_s
        anchors = Anchorer(sink, lines, seconds, key)
    return AuditLog(
        settings.audit_path, key=key, max_bytes=settings.audit_max_bytes, anchors=anchors
    )


def _record_of(queued: _Queued) -> dict[str, Any]:
    kind = "case" if isinstance(queued.entry, CaseEntry) else "admin"
    record = {"kind": kind, "time": _moment(queued.at), **asdict(queued.entry)}
    # Microseconds are more than anybody can use; more digits only make lines longer.
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in record.items()}


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
