"""A replica: one gateway process that follows the store and serves exactly one epoch at a time."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from guards.policy import Epoch
from service.settings import Settings

if TYPE_CHECKING:
    from guards.rules import Rules

    from service.store.store import Store

EncoderLoader = Callable[[], Any]
BuildRules = Callable[[Epoch, "Rules | None"], "Rules"]


class FenceReason(StrEnum):
    """Why a replica serves nothing: fixed codes, fit for metric labels and readiness answers."""

    STARTING = "starting"
    LEASE_LOST = "lease_lost"
    STORE_UNAVAILABLE = "store_unavailable"
    POLICY_CORRUPT = "policy_corrupt"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    BUILD_FAILED = "build_failed"
    STOPPED = "stopped"


class ReplicaFenced(RuntimeError):
    """This replica must not serve: it may not know the newest epoch.  Answer 503."""

    def __init__(self, reason: FenceReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Replica:
    """Follows the store, builds rules off the event loop, holds a lease while it is up to date."""

    def __init__(
        self,
        store: "Store",
        settings: Settings,
        encoder_loader: EncoderLoader,
        *,
        build: BuildRules | None = None,
    ) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Start following.  Returns at once; the replica is fenced until the first epoch is up."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop following, give up the lease.  Idempotent; blocks for at most a second or two."""
        raise NotImplementedError

    @property
    def rules(self) -> "Rules":
        """The rules to serve with, now; read once for each request.  Raises ReplicaFenced."""
        raise NotImplementedError

    @property
    def fenced(self) -> FenceReason | None:
        """Why ``rules`` would raise, or None."""
        raise NotImplementedError
