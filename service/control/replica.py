"""A replica: one gateway process that follows the store and serves exactly one epoch at a time."""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Iterable

from guards.policy import Epoch
from guards.rules import Lack, Rules
from models.encoder import Encoder
from service.control.engine_abilities import EngineAbilities
from service.control.fence import FenceReason, ReplicaFenced
from service.control.keys import KeyRing
from service.control.lease import Lease, LeaseWatch, steady
from service.control.loader import BuildRules, EncoderLoader, Loaded, Loader, LoadFailed, Prepare
from service.control.prepared import Prepared
from service.settings import Settings
from service.store.changes import Changes
from service.store.database import now_ms
from service.store.replicas import NOTHING, Renewal, Report
from service.store.store import Store, StoreUnavailable

__all__ = ["EncoderLoader", "FenceReason", "Replica", "ReplicaFenced"]

POLL_S = 0.05
SWITCH_POLL_S = 0.01  # while an epoch is prepared that may become current at any moment
CHECK_S = 0.2  # however quiet it seems, look at the store this often
EXPIRY_S = 1.0
STOP_S = 2.0

log = logging.getLogger(__name__)


class Replica:
    """Follows the store, prepares each epoch off the event loop, and serves it once it is current.

    One thread follows, another one builds: a lease is renewed also during a long build, for as
    long as the replica has not been behind for more than a lease.  docs/replicas.md has the
    protocol and why it holds.
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
        prepare: Iterable[Prepare] = (),
    ) -> None:
        """engine: what it can do; where it cannot run a policy's guard, nothing is served.

        prepare: each called with the policies of an epoch that come anew, before the replica says
        that it is ready for it; one that raises refuses the epoch.
        """
        self._engine = engine or EngineAbilities()
        self._said_lacking: tuple[Lack, ...] = ()
        self.id = f"rep_{secrets.token_hex(8)}"
        self._store = store
        self._keys = keys
        self._loader = Loader(store, encoder_loader, build or rules_builder(settings), prepare)
        self._lease = Lease(settings.lease_s)
        self._watch = LeaseWatch(store.replicas, settings.lease_s)
        self._tidying = store.tidying(settings)
        self._served: Loaded | None = None
        self._prepared = Prepared()
        self._shared: Loaded | None = None  # the last one loaded: the next is built from it
        self._reason = FenceReason.STARTING
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._changes: Changes | None = None
        self._ahead: deque[tuple[int, float]] = deque()  # epochs not loaded yet, when first seen
        self._newest = self._current = -1
        self._refused: LoadFailed | None = None
        self._said: Report | None = None  # None: it has no lease that it knows of
        self._went_back = False
        self._next_check = self._next_renewal = self._next_watch = self._next_expiry = 0.0

    def start(self) -> None:
        """Start following.  Returns at once; the replica is fenced until the first epoch is up."""
        self._thread = threading.Thread(target=self._run, name="lethe-replica", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, then give up the lease.  Idempotent; blocks for two seconds at most."""
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
        served = self._served
        if served is None or not self._lease.held:
            raise ReplicaFenced(self._why)
        if self._lacks(served):
            raise ReplicaFenced(FenceReason.ENGINE_LACKS)
        return served.rules

    @property
    def fenced(self) -> FenceReason | None:
        """Why ``rules`` would raise, or None."""
        served = self._served
        if served is None or not self._lease.held:
            return self._why
        return FenceReason.ENGINE_LACKS if self._lacks(served) else None

    @property
    def _why(self) -> FenceReason:
        return FenceReason.STOPPED if self._stopping.is_set() else self._reason

    @property
    def refusal(self) -> FenceReason | None:
        """Why the newest epoch cannot be prepared here, while the current one is still served."""
        refused = self._refused
        return refused.reason if refused is not None else None

    @property
    def lacking(self) -> tuple[Lack, ...]:
        """What the served policies' guards need and the engine does not offer."""
        served = self._served
        return self._lacks(served) if served is not None else ()

    def _lacks(self, loaded: Loaded) -> tuple[Lack, ...]:
        # Asked anew each time: an engine may come back with less.  It costs a look at each kind of
        # guard.  An engine that was never reached is not trusted, so nothing is served then.
        known = self._engine.known
        return loaded.rules.lacking(known) if known is not None else ()

    def _run(self) -> None:
        while not self._stopping.is_set():
            waiting = self._prepared.newest is not None
            woken = self._wake.wait(SWITCH_POLL_S if waiting else POLL_S)
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
        self._unfollow()

    def _step(self, *, woken: bool) -> None:
        now = steady()
        self._changes = self._changes or self._store.changes(self._wake.set)
        if self._changes.changed() or woken or now >= self._next_check:
            self._look(now)
        if self._newest > self._ready and not self._went_back:
            self._loader.begin(self._newest, self._shared, now, self._wake.set)
        self._adopt(now)
        self._renew()
        if self._switch():
            self._renew()  # others wait to hear of it
        self._tend(now)

    @property
    def _ready(self) -> int:
        """The newest epoch that could be served at once; NOTHING where there is none."""
        loaded = self._prepared.newest or self._served
        return loaded.number if loaded is not None else NOTHING

    def _look(self, now: float) -> None:
        """See which epoch is current, whether there is a newer one, and which keys are valid."""
        self._next_check = now + CHECK_S
        found = self._store.epochs.standing()
        # An older database put in its place lacks requests that nobody has revoked.
        self._went_back = found.newest < self._newest or found.current < self._current
        if self._went_back:
            self._fence(FenceReason.STORE_WENT_BACK)
        else:
            self._current = found.current
            if found.newest > self._newest:
                self._newest = found.newest
                self._ahead.append((found.newest, now))
            self._switch()
        if self._keys is not None:
            self._keys.refresh()

    def _adopt(self, now: float) -> None:
        """Take over what has been loaded: it is prepared, not served."""
        try:
            loaded = self._loader.result(now)
        except LoadFailed as failure:
            self._refuse(failure)
            return
        if loaded is None or self._went_back or loaded.number <= self._ready:
            return
        self._prepared.add(loaded)
        self._shared = loaded
        self._newest = max(loaded.number, self._newest)
        if self._refused is not None and loaded.number >= self._refused.number:
            self._refused = None
        self._forget_ahead(loaded.number)

    def _refuse(self, failure: LoadFailed) -> None:
        """Say that the newest epoch cannot be prepared here; go on with the current one."""
        if self._served is None:
            self._reason = failure.reason
            return
        if self._refused is None or self._refused.number != failure.number:
            log.error("epoch_refused number=%d reason=%s", failure.number, failure.reason.value)
        self._refused = failure
        self._forget_ahead(failure.number)

    def _forget_ahead(self, number: int) -> None:
        while self._ahead and self._ahead[0][0] <= number:
            self._ahead.popleft()

    def _switch(self) -> bool:
        """Serve the current epoch, or the newest before it; stop where it cannot be followed."""
        loaded = self._prepared.take(self._current)
        if loaded is not None:
            self._served = loaded
            return True
        refused = self._refused
        if refused is not None and self._ready < self._current <= refused.number:
            self._fence(refused.reason)  # others serve what cannot be served here
        return False

    def _renew(self) -> None:
        """Say where this replica stands; keep the lease, unless too far behind to deserve it."""
        now = steady()  # before the write: see service/control/lease.py
        if self._ready == NOTHING:
            return
        if self._ahead and now - self._ahead[0][1] > self._lease.lease_s:
            self._reason = FenceReason.BEHIND
            return
        report = self._report()
        if report == self._said and now < self._next_renewal:
            return
        renewal = self._store.replicas.renew(self.id, report, news=report != self._said)
        if renewal is None:
            self._lose_lease(now)
            return
        self._said = report
        self._next_renewal = now + self._lease.lease_s / 4
        self._reason = FenceReason.LEASE_LOST
        self._learn(renewal)
        self._lease.renewed(now)

    def _report(self) -> Report:
        served, refused = self._served, self._refused
        return Report(
            acked=served.number if served is not None else NOTHING,
            ready=self._ready,
            # Of an older one there is nothing to say any more: the newest may be better.
            refused=refused.number if refused is not None and refused.number >= self._newest else 0,
        )

    def _learn(self, renewal: Renewal) -> None:
        self._current = max(self._current, renewal.current)
        served = self._served
        if renewal.joined and served is not None and served.number < self._current:
            # Nobody waited for this replica: what is current may have been promised already.
            self._served, self._reason = None, FenceReason.BEHIND

    def _lose_lease(self, now: float) -> None:
        self._lease.drop()
        self._served, self._said, self._reason = None, None, FenceReason.BEHIND
        self._next_check = now

    def _tend(self, now: float) -> None:
        """Keep the rules fast; and, for all replicas, remove the dead and end what has expired."""
        self._say_what_lacks()
        if self._served is not None:
            self._served = self._loader.tidied(self._served)
        if now >= self._next_watch:
            self._next_watch = now + self._lease.lease_s / 4
            self._watch.living()
        if now >= self._next_expiry:
            self._next_expiry = now + EXPIRY_S
            if self._store.forget_requests.expire_due(now_ms()):
                self._wake.set()
            self._tidying.step()

    def _say_what_lacks(self) -> None:
        lacking = self.lacking
        if lacking != self._said_lacking:
            self._said_lacking = lacking
            for lack in lacking:
                log.error("engine_lacks guard=%s needs=%s", lack.guard, lack.need)

    def _fence(self, reason: FenceReason) -> None:
        """Stop serving until a load succeeds, and let nobody wait for this replica."""
        self._lease.drop()
        self._served, self._refused, self._reason = None, None, reason
        self._prepared.clear()
        self._give_up()

    def _give_up(self) -> None:
        if self._said is not None:
            try:
                self._store.replicas.leave(self.id)
            except StoreUnavailable:
                return  # the lease runs out by itself
            self._said = None

    def _lose_store(self) -> None:
        # What is served stays valid until the lease ends: without the store nobody else can have
        # concluded anything before that.
        self._reason = FenceReason.STORE_UNAVAILABLE
        self._unfollow()
        self._stopping.wait(POLL_S)

    def _unfollow(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None


def rules_builder(settings: Settings) -> BuildRules:
    """What builds the rules that a replica of these settings serves."""
    artifacts = settings.artifact_store()

    def build(epoch: Epoch, encoder: Encoder, previous: Rules | None) -> Rules:
        return Rules.build(epoch, encoder, settings.example_threshold, previous, artifacts)

    return build
