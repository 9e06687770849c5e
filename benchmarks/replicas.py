"""Replicas under fire: `python -m benchmarks.replicas --acts 1000` (about ten minutes).

Two gateway processes over one PostgreSQL and one engine forget and revoke while clients ask, and
at random moments a gateway is killed with SIGKILL or the database crashes.  Afterwards every
answered prompt is held against the audit logs and the tables (benchmarks/chaos/history.py).
Results: benchmarks/results/replicas.json.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos.clients import Clients
from benchmarks.chaos.history import Verdict, judge
from benchmarks.chaos.system import Gateway, System, running_system
from service.control.lease import margin

RESULTS = Path(__file__).parent / "results"
READY_S = 400.0
OPERATORS, USERS = 4, 3


@dataclass(frozen=True)
class Plan:
    """One run.  kills: of gateways; crashes: of the database.  limit_s: it ends then anyway."""

    acts: int = 1000
    kills: int = 12
    crashes: int = 12
    lease_s: float = 2.0
    seed: int = 0
    operators: int = OPERATORS
    users: int = USERS
    limit_s: int = 1200


@dataclass
class Faults:
    """What was broken, and how long it took to be whole again, seconds."""

    gateway_back_s: list[float] = field(default_factory=list)
    database_back_s: list[float] = field(default_factory=list)


async def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Run it all and judge it.  Raises TimeoutError where something did not come back."""
    with running_system(folder, plan.lease_s) as system:
        for gateway in system.gateways:
            await gateway.until_ready(READY_S)
        began = time.monotonic()
        clients = Clients(system, plan.acts, plan.seed, until=began + plan.limit_s)
        faults = Faults()
        async with asyncio.timeout(plan.limit_s + READY_S), asyncio.TaskGroup() as group:
            for _ in range(plan.operators):
                group.create_task(clients.forget_and_revoke())
            for _ in range(plan.users):
                group.create_task(clients.ask())
            group.create_task(_break(plan, system, clients, faults, group))
        took_s = time.monotonic() - began
        for gateway in system.gateways:
            await gateway.until_ready(READY_S)
            gateway.stop()  # what is still to be audited is written at the end
        lines = [line for gateway in system.gateways for line in gateway.lines()]
        verdict = judge(clients.record.lives, clients.record.asked, lines, system.epochs())
    return _summary(plan, clients, faults, verdict, took_s)


async def _break(
    plan: Plan, system: System, clients: Clients, faults: Faults, group: asyncio.TaskGroup
) -> None:
    """Break something whenever as many acts are done as chance says."""
    chance = random.Random(plan.seed + 1)
    kinds: list[Callable[[], Any]] = []
    kinds += [partial(_kill, system, chance, faults, group)] * plan.kills
    kinds += [partial(_crash, system, faults)] * plan.crashes
    chance.shuffle(kinds)
    moments = sorted(chance.uniform(0.05, 0.9) * plan.acts for _ in kinds)
    for moment, kind in zip(moments, kinds, strict=True):
        while clients.record.acts < moment and not clients.enough:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if clients.enough:
            return
        await asyncio.sleep(chance.uniform(0, 0.2))
        await kind()


async def _kill(
    system: System, chance: random.Random, faults: Faults, group: asyncio.TaskGroup
) -> None:
    """Kill one of those that serve, which may be the last."""
    serving: list[Gateway] = []
    while not serving:
        await asyncio.sleep(0.05)
        serving = [g for g in system.gateways if await asyncio.to_thread(g.is_ready)]
    gateway = chance.choice(serving)
    await asyncio.to_thread(gateway.kill)
    gateway.start()  # as a service manager does
    group.create_task(_note(gateway, faults))


async def _note(gateway: Gateway, faults: Faults) -> None:
    faults.gateway_back_s.append(await gateway.until_ready(READY_S))


async def _crash(system: System, faults: Faults) -> None:
    began = time.monotonic()
    await asyncio.to_thread(system.crash_database)
    faults.database_back_s.append(time.monotonic() - began)


def _summary(
    plan: Plan, clients: Clients, faults: Faults, verdict: Verdict, took_s: float
) -> dict[str, Any]:
    asked = clients.record.asked
    statuses = sorted({each.status for each in asked})
    return {
        "acts": clients.record.acts,
        "seconds": round(took_s, 1),
        "gateways_killed": len(faults.gateway_back_s),
        "gateway_back_s": _spread(faults.gateway_back_s),
        "database_crashed": len(faults.database_back_s),
        "database_back_s": _spread(faults.database_back_s),
        "act_s": _spread(clients.record.act_s),
        "acts_retried": clients.record.retried,
        "asked": {str(s): sum(each.status == s for each in asked) for s in statuses},
        "answered_but_not_audited": verdict.unaudited,
        "checked": verdict.checked,
        "broken": verdict.broken[:20],
        "broken_count": len(verdict.broken),
        "other_gateway_older": {
            "cases": len(verdict.behind),
            "longest_s": round(max(verdict.behind, default=0.0), 3),
            "bound_s": plan.lease_s + margin(plan.lease_s),
        },
        "lease_s": plan.lease_s,
        "seed": plan.seed,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and most."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": round(ordered[last // 2], 3),
        "p99": round(ordered[int(last * 0.99)], 3),
        "max": round(ordered[-1], 3),
    }


def main() -> None:
    """Run and report; status 1 where a promise was broken."""
    plan = Plan()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("acts", "kills", "crashes", "seed", "limit_s"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(plan, name))
    arguments = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(Plan(**arguments), Path(folder)))
    text = json.dumps(result, indent=2)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "replicas.json").write_text(text + "\n")
    if result["broken_count"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
