"""Which rows of a flattened batch belong to which request, and what happens to them in a step.

Both model runners put the tokens of all scheduled requests behind one another.  The adapter says,
for each step, where each request's rows lie and which position of the request comes first; from
there on nothing depends on the runner.

Edits of one artifact act on the rows of all their requests in one call.  Where such a call fails,
its requests are tried one by one, so that the failure touches only whose it is.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.adapter_routing import chosen
from guards.points import Memory, OnEmbedding, Site, Visit
from guards.signed_edits import FIELD, SignedEdits
from service.acting import Acting, Bindings, Bound, acting, rows_of
from service.admission import Refused, check_prompt
from service.engine.readings import Reading, Readings

log = logging.getLogger(__name__)

MANY = 16  # rows of one request in a step, from which they are edited apart
Positions = NDArray[np.int64]
Histories = Callable[[], Positions | None]


class Announced(NamedTuple):
    """A request that begins, as the engine's scheduler tells it.

    field: the signed one.  ids: of the prompt alone; None where it is not made of ids.  adapter:
    name of the LoRA adapter that it runs with.
    """

    name: str
    field: object
    ids: Sequence[int] | None
    adapter: str | None = None


class Rows(NamedTuple):
    """One request's rows in a step: [row, row + tokens), of positions [position, ...).

    history: reads the ids of positions [0, position + tokens); None where they are not known.
    """

    request: str
    row: int
    tokens: int
    position: int
    history: Histories = lambda: None


@dataclass
class Request:
    """What the worker knows about a running request.

    dark: it could not be verified, or one of its edits failed.  All of its rows are zeroed from
    then on, and its answer ends, so that nothing of the prompt can come out; no other request
    notices.  edits: in the order in which they act.  sampled: its logits came by at least once.
    reading: of a request whose tokens are given and scored.
    """

    field: object = None
    ids: Sequence[int] = ()
    edits: tuple[Acting, ...] = ()
    dark: bool = False
    sampled: bool = False
    reading: Reading | None = None

    @property
    def concerns_logits(self) -> bool:
        """Whether its logits have to come by."""
        return bool(self.logits) or self.reading is not None

    def unguarded(self, rows: Rows) -> bool:
        """Whether it has said something although its logits never came by to be edited."""
        return self.concerns_logits and rows.position >= len(self.ids) and not self.sampled

    def __post_init__(self) -> None:
        self.embedding = tuple(e for e in self.edits if issubclass(e.bound.guard, OnEmbedding))
        self.activation = tuple(e for e in self.edits if e.bound.activation is not None)
        self.logits = tuple(e for e in self.edits if e.bound.logits is not None)


class Requests:
    """The running requests of one worker.  Nothing here raises.

    counts: bounded names, plain integers, for the status route.
    """

    def __init__(self, key: bytes, bindings: Bindings) -> None:
        self._key = key
        self.bindings = bindings
        self._running: dict[str, Request] = {}
        self.readings = Readings()
        self.counts: Counter[str] = Counter()

    def add(self, new: Announced) -> None:
        """A request begins, or begins again after a preemption: then it keeps what it remembers."""
        known = self._running.get(new.name)
        if (
            known is not None
            and known.field == new.field
            and list(known.ids) == list(new.ids or ())
        ):
            return
        try:
            self._running[new.name] = self._prepared(new)
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self._running[new.name] = Request(new.field, dark=True)
            self.count_dark("refused")

    def remove(self, names: Iterable[str]) -> None:
        """Requests have ended."""
        for name in names:
            ended = self._running.pop(name, None)
            if ended is not None and ended.logits:
                self.bindings.forget(name)

    def get(self, name: str) -> Request | None:
        """The running request of that name."""
        return self._running.get(name)

    def concerned(self, field_value: object) -> bool:
        """Whether logits of requests with this signed field are edited, or could have to end."""
        same = (r for r in self._running.values() if r.field == field_value)
        return any(r.dark or r.edits or r.reading for r in same)

    def step(self, batch: Iterable[Rows]) -> "BatchStep":
        """What to do in one forward pass.  A request that never came by ``add`` stays dark."""
        step = BatchStep(self)
        for rows in batch:
            request = self._running.get(rows.request)
            if request is not None and not request.dark and request.unguarded(rows):
                self.darken(request, "unguarded")
            if request is None or request.dark:
                step.dark.append(rows)
            elif request.edits:
                step.include(rows, request)
        return step

    def count_dark(self, reason: str) -> None:
        """Count a request that went dark, and say so in the log without naming anything."""
        self.counts[f"dark_{reason}"] += 1
        log.error("a request went dark: %s", reason)

    def darken(self, request: Request, reason: str = "failed") -> None:
        """One of its edits failed, or was never asked."""
        if not request.dark:
            request.dark = True
            if request.reading is not None:
                request.reading.spoil()
            self.count_dark(reason)

    def _prepared(self, new: Announced) -> Request:
        # No look at the expiry: that was due at admission, and a request may wait long in a queue.
        signed = SignedEdits.verify(new.field, self._key, now=0)
        check_prompt(signed, new.ids)
        adapter = chosen(signed.edits)
        if new.adapter != (adapter.artifact if adapter else None):
            raise Refused("the adapter is not the signed one")
        edits = acting(signed.edits, self.bindings, signed.length)
        reading = self.readings.begun(signed) if signed.forced else None
        return Request(new.field, tuple(new.ids or ()), edits, reading=reading)


class Part(NamedTuple):
    """The rows of one request that one edit is shown.  at: [n] rows of the batch."""

    rows: Rows
    request: Request
    edit: Acting
    at: Positions
    positions: Positions


@dataclass
class Group:
    """Rows of several requests for one bound guard.  parts: in the order of the batch."""

    bound: Bound
    parts: list[Part] = field(default_factory=list)
    _at: Any = None

    def at(self, device: torch.device) -> Any:
        """All parts' rows of the batch, as an index: a slice where they are adjacent."""
        if self._at is None:
            rows = np.concatenate([part.at for part in self.parts])
            first, count = int(rows[0]), len(rows)
            adjacent = bool((rows == np.arange(first, first + count)).all())
            # A slice is seen in place; any other index would copy the rows out first.
            on_device = torch.from_numpy(rows).to(device)
            self._at = slice(first, first + count) if adjacent else on_device
        return self._at

    def alone(self) -> "Iterator[Group]":
        """Each part as a group of its own."""
        return (Group(self.bound, [part]) for part in self.parts)

    @cached_property
    def positions(self) -> Positions:
        """All parts' positions, [n]."""
        return np.concatenate([part.positions for part in self.parts])

    @cached_property
    def _owners(self) -> Positions:
        return np.repeat(np.arange(len(self.parts)), [len(part.at) for part in self.parts])

    @cached_property
    def _scratch(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _memories(self) -> list[Memory]:
        return [part.edit.memory for part in self.parts]

    def visit(self, site: Site) -> Visit:
        """What an activation edit is told."""
        return Visit(site, self.positions, self._owners, self._memories, self._scratch)


Change = Callable[[Tensor, Group], Tensor]


class Groups:
    """Groups in an order in which every request's edits act one after the other, as listed."""

    def __init__(self) -> None:
        self._by_rank: dict[tuple[int, int, int], Group] = {}

    def add(self, rank: int, part: Part) -> None:
        """rank: how many of the request's edits act before this one."""
        bound = part.edit.bound
        # Many rows of one request fill a processor's cache by themselves: together with others'
        # they would only leave it between one operation and the next.
        apart = part.rows.row if len(part.at) >= MANY else -1
        key = (rank, id(bound), apart)
        if key not in self._by_rank:
            self._by_rank[key] = Group(bound)
        self._by_rank[key].parts.append(part)

    def __iter__(self) -> Iterator[Group]:
        return (self._by_rank[key] for key in sorted(self._by_rank))

    @cached_property
    def by_site(self) -> dict[Site, list[Group]]:
        """Those that act within the model, when nothing is to be added any more.

        A group is one and the same at all of its sites, so that what it works out is so once.
        """
        found: dict[Site, list[Group]] = {}
        for group in self:
            for site in group.bound.activation.sites if group.bound.activation else ():
                found.setdefault(site, []).append(group)
        return found


class BatchStep:
    """The edits of one forward pass."""

    def __init__(self, requests: Requests) -> None:
        self.dark: list[Rows] = []
        self._requests = requests
        self._embedding = Groups()
        self._activation = Groups()
        self._scale = requests.bindings.model.scale

    def include(self, rows: Rows, request: Request) -> None:
        """Let a request's edits act on its rows.  Where that cannot be prepared, it is dark."""
        try:
            for rank, edit in enumerate(request.embedding):
                if part := _part(rows, request, edit):
                    self._embedding.add(rank, part)
            for rank, edit in enumerate(request.activation):
                if part := _part(rows, request, edit):
                    self._activation.add(rank, part)
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self._requests.darken(request)
            self.dark.append(rows)

    def embed(self, hidden: Tensor) -> None:
        """Edit the rows that the step names and write no other.  Never raises."""
        for rows in self.dark:
            self._blacken(hidden, None, rows)

        def change(old: Tensor, group: Group) -> Tensor:
            guard: Any = group.bound.guard
            new: Tensor = guard.on_embedding(
                old, group.positions, group.bound.artifact, self._scale
            )
            return new

        for group in self._embedding:
            self._change(hidden, None, group, change)

    def act(self, hidden: Tensor, residual: Tensor | None, site: Site) -> None:
        """Likewise, at a site within the model."""
        groups = self._activation.by_site.get(site)
        if groups is None:
            return

        def change(old: Tensor, group: Group) -> Tensor:
            edit: Any = group.bound.activation
            new: Tensor = edit.apply(old, group.visit(site))
            return new

        for group in groups:
            self._change(hidden, residual, group, change)

    def _change(
        self, hidden: Tensor, residual: Tensor | None, group: Group, change: Change
    ) -> None:
        try:
            self._write(hidden, residual, group, change)
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            if len(group.parts) == 1:
                self._requests.darken(group.parts[0].request)
                self._blacken(hidden, residual, group.parts[0].rows)
                return
            for one in group.alone():
                self._change(hidden, residual, one, change)

    def _write(self, hidden: Tensor, residual: Tensor | None, group: Group, change: Change) -> None:
        if any(part.request.dark for part in group.parts):
            group = Group(group.bound, [part for part in group.parts if not part.request.dark])
            if not group.parts:
                return
        at = group.at(hidden.device)
        own = hidden[at]
        old = own if residual is None else own + residual[at]
        new = _checked(change(old, group), old)
        if residual is not None:
            new = own + (new - old)
        if isinstance(at, slice):
            own.copy_(new)  # seen in place
        else:
            hidden[at] = new
        self._requests.counts["edited_rows"] += len(new)

    def _blacken(self, hidden: Tensor, residual: Tensor | None, rows: Rows) -> None:
        own = slice(rows.row, rows.row + rows.tokens)
        hidden[own] = 0 if residual is None else -residual[own]
        self._requests.counts["dark_rows"] += rows.tokens


def _part(rows: Rows, request: Request, edit: Acting) -> Part | None:
    """What of the rows an edit is shown; None where there is nothing."""
    last = int(edit.positions[-1]) if len(edit.positions) else -1
    if rows.position > last and not edit.wants_generated():
        return None
    needed = edit.bound.follower is not None
    history = rows.history() if needed else None
    shown = rows_of(edit, rows.position, rows.tokens, history)
    if not len(shown):
        return None
    return Part(rows, request, edit, shown - rows.position + rows.row, shown)


class EverythingDark:
    """The step of a batch that could not be mapped: nobody's rows are known, so all are zeroed."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def embed(self, hidden: Tensor) -> None:
        """Zero every row."""
        hidden.zero_()
        self._requests.readings.spoil()
        self._requests.counts["dark_rows"] += hidden.shape[0]

    def act(self, hidden: Tensor, residual: Tensor | None, site: Site) -> None:
        """Nothing is left to be edited."""


def _checked(new: Tensor, old: Tensor) -> Tensor:
    if new.shape != old.shape or new.dtype != old.dtype:
        raise Refused("a guard returned rows of another shape")
    # A single NaN would spread over shared cache blocks to other requests.
    # The sum of finite numbers may overflow; only then is each of them looked at.
    if not (math.isfinite(float(new.sum())) or bool(torch.isfinite(new).all())):
        raise Refused("a guard returned rows that are not finite")
    return new


def signed_field(extra_args: object) -> object:
    """The signed field among a request's extra arguments, or None."""
    return extra_args.get(FIELD) if isinstance(extra_args, dict) else None
