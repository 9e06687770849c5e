"""Activation: when a change may be answered with 2xx."""

import asyncio
from typing import Protocol

from service.control.lease import LeaseWatch, margin, steady
from service.store.store import Store

POLL_S = 0.01


class NotEnforcedYet(RuntimeError):
    """The change is durable, but a replica that may be serving has not confirmed it in time."""


class Wakeable(Protocol):
    """A replica in this process."""

    def wake(self) -> None:
        """Look at the store now."""


class Activation:
    """Waits until an epoch is in force on every replica that takes traffic."""

    def __init__(self, store: Store, lease_s: float, replica: Wakeable | None = None) -> None:
        self._watch = LeaseWatch(store.replicas, lease_s)
        self._replica = replica
        # A replica notices an epoch, may go on for one lease without loading it, and then lets
        # its last lease run out; the rest is for a machine that is busy.
        self._longest = 2 * (lease_s + margin(lease_s)) + 1.0

    async def everywhere(self, epoch: int) -> None:
        """Return once every replica that may be serving serves ``epoch`` or a later one.

        Call it after the commit: a replica that comes up later has to load that epoch first.
        Raises NotEnforcedYet, StoreUnavailable.
        """
        if self._replica is not None:
            self._replica.wake()
        deadline = steady() + self._longest
        while not await asyncio.to_thread(self.is_everywhere, epoch):
            if steady() > deadline:
                raise NotEnforcedYet
            await asyncio.sleep(POLL_S)

    def is_everywhere(self, epoch: int) -> bool:
        """Whether it is so now.  Raises StoreUnavailable."""
        return all(row.acked_epoch >= epoch for row in self._watch.living())
