"""Loading an epoch: read, verify, build and try, on a thread of its own."""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from guards.policy import Epoch, Policy
from guards.rules import Rules
from models.artifact import ArtifactCorrupt, ArtifactMissing
from models.encoder import Encoder, EncoderUnavailable
from service.control.fence import FenceReason
from service.store.epochs import EpochCorrupt
from service.store.key_service import KeyUnavailable
from service.store.store import Store, StoreUnavailable

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.25, 5.0

log = logging.getLogger(__name__)

EncoderLoader = Callable[[], Encoder]
BuildRules = Callable[[Epoch, Encoder, Rules | None], Rules]
Prepare = Callable[[Iterable[Policy]], object]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An epoch and what was built from it.  policies: the verified ones by digest."""

    number: int
    policies: Mapping[str, Policy]
    rules: Rules


class LoadFailed(RuntimeError):
    """An epoch could not be loaded.  number: it, or one before it that was the newest known."""

    def __init__(self, reason: FenceReason, number: int = 0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.number = number


class Loader:
    """Loads one epoch at a time.  Driven by one thread."""

    def __init__(
        self,
        store: Store,
        load_encoder: EncoderLoader,
        build: BuildRules,
        prepare: Iterable[Prepare] = (),
    ) -> None:
        """prepare: each called with the policies that come anew, in order, before they are served.

        One that raises refuses the epoch: ArtifactCorrupt and ArtifactMissing with the reason that
        says so, anything else as a failed build.
        """
        self._prepare = tuple(prepare)
        self._store = store
        self._load_encoder = load_encoder
        self._build = build
        self._encoder: Encoder | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="lethe-rules")
        self._under_way: Future[Loaded] | None = None
        self._tidier = ThreadPoolExecutor(1, thread_name_prefix="lethe-compaction")
        self._tidied: Future[Loaded] | None = None
        self._tidying: Loaded | None = None
        self._wanted = -1
        self._not_before = 0.0
        self._retry_s = _FIRST_RETRY_S

    def begin(
        self, newest: int, previous: Loaded | None, now: float, done: Callable[[], object]
    ) -> None:
        """Start loading the newest epoch, unless that is under way or it is too early to retry.

        newest: its number as far as is known.  previous: what it may share.  done: called from
        another thread when ``result`` is ready.
        """
        if self._under_way is not None or (newest == self._wanted and now < self._not_before):
            return
        self._wanted = newest
        self._under_way = self._worker.submit(self._load, previous)
        self._under_way.add_done_callback(lambda _: done())

    def result(self, now: float) -> Loaded | None:
        """What was loaded, once; None while nothing is ready.

        Raises LoadFailed, StoreUnavailable; the next try then waits a little, longer each time.
        """
        if self._under_way is None or not self._under_way.done():
            return None
        finished, self._under_way = self._under_way, None
        try:
            loaded = finished.result()
        except (LoadFailed, StoreUnavailable) as failure:
            self._not_before = now + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
            if isinstance(failure, LoadFailed):
                raise LoadFailed(failure.reason, self._wanted) from None
            raise
        self._retry_s = _FIRST_RETRY_S
        return loaded

    def tidied(self, current: Loaded) -> Loaded:
        """What is to be served in place of ``current``: the same rules, merged, where that is done.

        Begins the merging where it is worth its time; goes on serving and loading meanwhile.
        """
        if self._tidied is None:
            if current.rules.fragmented:
                self._tidying = current
                self._tidied = self._tidier.submit(_merged, current)
        elif self._tidied.done():
            finished, self._tidied = self._tidied, None
            if self._tidying is current:
                return finished.result()
        return current

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._tidier.shutdown(wait=False, cancel_futures=True)

    def _load(self, previous: Loaded | None) -> Loaded:
        try:
            encoder = self._encoder = self._encoder or self._load_encoder()
            epoch = self._store.epochs.load(previous.policies if previous else {})
            known = previous.policies if previous else {}
            new = [policy for policy in epoch.policies if policy.digest not in known]
            for prepare in self._prepare:
                prepare(new)
            rules = self._build(epoch, encoder, previous.rules if previous else None)
        except StoreUnavailable:
            raise
        except EncoderUnavailable:
            raise LoadFailed(FenceReason.ENCODER_UNAVAILABLE) from None
        except KeyUnavailable:
            raise LoadFailed(FenceReason.KEY_UNAVAILABLE) from None
        except EpochCorrupt:
            raise LoadFailed(FenceReason.POLICY_CORRUPT) from None
        except (ArtifactCorrupt, ArtifactMissing):
            raise LoadFailed(FenceReason.ARTIFACT_CORRUPT) from None
        except Exception as error:  # noqa: BLE001 - the worker's boundary: the epoch is refused
            # The kind of error only: its text could quote what is to be forgotten.
            log.error("rules_build_failed kind=%s", type(error).__name__)
            raise LoadFailed(FenceReason.BUILD_FAILED) from None
        return Loaded(epoch.number, {policy.digest: policy for policy in epoch.policies}, rules)


def _merged(loaded: Loaded) -> Loaded:
    return replace(loaded, rules=loaded.rules.compacted())
