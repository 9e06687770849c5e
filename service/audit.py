"""The audit log: one JSON line for each case and each admin act, chained by hash.

It never holds a prompt, an answer or a subject: ids, digests, counts and verdicts only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guards.case import Evidence

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


class AuditLog:
    """Appends entries from a thread of its own.  ``write`` never blocks and never raises."""

    def __init__(self, path: Path, capacity: int = 10_000) -> None:
        raise NotImplementedError

    @property
    def healthy(self) -> bool:
        """Whether everything written so far is, or still can be, recorded.  False: refuse work."""
        raise NotImplementedError

    def write(self, entry: CaseEntry | AdminEntry) -> None:
        """Queue one entry.  A full queue makes the log unhealthy; the loss is itself recorded."""
        raise NotImplementedError

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, flush it to disk and stop."""
        raise NotImplementedError
