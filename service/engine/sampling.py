"""The edits of next-token logits, for the rows of both model runners."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from guards.points import DeviceTokens, History, LogitsEdit, OnDevice
from service.acting import Acting, end_where_nothing_is_left
from service.engine.rows import Request, Requests, signed_field


class LogitsRow(NamedTuple):
    """One row of logits.  row: its index.  output: reads the ids generated before it."""

    request: str
    row: int
    output: Callable[[], Sequence[int]]


class _Shown(NamedTuple):
    row: int
    name: str
    request: Request
    output: Callable[[], Sequence[int]]

    @property
    def history(self) -> History:
        return History(self.name, self.request.ids, self.output())


class LogitsEdits:
    """Applies logits edits, batched by artifact.  Nothing here raises.

    map_rows: which row is whose, given V2's context (None under V1).  tokens: where V2 keeps them.
    """

    def __init__(
        self,
        requests: Requests,
        map_rows: Callable[[Any], Iterable[LogitsRow]],
        tokens: Callable[[Any], DeviceTokens] | None = None,
    ) -> None:
        self._requests = requests
        self._map = map_rows
        self._tokens = tokens
        self._ends = sorted(requests.bindings.model.vocabulary.ends)

    def concerns(self, extra_args: object) -> bool:
        """Whether the request with these extra arguments has logits edits."""
        return self._requests.concerned(signed_field(extra_args))

    def edit(self, logits: Tensor, context: Any) -> None:
        """Change the rows, [rows, vocabulary], of requests that ask for it; write no other."""
        dark: list[int] = []
        try:
            shown = self._shown(context, dark)
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            # Whose row is whose is not known, so every answer has to end.
            self._requests.count_dark("unmapped")
            self._requests.readings.spoil()
            self._end(logits, range(len(logits)))
            return
        for edit, rows in _grouped(shown):
            on_device = context is not None and isinstance(edit, OnDevice) and edit.on_device
            if not (on_device and self._applied_on_device(logits, edit, rows, context)):
                self._apply(logits, edit, rows)
        for each in shown:
            self._read(logits, each)
        dark += [each.row for each in shown if each.request.dark]
        self._end(logits, dark)

    def _shown(self, context: Any, dark: list[int]) -> list[_Shown]:
        shown = []
        for each in self._map(context):
            request = self._requests.get(each.request)
            if request is not None and request.dark:
                dark.append(each.row)
            elif request is not None and request.concerns_logits:
                request.sampled = True
                shown.append(_Shown(each.row, each.request, request, each.output))
        return shown

    def _applied_on_device(
        self, logits: Tensor, edit: Any, rows: Sequence[_Shown], context: Any
    ) -> bool:
        """Whether it could be; if not, nothing was changed."""
        live = [each.row for each in rows if not each.request.dark]
        if self._tokens is None or not live:
            return not live
        try:
            tokens = self._tokens(context)
            own = torch.full_like(tokens.slots, -1)
            at = torch.tensor(live, device=own.device)
            own[at] = tokens.slots[at]
            edit.apply_on_device(logits, tokens._replace(slots=own))
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self._requests.counts["left_the_device"] += 1
            return False
        self._requests.counts["edited_logits"] += len(live)
        self._requests.counts["edited_on_device"] += len(live)
        return True

    def _apply(self, logits: Tensor, edit: LogitsEdit, rows: Sequence[_Shown]) -> None:
        live = [each for each in rows if not each.request.dark]
        if not live:
            return
        try:
            self._change(logits, edit, live)
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            if len(live) == 1:
                self._requests.darken(live[0].request)
                return
            for one in live:
                self._apply(logits, edit, [one])

    def _change(self, logits: Tensor, edit: LogitsEdit, rows: Sequence[_Shown]) -> None:
        numbers = [each.row for each in rows]
        first, last = numbers[0], numbers[-1]
        adjacent = numbers == list(range(first, last + 1))
        at: Any = slice(first, last + 1) if adjacent else torch.tensor(numbers)
        # Worked on apart: an edit that fails half way must leave nothing behind.
        changed = logits[at].clone()
        edit.apply(changed, [each.history for each in rows])
        self._requests.counts["ended_rows"] += end_where_nothing_is_left(changed, self._ends)
        logits[at] = changed
        self._requests.counts["edited_logits"] += len(rows)

    def _read(self, logits: Tensor, shown: _Shown) -> None:
        """Where tokens are given: score the next one, and let it be the one that is chosen."""
        reading = shown.request.reading
        if reading is None or shown.request.dark:
            return
        try:
            reading.read(logits[shown.row], shown.output())
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self._requests.darken(shown.request)

    def _end(self, logits: Tensor, rows: Iterable[int]) -> None:
        at = list(rows)
        if at:
            none_left = torch.full_like(logits[at], -torch.inf)
            end_where_nothing_is_left(none_left, self._ends)
            logits[at] = none_left


def _grouped(shown: Sequence[_Shown]) -> list[tuple[LogitsEdit, list[_Shown]]]:
    """By edit, in an order in which every request's edits act one after the other, as listed."""
    groups: dict[tuple[int, int], tuple[LogitsEdit, list[_Shown]]] = {}
    for each in shown:
        for rank, acting in enumerate(each.request.logits):
            edit = _edit(acting)
            groups.setdefault((rank, id(edit)), (edit, []))[1].append(each)
    return [groups[key] for key in sorted(groups)]


def _edit(acting: Acting) -> LogitsEdit:
    if acting.bound.logits is None:
        raise TypeError("not an edit of logits")
    return acting.bound.logits
