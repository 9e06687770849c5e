"""A forget request's progress as events: its life, step by step, and then its end."""

from typing import Any

from service.control.compilation_view import CompilationView, compilation_views
from service.control.server_events import Look, ServerEvent
from service.store.life_events import LifeEvent
from service.store.state import ENFORCED, State
from service.store.store import Store

_UNDER_WAY = ("waiting", "running")


class Progress:
    """Follows one request.  Nothing of what was asked is in an event."""

    def __init__(self, store: Store, request_id: str, seen: int = 0) -> None:
        """seen: number of the last event that the client has."""
        self._store = store
        self._id = request_id
        self._seen = seen
        self._last: dict[str, Any] | None = None

    def look(self) -> Look:
        """What came since the last look.  Raises StoreUnavailable, UnknownForgetRequest."""
        # The events first: whatever they do not hold yet, the next look does.
        events = self._store.life_events.after(self._id, self._seen)
        record = self._store.forget_requests.get(self._id)
        compilation = compilation_views(self._store, [record]).get(self._id)
        found = [_event(event) for event in events]
        if events:
            self._seen = events[-1].seq
        standing = _standing(record.state, compilation)
        if standing != self._last:
            self._last = standing
            found.append(ServerEvent("progress", standing))
        return Look(found, last=_is_over(record.state, compilation))


def _event(event: LifeEvent) -> ServerEvent:
    name = event.event if event.event in ("step", "erase") else "state"
    data = {
        "event": event.event,
        "state": event.state.value,
        "detail": event.detail or None,
        "policy": event.policy or None,
        "epoch": event.epoch,
        "at_ms": event.at,
    }
    return ServerEvent(name, data, event.seq)


def _standing(state: State, compilation: CompilationView | None) -> dict[str, Any]:
    shown = None if compilation is None else compilation.model_dump(mode="json")
    return {"state": state.value, "compilation": shown}


def _is_over(state: State, compilation: CompilationView | None) -> bool:
    if state not in ENFORCED:
        return True
    return compilation is None or compilation.status not in _UNDER_WAY
