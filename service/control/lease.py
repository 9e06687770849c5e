"""Leases: how one knows that every replica either follows or has stopped serving.

A replica that renews at its own time ``t`` (taken *before* the write) serves until ``t + L``.
Another process that has seen the same count of renewals for ``L + margin`` of *its* time may
conclude that the replica has stopped: that renewal was written before it was first seen, so ``t``
lies before the first sight.  No two clocks are compared; only their rates must agree to within the
margin.
"""

import threading
import time
from collections.abc import Callable

from service.store.replicas import ReplicaRow, Replicas

Clock = Callable[[], float]


def steady() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine is suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def margin(lease_s: float) -> float:
    """What is waited beyond a lease, seconds: two clocks may differ by a tenth."""
    return 0.1 * lease_s + 0.05


class Lease:
    """A replica's own: whether it may serve, now.  Thread-safe."""

    def __init__(self, lease_s: float, clock: Clock = steady) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._until = float("-inf")
        self._ended = False

    @property
    def held(self) -> bool:
        """Whether the replica may serve."""
        return not self._ended and self._clock() < self._until

    def renewed(self, started: float) -> None:
        """It has been renewed.  started: when the renewal began, before anything was written."""
        self._until = started + self.lease_s

    def drop(self) -> None:
        """Stop serving at once."""
        self._until = float("-inf")

    def end(self) -> None:
        """Stop serving for good, whatever a renewal under way may bring."""
        self._ended = True


class LeaseWatch:
    """Who may still be serving, as judged from here.  Thread-safe."""

    def __init__(self, replicas: Replicas, lease_s: float, clock: Clock = steady) -> None:
        self._replicas = replicas
        self._patience = lease_s + margin(lease_s)
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def living(self) -> tuple[ReplicaRow, ...]:
        """Every replica that may be serving; removes those that cannot be.

        Raises StoreUnavailable.
        """
        rows = self._replicas.all()
        now = self._clock()  # after the read: what was read had been written by then
        with self._lock:
            dead = [row for row in rows if self._still_for(row, now) >= self._patience]
            alive = {row.id for row in rows}
            self._seen = {key: seen for key, seen in self._seen.items() if key in alive}
        # Between the read and this look at the clock it may have been renewed: whoever could not be
        # removed is alive, and is waited for.
        gone = {row.id for row in dead if self._replicas.remove(row)}
        return tuple(row for row in rows if row.id not in gone)

    def _still_for(self, row: ReplicaRow, now: float) -> float:
        renewals, first_seen = self._seen.get(row.id, (-1, now))
        if renewals != row.renewals:
            first_seen = now
        self._seen[row.id] = (row.renewals, first_seen)
        return now - first_seen
