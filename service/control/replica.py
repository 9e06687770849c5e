"""A replica: one gateway process that follows the store and serves exactly one epoch at a time."""

import logging
import secrets
import threading
from collections import deque

from guards.policy import Epoch
from guards.rules import Lack, Rules
from models.encoder import Encoder
from service.control.engine_abilities import EngineAbilities
from service.control.fence import FenceReason, ReplicaFenced
from service.control.keys import KeyRing
from service.control.lease import Lease, LeaseWatch, steady
from service.control.loader import BuildRules, EncoderLoader, Loaded, Loader, LoadFailed, Prepare
from service.settings import Settings
from service.store.changes import Changes
from service.store.database import now_ms
from service.store.store import Store, StoreUnavailable

__all__ = ["EncoderLoader", "FenceReason", "Replica", "ReplicaFenced"]

POLL_S = 0.05
CHECK_S = 0.2  # however quiet it seems, look at the store this often
EXPIRY_S = 1.0
STOP_S = 2.0

log = logging.getLogger(__name__)


class Replica:
    """Follows the store, builds rules off the event loop, holds a lease while it is up to date.

    One thread follows, another one builds: a lease is renewed also during a long build, for as
    long as the replica has not been behind for more than a lease.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        encoder_loader: EncoderLoader,
        *,
        keys: KeyRing | None = None,
        build: BuildRules | None = None,
        engine: EngineAbilities | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        """engine: what it can do; where it cannot run a policy's guard, nothing is served.

        prepare: called with the policies of an epoch that come anew, before they are served.
        """
        self._engine = engine or EngineAbilities()
        self._said: tuple[Lack, ...] = ()
        self.id = f"rep_{secrets.token_hex(8)}"
        self._store = store
        self._keys = keys
        build = build or _builder(settings.example_threshold)
        self._loader = Loader(store, encoder_loader, build, prepare)
        self._lease = Lease(settings.lease_s)
        self._watch = LeaseWatch(store.replicas, settings.lease_s)
        self._loaded: Loaded | None = None
        self._reason = FenceReason.STARTING
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._changes: Changes | None = None
        self._ahead: deque[tuple[int, float]] = deque()  # epochs not served yet, when first seen
        self._newest = -1
        self._acked: int | None = None
        self._broken = self._went_back = False
        self._next_check = self._next_renewal = self._next_watch = self._next_expiry = 0.0

    def start(self) -> None:
        """Start following.  Returns at once; the replica is fenced until the first epoch is up."""
        self._thread = threading.Thread(target=self._run, name="lethe-replica", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, then give up the lease.  Idempotent; blocks for two seconds at most."""
        self._reason = FenceReason.STOPPED
        self._lease.end()
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=STOP_S)
        self._loader.close()

    def wake(self) -> None:
        """Look at the store now: this process has just changed it.  From any thread."""
        self._wake.set()

    @property
    def rules(self) -> Rules:
        """The rules to serve with, now; read once for each request.  Raises ReplicaFenced."""
        loaded = self._loaded
        if loaded is None or not self._lease.held:
            raise ReplicaFenced(self._reason)
        if self._lacks(loaded):
            raise ReplicaFenced(FenceReason.ENGINE_LACKS)
        return loaded.rules

    @property
    def fenced(self) -> FenceReason | None:
        """Why ``rules`` would raise, or None."""
        loaded = self._loaded
        if loaded is None or not self._lease.held:
            return self._reason
        return FenceReason.ENGINE_LACKS if self._lacks(loaded) else None

    @property
    def lacking(self) -> tuple[Lack, ...]:
        """What the loaded policies' guards need and the engine does not offer."""
        loaded = self._loaded
        return self._lacks(loaded) if loaded is not None else ()

    def _lacks(self, loaded: Loaded) -> tuple[Lack, ...]:
        # Asked anew each time: an engine may come back with less.  It costs a look at each kind of
        # guard.  An engine that was never reached is not trusted, so nothing is served then.
        known = self._engine.known
        return loaded.rules.lacking(known) if known is not None else ()

    def _run(self) -> None:
        while not self._stopping.is_set():
            woken = self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                self._step(woken=woken)
            except StoreUnavailable:
                self._lose_store()
            except Exception as error:  # noqa: BLE001 - the thread's boundary: stop serving
                # The kind of error only: its text could quote what is to be forgotten.
                log.error("replica_failed kind=%s", type(error).__name__)
                self._fence(FenceReason.BUILD_FAILED)
        self._give_up()

    def _step(self, *, woken: bool) -> None:
        now = steady()
        self._changes = self._changes or self._store.changes()
        if self._changes.changed() or woken or now >= self._next_check:
            self._look(now)
        if (self._ahead or self._broken) and not self._went_back:
            self._loader.begin(self._loaded, now, self._wake.set)
        self._adopt(now)
        self._renew()
        self._tend(now)

    def _look(self, now: float) -> None:
        """See whether there is a newer epoch, and which keys are valid."""
        self._next_check = now + CHECK_S
        newest = self._store.epochs.newest()
        # An older database put in its place lacks requests that nobody has revoked.
        self._went_back = newest < self._newest
        if self._went_back:
            self._fence(FenceReason.STORE_WENT_BACK)
        elif newest > self._newest:
            self._newest = newest
            self._ahead.append((newest, now))
        if self._keys is not None:
            self._keys.refresh()

    def _adopt(self, now: float) -> None:
        try:
            loaded = self._loader.result(now)
        except LoadFailed as failure:
            self._fence(failure.reason)
            return
        if loaded is None or self._went_back:
            return
        self._loaded, self._broken = loaded, False
        self._newest = max(loaded.number, self._newest)
        while self._ahead and self._ahead[0][0] <= loaded.number:
            self._ahead.popleft()

    def _renew(self) -> None:
        """Say which epoch is served, and keep the lease, unless too far behind to deserve it."""
        now = steady()  # before the write: see service/control/lease.py
        if self._loaded is None or self._broken:
            return
        if self._ahead and now - self._ahead[0][1] > self._lease.lease_s:
            self._reason = FenceReason.BEHIND
            return
        number = self._loaded.number
        if number == self._acked and now < self._next_renewal:
            return
        if self._store.replicas.renew(self.id, number):
            self._lease.renewed(now)
            self._acked, self._reason = number, FenceReason.LEASE_LOST
            self._next_renewal = now + self._lease.lease_s / 4
        else:
            self._lease.drop()
            self._acked, self._reason = None, FenceReason.BEHIND
            self._next_check = now

    def _tend(self, now: float) -> None:
        """Keep the rules fast; and, for all replicas, remove the dead and end what has expired."""
        self._say_what_lacks()
        if self._loaded is not None:
            self._loaded = self._loader.tidied(self._loaded)
        if now >= self._next_watch:
            self._next_watch = now + self._lease.lease_s / 4
            self._watch.living()
        if now >= self._next_expiry:
            self._next_expiry = now + EXPIRY_S
            if self._store.forget_requests.expire_due(now_ms()):
                self._wake.set()

    def _say_what_lacks(self) -> None:
        lacking = self.lacking
        if lacking != self._said:
            self._said = lacking
            for lack in lacking:
                log.error("engine_lacks guard=%s needs=%s", lack.guard, lack.need)

    def _fence(self, reason: FenceReason) -> None:
        """Stop serving until a load succeeds, and let nobody wait for this replica."""
        self._lease.drop()
        self._broken, self._reason = True, reason
        self._give_up()

    def _give_up(self) -> None:
        if self._acked is not None:
            try:
                self._store.replicas.leave(self.id)
            except StoreUnavailable:
                return  # the lease runs out by itself
            self._acked = None

    def _lose_store(self) -> None:
        # What is served stays valid until the lease ends: without the store nobody else can have
        # concluded anything before that.
        self._reason = FenceReason.STORE_UNAVAILABLE
        if self._changes is not None:
            self._changes.close()
            self._changes = None
        self._stopping.wait(POLL_S)


def _builder(example_threshold: float) -> BuildRules:
    def build(epoch: Epoch, encoder: Encoder, previous: Rules | None) -> Rules:
        return Rules.build(epoch, encoder, example_threshold, previous)

    return build
