"""Keeps up the gauges of one worker: a scrape may reach another one."""

import asyncio
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guards.policy import Epoch
from guards.rules import Rules
from models.encoder import Encoder
from service.control.loader import BuildRules
from service.control.replica import Replica, ReplicaFenced
from service.gateway.readiness import Readiness
from service.metrics import Metrics
from service.store.census import Census
from service.store.database import StoreUnavailable, now_ms

REPORT_S = 1.0
CENSUS_S = 5.0
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Reporter:
    """census, jobs: ask the store; they may block, and raise StoreUnavailable."""

    metrics: Metrics
    replica: Replica
    readiness: Readiness
    census: Callable[[], Census]
    jobs: Callable[[], Mapping[tuple[str, str], int]]

    async def watch(self) -> None:
        """Report every second, until cancelled; what the store knows, less often."""
        self.metrics.workers.set(1)
        spent, next_census = 0.0, 0.0
        while True:
            spent = self._report(spent)
            if time.monotonic() >= next_census:
                await asyncio.to_thread(self._count)
                next_census = time.monotonic() + CENSUS_S
            await asyncio.sleep(REPORT_S)

    def _report(self, spent: float) -> float:
        """Set the gauges.  Processor time is counted up from ``spent``; returns all of it."""
        metrics, readiness = self.metrics, self.readiness
        metrics.canary_age.set(readiness.trust.age_s)
        metrics.not_ready(readiness.reasons())
        metrics.audit_healthy.set(readiness.audit.healthy)
        metrics.memory.set(resident_bytes())
        try:
            metrics.epoch.set(self.replica.rules.epoch)
        except ReplicaFenced:
            metrics.epoch.set(-1)
        now = time.process_time()
        metrics.cpu.inc(now - spent)
        return now

    def _count(self) -> None:
        try:
            found, jobs = self.census(), self.jobs()
        except StoreUnavailable:
            self.metrics.store_up.set(0)
            return
        waiting = found.oldest_waiting
        self.metrics.store_up.set(1)
        self.metrics.newest_epoch.set(found.newest_epoch)
        self.metrics.forget_requests(found.states)
        self.metrics.compilations(jobs)
        self.metrics.oldest_stopgap.set(max(0, now_ms() - waiting) / 1000 if waiting else 0)


def counted_rules(metrics: Metrics, build_rules: BuildRules) -> BuildRules:
    """Builds rules as that does, and says how many of the policies are certified."""

    def build(epoch: Epoch, encoder: Encoder, previous: Rules | None) -> Rules:
        rules = build_rules(epoch, encoder, previous)
        certified = sum(policy.certificate is not None for policy in epoch.policies)
        metrics.policies(stopgap=len(epoch.policies) - certified, certified=certified)
        return rules

    return build


def resident_bytes() -> int:
    """Memory of this process now; where the system does not say, the most that it ever had."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
