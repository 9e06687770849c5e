"""``python -m benchmarks.engine.throughput``: tokens a second under each guard, against stock vLLM.

Two engines are up at a time, stock and guarded, and run the same requests in turns.  A figure is
the median over rounds of the ratio within a round; ids without edits must be those of stock vLLM.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine.policies import CONFIGURATIONS, MODEL, artifacts, edits, signed
from benchmarks.engine.shapes import SHAPES, made
from service.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"
PROMPT, CONCURRENCY = 96, (1, 8, 32)
BARS = {"no policy": 0.98, "corruption": 0.95, "steering": 0.95, "token filter": 0.95, "all": 0.9}
"""What we aim for.  Steering everywhere has none: it shows what steering a layer costs."""


class Engine:
    """One engine in a process of its own."""

    def __init__(self, how: dict[str, Any], environment: dict[str, str], log: Path) -> None:
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.engine.driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the engine's process has no pipes")
        self._asks, self._answers = self._process.stdin, self._process.stdout
        self._log = log
        self.facts: dict[str, str] = self.ask(how)

    def ask(self, job: dict[str, Any]) -> Any:
        """Hand in a job and wait for its result."""
        print(json.dumps(job), file=self._asks, flush=True)
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"the engine ended: {self._log.read_text()[-2000:]}")
        return json.loads(line)

    def stop(self) -> None:
        """End it."""
        self._asks.close()
        self._process.wait(60)


class Bench:
    """Both engines, and the artifacts.  folder: for all that is made."""

    def __init__(self, name: str, folder: Path, runner: str, tokens: int) -> None:
        shape = SHAPES[name]
        self.model = model = made(shape, folder / f"model-{name}")
        settings = Settings(data_dir=folder / "data", model=model, served_model_name=MODEL)
        self._key, self.tokens = settings.engine_key(), tokens
        self._vocabulary = shape.vocabulary
        self._rng = np.random.default_rng(0)
        self.artifacts = settings.artifact_store()
        self.made = artifacts(shape, model, self.artifacts)
        llm = {
            "model": str(model),
            "max_model_len": 512,
            "skip_tokenizer_init": True,
            "dtype": shape.dtype,
            "max_num_seqs": max(CONCURRENCY),
            "gpu_memory_utilization": 0.4,
        }
        environment = {
            **settings.environment(),
            "VLLM_PLUGINS": "lethe",
            "VLLM_CACHE_ROOT": str(folder / "cache"),
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "HF_HUB_OFFLINE": "1",
        }
        if runner:
            environment["VLLM_USE_V2_MODEL_RUNNER"] = str(int(runner == "v2"))
        self.engines = {
            kind: Engine({"llm": llm, "guarded": guarded}, environment, folder / f"{kind}.log")
            for kind, guarded in (("stock", False), ("guarded", True))
        }

    def pair(self, configuration: str, concurrency: int) -> tuple[float, float, bool]:
        """Tokens a second of stock and of ours, and whether they said the same."""
        requests = [self.request(configuration) for _ in range(concurrency)]
        plain = [{**request, "field": ""} for request in requests]
        ran = {}
        # Whoever goes first is drawn anew, so that a drift of the machine falls on both.
        order = ["stock", "guarded"]
        self._rng.shuffle(order)
        for kind in order:
            asked = plain if kind == "stock" else requests
            ran[kind] = self.engines[kind].ask({"requests": asked, "tokens": self.tokens})
        total = concurrency * self.tokens
        stock, guarded = (total / ran[kind]["seconds"] for kind in ("stock", "guarded"))
        return stock, guarded, ran["stock"]["ids"] == ran["guarded"]["ids"]

    def request(self, configuration: str) -> dict[str, Any]:
        """A prompt of random ids, signed with that configuration's edits."""
        ids = self._rng.integers(300, self._vocabulary, PROMPT).tolist()
        salt = self._rng.bytes(8).hex()
        chosen = edits(configuration, self.made, PROMPT)
        return {"ids": ids, "salt": salt, "field": signed(ids, salt, self._key, chosen)}

    def stop(self) -> None:
        """End both engines."""
        for engine in self.engines.values():
            engine.stop()


def measured(
    bench: Bench,
    rounds: int,
    concurrencies: Sequence[int] = CONCURRENCY,
    configurations: Sequence[str] = CONFIGURATIONS,
) -> list[dict[str, Any]]:
    """One row for each configuration and concurrency."""
    rows = []
    for concurrency in concurrencies:
        for configuration in configurations:
            bench.pair(configuration, concurrency)  # warm
        found: dict[str, list[tuple[float, float, bool]]] = {c: [] for c in configurations}
        for _ in range(rounds):
            for configuration in configurations:
                found[configuration].append(bench.pair(configuration, concurrency))
        for configuration, pairs in found.items():
            rows.append(_row(configuration, concurrency, pairs))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _row(
    configuration: str, concurrency: int, pairs: list[tuple[float, float, bool]]
) -> dict[str, Any]:
    ratios = sorted(ours / stock for stock, ours, _ in pairs)
    row = {
        "configuration": configuration,
        "concurrency": concurrency,
        "stock tokens/s": round(statistics.median(stock for stock, _, _ in pairs), 1),
        "ours tokens/s": round(statistics.median(ours for _, ours, _ in pairs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "least": round(ratios[0], 3),
        "most": round(ratios[-1], 3),
        "aim": BARS.get(configuration),
    }
    if configuration == "no policy":
        row["same ids as stock"] = all(same for _, _, same in pairs)
    return row


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCY)
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=CONFIGURATIONS)
    parser.add_argument("--runner", choices=("", "v1", "v2"), default="")
    parser.add_argument("--folder", type=Path, help="for models and caches; default: temporary")
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as temporary:
        bench = Bench(given.shape, given.folder or Path(temporary), given.runner, given.tokens)
        try:
            rows = measured(bench, given.rounds, given.concurrency, given.only)
            facts = bench.engines["guarded"].facts
        finally:
            bench.stop()
    result = {"shape": given.shape, "engine": facts, "rounds": given.rounds, "rows": rows}
    path = given.result or RESULTS / f"engine-{given.shape}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
