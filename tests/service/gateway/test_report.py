"""What a worker reports of itself and of the store, without a scrape having to reach it."""

import asyncio
import time
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guards.policy import Epoch, Policy
from guards.rules import Rules
from models.encoder import Encoder
from service.audit import AuditLog
from service.control.fence import FenceReason
from service.control.replica import Replica
from service.gateway.readiness import Readiness
from service.gateway.report import Reporter, counted_rules, resident_bytes
from service.gateway.trust import EngineTrust
from service.metrics import Metrics
from service.store.census import Census
from service.store.database import StoreUnavailable, now_ms
from service.store.state import State
from tests.service.gateway.stand_ins import ToyAudit, ToyReplica, ToyRules


def census() -> Census:
    """With a stop-gap that is a minute old."""
    return Census({State.RECEIVED: 3, State.ACTIVE: 2}, 9, now_ms() - 60_000)


def values(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {f"{s.name}{s.labels or ''}": s.value for family in families for s in family.samples}


async def reported(replica: ToyReplica, audit: ToyAudit, census: Census | None) -> dict[str, float]:
    metrics, trust = Metrics(), EngineTrust(30.0)
    trust.passed("boot")
    parts = cast("Replica", replica), cast("AuditLog", audit)

    def ask() -> Census:
        if census is None:
            raise StoreUnavailable("gone")
        return census

    reporter = Reporter(
        metrics, parts[0], Readiness(trust, *parts), ask, lambda: {("running", ""): 1}
    )
    metrics.store_up.set(-1)
    task = asyncio.create_task(reporter.watch())
    async with asyncio.timeout(10):
        while values(metrics)["lethe_store_up"] == -1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    return values(metrics)


async def test_a_worker_that_serves() -> None:
    before = time.process_time()
    found = await reported(ToyReplica(ToyRules(epoch=9)), ToyAudit(), census())
    assert found["lethe_epoch"] == found["lethe_newest_epoch"] == 9
    assert found["lethe_forget_requests{'state': 'received'}"] == 3
    assert found["lethe_forget_requests{'state': 'revoked'}"] == 0
    assert found["lethe_oldest_stopgap_seconds"] == pytest.approx(60, abs=30)
    assert found["lethe_compilations{'status': 'running'}"] == 1
    assert found["lethe_store_up"] == found["lethe_audit_healthy"] == found["lethe_workers"] == 1
    assert before < found["lethe_cpu_seconds_total"] <= time.process_time()
    assert found["lethe_canary_age_seconds"] < 10
    assert not any(value for name, value in found.items() if name.startswith("lethe_not_ready"))


async def test_a_worker_that_may_not_serve() -> None:
    replica = ToyReplica(ToyRules(), fenced=FenceReason.BEHIND)
    found = await reported(replica, ToyAudit(healthy=False), None)
    assert found["lethe_epoch"] == -1
    assert found["lethe_store_up"] == found["lethe_audit_healthy"] == 0
    assert found["lethe_not_ready{'reason': 'replica_fenced'}"] == 1
    assert found["lethe_not_ready{'reason': 'audit_unavailable'}"] == 1
    assert found["lethe_not_ready{'reason': 'engine_unreachable'}"] == 0


def test_policies_are_counted_by_whether_they_are_certified() -> None:
    metrics = Metrics()
    certified = Policy("fr_1", ("Ada Vex",), certificate="sha256:" + "c" * 64)
    epoch = Epoch(3, (certified, Policy("fr_2", ("Ilse Vex",)), Policy("fr_3", ("Odo Vex",))))

    def build(epoch: Epoch, encoder: Encoder, previous: Rules | None) -> Rules:
        return Rules.build(epoch, encoder, 0.7, previous)

    rules = counted_rules(metrics, build)(epoch, None, None)  # type: ignore[arg-type]  # no examples
    assert rules.epoch == 3
    found = values(metrics)
    assert found["lethe_policies{'assurance': 'certified'}"] == 1
    assert found["lethe_policies{'assurance': 'stopgap'}"] == 2


def test_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    block = bytearray(b"\1") * (64 << 20)  # written to: untouched memory is not resident
    assert resident_bytes() - before > 32 << 20
    del block
