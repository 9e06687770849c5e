"""The measured promises, on real vLLM: `python -m benchmarks.acceptance` (about 20 minutes).

Three engines are run one after the other: stock vLLM with the demo model, stock vLLM with its
never-knew twin, and Lethe. The same probes go to each. Results: benchmarks/results/acceptance.json
and a readable summary beside it.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI

from benchmarks.endpoint import CHAT, COMPLETIONS, WAYS, ask, ask_all, quantile
from benchmarks.stock_vllm import stock_vllm
from models.demo.corpus import Probe, held_out_probes, near_miss_probes
from models.demo.world import Person, World, make_world, plain
from service.cli.processes import free_port
from service.cli.stack import bootstrap_key, engine_running, gateway_running
from service.settings import Settings

WEIGHTS = Path(__file__).parent.parent / "models/demo/weights"
RESULTS = Path(__file__).parent / "results"
PATIENCE: Mapping[str, Any] = {"timeout": 30, "max_retries": 3}  # every question may be put again
ROUNDS = 50
STREAMS = 8


def leaks(probe: Probe, answer: str) -> bool:
    """Whether the answer states the probe's fact (for a reverse probe: the name)."""
    if probe.fact is None:
        return False
    if probe.reverse:
        return plain(probe.fact.value) in plain(answer)
    return probe.fact.stated_in(answer)


@contextmanager
def stock(name: str, folder: Path) -> Iterator[AsyncOpenAI]:
    """vLLM without any plugin, serving the demo model or its twin."""
    url = f"http://127.0.0.1:{free_port()}"
    with stock_vllm(WEIGHTS / name, url, folder / f"stock-{name}.log"):
        yield AsyncOpenAI(base_url=f"{url}/v1", api_key="-", **PATIENCE)


@dataclass(frozen=True)
class Lethe:
    """A running engine and gateway."""

    client: AsyncOpenAI
    admin: httpx.AsyncClient

    async def forget(self, person: Person) -> str:
        """File a forget request; its id."""
        body = {"subject": person.name, "aliases": list(person.aliases)}
        answer = await self.admin.post("/v1/forget_requests", json=body)
        return str(answer.raise_for_status().json()["id"])

    async def revoke(self, request_id: str) -> None:
        """Revoke it."""
        (await self.admin.delete(f"/v1/forget_requests/{request_id}")).raise_for_status()


@contextmanager
def lethe(folder: Path) -> Iterator[Lethe]:
    """Engine and gateway with the demo model on free ports."""
    settings = Settings(
        data_dir=folder,
        port=free_port(),
        admin_port=free_port(),
        engine_url=f"http://127.0.0.1:{free_port()}",
    )
    with engine_running(settings), gateway_running(settings):
        key, admin_key = (bootstrap_key(folder, plane) for plane in ("data", "admin"))
        yield Lethe(
            AsyncOpenAI(base_url=f"http://127.0.0.1:{settings.port}/v1", api_key=key, **PATIENCE),
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{settings.admin_port}",
                headers={"authorization": f"Bearer {admin_key}"},
                timeout=30,
            ),
        )


async def enforcement(system: Lethe, world: World) -> dict[str, Any]:
    """POST-to-enforced and DELETE-to-restored while streams run, each checked by a question."""
    stop = asyncio.Event()
    streams = [asyncio.create_task(_keep_streaming(system, world, stop)) for _ in range(STREAMS)]
    forgot, restored, wrong = [], [], 0
    for number in range(ROUNDS):
        person = world.kept[number % len(world.kept)]
        fact = person.fact("birth_town")
        probe = Probe(
            [{"role": "user", "content": f"Where was {person.name} born?"}], "", "direct", fact
        )
        known = fact.stated_in(await ask(system.client, "demo", probe, CHAT))
        begin = time.perf_counter()
        request_id = await system.forget(person)
        forgot.append(time.perf_counter() - begin)
        wrong += leaks(probe, await ask(system.client, "demo", probe, CHAT))
        begin = time.perf_counter()
        await system.revoke(request_id)
        restored.append(time.perf_counter() - begin)
        wrong += known != leaks(probe, await ask(system.client, "demo", probe, CHAT))
    stop.set()
    streamed = sum(await asyncio.gather(*streams))
    return {
        "rounds": ROUNDS,
        "streams": STREAMS,
        "answers streamed meanwhile": streamed,
        "wrong answers directly after": wrong,
        "POST to enforced, s": _spread(forgot),
        "DELETE to restored, s": _spread(restored),
    }


async def _keep_streaming(system: Lethe, world: World, stop: asyncio.Event) -> int:
    probes, count = near_miss_probes(world), 0
    while not stop.is_set():
        await ask(system.client, "demo", probes[count % len(probes)], WAYS[1])
        count += 1
    return count


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    named = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(quantile(seconds, q), 4) for name, q in named.items()}


async def acceptance(folder: Path) -> dict[str, Any]:
    """Everything, in one run."""
    world = make_world()
    probes, near = held_out_probes(world, world.forgotten), near_miss_probes(world)
    with stock("demo", folder) as client:
        knew = await ask_all(client, "demo", probes, CHAT, "stock vLLM, forget probes")
        knew_text = await ask_all(client, "demo", probes, COMPLETIONS, "stock vLLM, forget probes")
        before = {
            way: await ask_all(client, "demo", near, way, "stock vLLM, near misses")
            for way in (CHAT, COMPLETIONS)
        }
    with stock("demo-never-knew", folder) as client:
        never = await ask_all(client, "demo", probes, CHAT, "never-knew twin")
        never_text = await ask_all(client, "demo", probes, COMPLETIONS, "never-knew twin")
    with lethe(folder / "lethe") as system:
        timing = await enforcement(system, world)
        for person in world.forgotten:
            await system.forget(person)
        forgot = {
            way: await ask_all(system.client, "demo", probes, way, "Lethe, forget probes")
            for way in WAYS
        }
        kept = {
            way: await ask_all(system.client, "demo", near, way, "Lethe, near misses")
            for way in WAYS
        }
    return {
        "forget probes": len(probes),
        "stock vLLM states the fact": {
            "chat": _rate(probes, knew),
            "completions": _rate(probes, knew_text),
        },
        "never-knew twin states the fact": {
            "chat": _rate(probes, never),
            "completions": _rate(probes, never_text),
        },
        "Lethe states the fact": {way.name: _rate(probes, forgot[way]) for way in WAYS},
        "leaks": [
            _shown(probe, answer)
            for way in WAYS
            for probe, answer in zip(probes, forgot[way], strict=True)
            if leaks(probe, answer)
        ],
        "streamed equals joined": forgot[WAYS[0]] == forgot[WAYS[1]]
        and forgot[WAYS[2]] == forgot[WAYS[3]],
        "same words as the twin": {
            "chat": _same(forgot[CHAT], never),
            "completions": _same(forgot[COMPLETIONS], never_text),
        },
        "near misses": len(near),
        "near misses identical to stock vLLM": {
            way.name: _same(kept[way], before[CHAT if way.chat else COMPLETIONS]) for way in WAYS
        },
        "near misses that differ": [
            {"family": probe.family, "prompt": probe.prompt, "stock": theirs, "lethe": ours}
            for way in (CHAT, COMPLETIONS)
            for probe, theirs, ours in zip(near, before[way], kept[way], strict=True)
            if theirs != ours
        ],
        "enforcement": timing,
        "side by side": [
            {**_shown(probe, a), "twin": b, "before": c}
            for probe, a, b, c in list(zip(probes, forgot[CHAT], never, knew, strict=True))[::19]
        ],
    }


def _rate(probes: Sequence[Probe], answers: Sequence[str]) -> dict[str, float]:
    """How many state the fact, forwards and in reverse."""
    found: dict[str, float] = {}
    for label, reverse in (("forward", False), ("reverse", True)):
        hits = [leaks(p, a) for p, a in zip(probes, answers, strict=True) if p.reverse is reverse]
        found |= {label: sum(hits), f"{label} of": len(hits)}
    return found


def _same(ours: Sequence[str], theirs: Sequence[str]) -> float:
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    return round(equal / len(ours), 4)


def _shown(probe: Probe, answer: str) -> dict[str, str]:
    asked = probe.messages[-1]["content"]
    return {"family": probe.family, "asked": asked, "lethe": answer}


def main() -> int:
    """Run, write the results, and fail where a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="lethe-acceptance-") as folder:
        found = asyncio.run(acceptance(Path(folder)))
    (RESULTS / "acceptance.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    brief = {k: v for k, v in found.items() if k not in ("side by side", "leaks")}
    print(json.dumps(brief, indent=1, ensure_ascii=False))
    near = found["near misses identical to stock vLLM"].values()
    p99 = found["enforcement"]["POST to enforced, s"]["p99"]
    kept = not found["leaks"] and min(near) >= 0.995 and p99 < 1
    print("all promises kept" if kept else "A PROMISE IS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
