"""A worker thread that lets many generations take turns, one step each."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing delivered of a generation.  failed: it ended by an error, not by itself."""

    failed: bool = False


class Ticket:
    """A generation that was handed in."""

    def __init__(self, steps: Iterator[Any], deliver: Callable[[Any], object]) -> None:
        self.steps = steps
        self.deliver = deliver
        self.cancelled = Event()

    def cancel(self) -> None:
        """Nothing more is computed or delivered, from the next turn on.  Idempotent."""
        self.cancelled.set()


class Turns:
    """Runs generations, at most ``slots`` at a time; the others wait in order."""

    def __init__(self, slots: int = 32) -> None:
        self._slots = slots
        self._active: deque[Ticket] = deque()
        self._waiting: deque[Ticket] = deque()
        self._changed = Condition()
        self._stopped = False
        self._thread: Thread | None = None

    @property
    def running(self) -> int:
        """How many generations take turns now."""
        with self._changed:
            return len(self._active)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        with self._changed:
            return len(self._waiting)

    def submit(self, steps: Iterator[Any], deliver: Callable[[Any], object]) -> Ticket:
        """Hand in a generation.  deliver: called in the worker with each item, then with Ended."""
        ticket = Ticket(steps, deliver)
        with self._changed:
            if self._stopped:
                raise RuntimeError("the engine is stopping")
            self._waiting.append(ticket)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="lethe-local", daemon=True)
                self._thread.start()
            self._changed.notify()
        return ticket

    def stop(self) -> None:
        """Abandon everything and end the worker.  Idempotent."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (ticket := self._next()) is not None:
            over = self._step(ticket)
            with self._changed:
                self._active.popleft()
                if not over:
                    self._active.append(ticket)

    def _next(self) -> Ticket | None:
        """The ticket whose turn it is, at the head of the active ones; None when stopped."""
        with self._changed:
            while not self._stopped:
                while self._waiting and len(self._active) < self._slots:
                    self._active.append(self._waiting.popleft())
                if self._active:
                    return self._active[0]
                self._changed.wait()
            return None

    def _step(self, ticket: Ticket) -> bool:
        """One step of one generation.  Whether it is over."""
        if ticket.cancelled.is_set():
            return True
        try:
            item = next(ticket.steps, Ended())
        except Exception as error:  # noqa: BLE001 - one request's error must not end the others
            log.error("a generation failed: %s", type(error).__name__)
            item = Ended(failed=True)
        try:
            ticket.deliver(item)
        except RuntimeError:  # the event loop that waited for it is closed
            return True
        return isinstance(item, Ended)
