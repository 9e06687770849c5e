"""Which jobs may be taken up: judged as leases are, by counts that stand still on our own clock."""

from collections.abc import Callable, Iterable

from service.control.lease import Clock, margin, steady
from service.store.compilations import Job
from service.store.job_rows import RUNNING

Pause = Callable[[int], float]
"""Seconds to wait before a step is tried again, by how often it was begun."""

_FIRST_S, _LONGEST_S = 30.0, 3_600.0


def doubling(attempt: int) -> float:
    """Half a minute, and twice as long each time, up to an hour."""
    return min(_FIRST_S * 2.0 ** min(attempt - 1, 10), _LONGEST_S)


class Patience:
    """Says which jobs may be claimed, now.

    A job that runs may be taken from its worker when its beats have stood still for a lease and its
    margin; one that failed, when its pause is over.  Both are measured from when this process first
    saw it so, so that no two clocks are compared.
    """

    def __init__(self, lease_s: float, pause: Pause = doubling, clock: Clock = steady) -> None:
        self._lease_s = lease_s + margin(lease_s)
        self._pause = pause
        self._clock = clock
        self._seen: dict[str, tuple[Job, float]] = {}

    def claimable(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of ``jobs``, in their order.  jobs: as just read."""
        now = self._clock()
        self._seen = {job.id: (job, self._since(job, now)) for job in jobs}
        return [job for job, since in self._seen.values() if now - since >= self._wait_s(job)]

    def _since(self, job: Job, now: float) -> float:
        before, since = self._seen.get(job.id, (None, now))
        return since if before == job else now

    def _wait_s(self, job: Job) -> float:
        if job.status == RUNNING:
            return self._lease_s
        return self._pause(job.attempt) if job.error and job.attempt else 0.0
