"""Which rows of a flattened batch belong to which request, and what happens to them in a step.

Both model runners put the tokens of all scheduled requests behind one another.  The adapter says,
for each step, where each request's rows lie and which position of the request comes first; from
there on nothing depends on the runner.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.case import Edit
from guards.signed_edits import FIELD, SignedEdits
from service.admission import Applicable, CheckedArtifacts, Refused, check_prompt
from service.engine.ops import EMBEDDING

log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """One request's rows in a step: [row, row + tokens), of positions [position, ...)."""

    request: str
    row: int
    tokens: int
    position: int


class EmbeddingEdit(NamedTuple):
    """An edit made ready.  positions: [n], sorted, absolute in the prompt."""

    how: Applicable
    positions: NDArray[np.int64]


@dataclass
class Request:
    """What the worker knows about a running request.

    dark: it could not be verified, or one of its edits failed.  All of its rows are zeroed from
    then on, so that nothing of the prompt can come out; no other request notices.
    """

    edits: tuple[EmbeddingEdit, ...] = ()
    dark: bool = False

    @property
    def end(self) -> int:
        """One past the last position that is edited."""
        return max((int(edit.positions[-1]) + 1 for edit in self.edits), default=0)


class Requests:
    """The running requests of one worker.  Nothing here raises.

    scale: the unit of strengths.  counts: bounded names, plain integers, for the status route.
    """

    def __init__(self, key: bytes, artifacts: CheckedArtifacts, scale: float) -> None:
        self._key = key
        self._artifacts = artifacts
        self._running: dict[str, Request] = {}
        self.scale = scale
        self.counts: Counter[str] = Counter()

    def add(self, name: str, field_value: object, prompt_ids: Sequence[int] | None) -> None:
        """A request begins, or begins again after a preemption."""
        try:
            self._running[name] = Request(self._prepare(field_value, prompt_ids))
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self._running[name] = Request(dark=True)
            self.count_dark("refused")

    def remove(self, names: Iterable[str]) -> None:
        """Requests have ended."""
        for name in names:
            self._running.pop(name, None)

    def step(self, batch: Iterable[Rows]) -> "BatchStep":
        """What to do in one forward pass.  A request that never came by ``add`` stays dark."""
        edited: list[tuple[Rows, Request]] = []
        dark: list[Rows] = []
        for rows in batch:
            request = self._running.get(rows.request)
            if request is None or request.dark:
                dark.append(rows)
            elif rows.position < request.end:
                edited.append((rows, request))
        return BatchStep(self, edited, dark)

    def count_dark(self, reason: str) -> None:
        """Count a request that went dark, and say so in the log without naming anything."""
        self.counts[f"dark_{reason}"] += 1
        log.error("a request went dark: %s", reason)

    def _prepare(
        self, field_value: object, prompt_ids: Sequence[int] | None
    ) -> tuple[EmbeddingEdit, ...]:
        # No look at the expiry: that was due at admission, and a request may wait long in a queue.
        signed = SignedEdits.verify(field_value, self._key, now=0)
        check_prompt(signed, prompt_ids)
        return tuple(self._ready(edit) for edit in signed.edits if edit.positions)

    def _ready(self, edit: Edit) -> EmbeddingEdit:
        ranges = [np.arange(*span, dtype=np.int64) for span in edit.positions]
        return EmbeddingEdit(self._artifacts.get(edit.guard, edit.artifact), np.concatenate(ranges))


@dataclass
class BatchStep:
    """The edits of one forward pass."""

    requests: Requests
    edited: list[tuple[Rows, Request]] = field(default_factory=list)
    dark: list[Rows] = field(default_factory=list)

    def apply(self, hidden: Tensor, site: int) -> None:
        """Edit the rows that the step names and write no other.  Never raises."""
        if site != EMBEDDING:
            return
        for rows in self.dark:
            self._blacken(hidden, rows)
        for rows, request in self.edited:
            try:
                self._edit(hidden, rows, request)
            except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
                request.dark = True
                self.requests.count_dark("failed")
                self._blacken(hidden, rows)

    def _edit(self, hidden: Tensor, rows: Rows, request: Request) -> None:
        for edit in request.edits:
            first, last = np.searchsorted(
                edit.positions, (rows.position, rows.position + rows.tokens)
            )
            if first == last:
                continue
            positions = edit.positions[first:last]
            at = torch.from_numpy(positions - rows.position + rows.row).to(hidden.device)
            hidden[at] = _edited(hidden[at], positions, edit.how, self.requests.scale)
            self.requests.counts["edited_rows"] += len(positions)

    def _blacken(self, hidden: Tensor, rows: Rows) -> None:
        hidden[rows.row : rows.row + rows.tokens] = 0
        self.requests.counts["dark_rows"] += rows.tokens


class EverythingDark:
    """The step of a batch that could not be mapped: nobody's rows are known, so all are zeroed."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def apply(self, hidden: Tensor, site: int) -> None:
        """Zero every row."""
        if site == EMBEDDING:
            hidden.zero_()
            self._requests.counts["dark_rows"] += hidden.shape[0]


def _edited(old: Tensor, positions: NDArray[np.int64], how: Applicable, scale: float) -> Tensor:
    guard: Any = how.guard
    new: Tensor = guard.on_embedding(old, positions, how.artifact, scale)
    if new.shape != old.shape or new.dtype != old.dtype:
        raise Refused("a guard returned rows of another shape")
    # A single NaN would spread over shared cache blocks to other requests.
    if not bool(torch.isfinite(new).all()):
        raise Refused("a guard returned rows that are not finite")
    return new


def signed_field(extra_args: object) -> object:
    """The signed field among a request's extra arguments, or None."""
    return extra_args.get(FIELD) if isinstance(extra_args, dict) else None
