"""Which engines may be believed: those that prove the plugin, once the canary has seen it work."""

import asyncio
import time
from collections.abc import Callable

from service.gateway.unavailable import GuardUnavailable, Reason

STALE_AFTER = 3  # canary intervals without a pass, and an engine is not trusted any more


class EngineTrust:
    """The boot ids that passed the canary lately, and what is wrong now if anything is."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s = interval_s * STALE_AFTER
        self._clock = clock
        self._passed: dict[str, float] = {}
        self._fault: Reason | None = Reason.STARTING
        self.wanted = asyncio.Event()

    @property
    def fault(self) -> Reason | None:
        """Why nothing is served now, or None."""
        if self._fault is None and not any(map(self._fresh, self._passed)):
            return Reason.ENGINE_UNATTESTED
        return self._fault

    @property
    def age_s(self) -> float:
        """Seconds since the canary last passed; infinity if it never has."""
        return self._clock() - max(self._passed.values(), default=float("-inf"))

    def check(self, boot_id: str | None) -> None:
        """Raise GuardUnavailable unless that engine may be believed now.

        One that may not brings the canary, and takes readiness away until it has passed.
        """
        if self._fault is Reason.CANARY_FAILED:
            raise GuardUnavailable(Reason.CANARY_FAILED)
        if boot_id is None or not self._fresh(boot_id):
            self.doubt(Reason.ENGINE_UNATTESTED)
            raise GuardUnavailable(Reason.ENGINE_UNATTESTED)

    def doubt(self, reason: Reason) -> None:
        """Something is wrong: not ready until the canary has passed again."""
        if self._fault is None:
            self._fault = reason
        self.wanted.set()

    def passed(self, boot_id: str) -> None:
        """The canary has seen this engine apply edits."""
        now = self._clock()
        self._passed = {b: t for b, t in self._passed.items() if now - t < self._lasts_s}
        self._passed[boot_id] = now
        self._fault = None

    def failed(self, reason: Reason) -> None:
        """The canary did not pass.  An engine that does not do its work is trusted no more."""
        self._fault = reason
        if reason is not Reason.ENGINE_UNREACHABLE:
            self._passed.clear()

    def _fresh(self, boot_id: str) -> bool:
        passed = self._passed.get(boot_id)
        return passed is not None and self._clock() - passed < self._lasts_s
