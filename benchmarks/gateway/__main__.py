"""``python -m benchmarks.gateway``: the gateway beside a bare relay and LiteLLM's proxy.

One upstream that costs next to nothing; in front of it, in turns within one run: nothing, a
raw-ASGI relay, Lethe with 10 and with 100,000 policies that name somebody, and LiteLLM's proxy
where its command is given.  Processor time is read from the kernel over a fixed number of finished
requests, which other load on the machine changes much less than it changes the clock.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.detection import invented_word
from benchmarks.gateway.fill import fill
from benchmarks.gateway.load import (
    CONCURRENT,
    Client,
    Target,
    hops,
    latencies,
    many,
    p,
    resident_mib,
)
from benchmarks.gateway.upstream import CHUNKS
from service.cli.processes import free_port, running, until_up
from service.cli.stack import bootstrap_key, gateway_running
from service.settings import Settings

RESULTS = Path(__file__).parents[1] / "results" / "gateway.json"
KEY = "sk-benchmark"


@dataclass
class Figures:
    """One target's figures, one of each list for a round.  Microseconds and milliseconds."""

    request_us: list[float] = field(default_factory=list)
    burst_chunk_us: list[float] = field(default_factory=list)
    paced_chunk_us: list[float] = field(default_factory=list)
    latency_p50_ms: list[float] = field(default_factory=list)
    latency_p99_ms: list[float] = field(default_factory=list)
    hop_p50_ms: list[float] = field(default_factory=list)
    hop_p99_ms: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """The median of each over the rounds; requests a second of one whole core."""
        found = {name: round(median(values), 3) for name, values in vars(self).items() if values}
        return {**found, "requests_per_core_s": round(1e6 / found["request_us"])}


def main() -> None:
    """Run it and print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind and round")
    parser.add_argument("--policies", type=int, nargs="*", default=[10, 100_000])
    parser.add_argument("--litellm", type=Path, help="its command, from an environment of its own")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-gateway-") as folder, ExitStack() as stack:
        targets = started(Path(folder), arguments.policies, arguments.litellm, stack)
        figures = asyncio.run(measured(targets, arguments.rounds, arguments.requests))
    summary = {name: each.summary() for name, each in figures.items()}
    arguments.output.write_text(json.dumps(summary, indent=2) + "\n")
    print(table(summary))


async def measured(targets: Sequence[Target], rounds: int, requests: int) -> dict[str, Figures]:
    """Every target in each round, in an order that changes."""
    figures = {target.name: Figures() for target in targets}
    for target in targets:
        await many(target, 64, Client.whole, CONCURRENT)
    rng = random.Random(0)
    for number in range(rounds):
        for target in rng.sample(list(targets), len(targets)):
            print(f"round {number + 1}: {target.name}", file=sys.stderr)
            await one_round(target, figures[target.name], _fewer(requests, target))
    return figures


async def one_round(target: Target, into: Figures, requests: int) -> None:
    """All kinds of questions."""
    whole = await many(target, requests, Client.whole, CONCURRENT)
    into.request_us.append(whole.cpu_us / requests)
    streams = max(8, requests // 10)
    burst = await many(target, streams, Client.streamed, CONCURRENT)
    into.burst_chunk_us.append(burst.cpu_us / (streams * CHUNKS))
    late, spent = await hops(target, max(4, requests // 100))
    into.paced_chunk_us.append(spent.cpu_us / (max(4, requests // 100) * CHUNKS))
    into.hop_p50_ms.append(p(late, 0.5))
    into.hop_p99_ms.append(p(late, 0.99))
    took = await latencies(target, max(20, requests // 10))
    into.latency_p50_ms.append(p(took, 0.5))
    into.latency_p99_ms.append(p(took, 0.99))
    into.resident_mib.append(resident_mib(target.pids()))


def _fewer(requests: int, target: Target) -> int:
    return max(80, requests // 10) if target.name == "litellm" else requests


# --- the targets ---------------------------------------------------------------------------------


def started(
    folder: Path, policies: Sequence[int], litellm: Path | None, stack: ExitStack
) -> list[Target]:
    """Everything, up.  Raises StartFailed."""
    key = folder / "engine.key"
    key.write_text("k" * 64)
    port = free_port()
    upstream = f"http://127.0.0.1:{port}"
    mock = stack.enter_context(
        running("benchmarks.gateway.upstream", folder / "up.log", arguments=[str(port), str(key)])
    )
    until_up(f"{upstream}/lethe/status", mock, folder / "up.log", 30)
    targets = [Target("direct", upstream, upstream, _tree(mock))]
    targets.append(stack.enter_context(_relay(folder, upstream)))
    lethes = (_lethe(folder, key, upstream, count) for count in policies)
    targets += [stack.enter_context(each) for each in lethes]
    if litellm is not None:
        targets.append(stack.enter_context(_litellm(folder, upstream, litellm)))
    return targets


@contextmanager
def _relay(folder: Path, upstream: str) -> Iterator[Target]:
    port = free_port()
    options = ["benchmarks.gateway.relay:app", "--port", str(port), "--no-access-log"]
    log = folder / "relay.log"
    with running("uvicorn", log, {"UPSTREAM": upstream}, options) as process:
        url = f"http://127.0.0.1:{port}"
        until_up(f"{url}/lethe/status", process, log, 30)
        yield Target("relay", url, upstream, _tree(process))


@contextmanager
def _lethe(folder: Path, key: Path, upstream: str, policies: int) -> Iterator[Target]:
    given = {
        "data_dir": folder / f"lethe-{policies}",
        "engine_key_file": key,
        "engine_url": upstream,
        "port": free_port(),
        "admin_port": free_port(),
        "log_level": "WARNING",
    }
    settings = Settings().model_copy(update=given)
    rng = random.Random(policies)
    names = (f"{invented_word(rng)} {invented_word(rng)} {number}" for number in range(policies))
    fill(settings, names)
    with gateway_running(settings) as process:
        api_key = bootstrap_key(settings.data_dir, "data")
        url = f"http://{settings.host}:{settings.port}"
        yield Target(f"lethe, {policies:,} policies", url, upstream, _tree(process), api_key)


@contextmanager
def _litellm(folder: Path, upstream: str, command: Path) -> Iterator[Target]:
    config = folder / "litellm.json"
    model = {"model": "openai/demo", "api_base": f"{upstream}/v1", "api_key": "none"}
    said = {
        "model_list": [{"model_name": "demo", "litellm_params": model}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "general_settings": {"master_key": KEY},
    }
    config.write_text(json.dumps(said))
    port, log = free_port(), folder / "litellm.log"
    words = [str(command), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    environment = {**os.environ, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  (the operator named it)
            words, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        until_up(f"http://127.0.0.1:{port}/health/liveliness", process, log, 180)
        yield Target("litellm", f"http://127.0.0.1:{port}", upstream, _tree(process), KEY)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tree(process: subprocess.Popen[bytes]) -> Callable[[], list[int]]:
    """The process and all that it started, now."""

    def pids() -> list[int]:
        found, looked = [process.pid], 0
        while looked < len(found):
            for task in Path(f"/proc/{found[looked]}/task").glob("*/children"):
                found += map(int, task.read_text().split())
            looked += 1
        return found

    return pids


def table(summary: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    heads = list(next(iter(summary.values())))
    rows = [["", *heads], ["---"] * (len(heads) + 1)]
    rows += [[name, *(f"{each[head]:g}" for head in heads)] for name, each in summary.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
