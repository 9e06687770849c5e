"""``python -m benchmarks.engine.gpu``: on a machine with a GPU and vLLM for CUDA, all in one run.

Model Runner V2 with CUDA graphs: first that guarded answers are the oracle's and clean ones those
of stock vLLM, on a random model in float32; then the ratios of ``throughput`` on a model of
Llama-3-8B's shape.  Equality on a GPU is up to kernels that add in another order: reported is how
many answers agree in every token, and the largest difference where stock and oracle agree.
With ``--shapes tiny tiny`` it runs on a CPU, to be tried out.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine.policies import CONFIGURATIONS, edits
from benchmarks.engine.shapes import SHAPES
from benchmarks.engine.throughput import PROMPT, RESULTS, Bench, measured
from models.local_engine import LocalEngine, Sampling
from service.admission import CheckedArtifacts
from service.local.edits import bindings_of, interventions

PROMPTS = 20


def equalities(bench: Bench, dtype: str) -> dict[str, Any]:
    """For each configuration, how many of its answers are the oracle's, token for token."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    oracle = LocalEngine.load(bench.model, getattr(torch, dtype), device)
    bindings = bindings_of(oracle, CheckedArtifacts(bench.artifacts))
    found: dict[str, Any] = {}
    for configuration in CONFIGURATIONS:
        requests = [bench.request(configuration) for _ in range(PROMPTS)]
        plain = [{**request, "field": ""} for request in requests]
        stock = bench.engines["stock"].ask({"requests": plain, "tokens": bench.tokens})["ids"]
        ours = bench.engines["guarded"].ask({"requests": requests, "tokens": bench.tokens})["ids"]
        acting = [
            interventions(edits(configuration, bench.made, PROMPT), bindings, PROMPT, str(index))
            for index in range(PROMPTS)
        ]
        sampling = Sampling(max_tokens=bench.tokens, ignore_eos=True)
        wanted = [
            list(oracle.generate(request["ids"], sampling, how))
            for request, how in zip(requests, acting, strict=True)
        ]
        found[configuration] = {
            "prompts": PROMPTS,
            "tokens each": bench.tokens,
            "same as the oracle": sum(a == b for a, b in zip(ours, wanted, strict=True)),
            "same as stock": sum(a == b for a, b in zip(ours, stock, strict=True)),
        }
        print(json.dumps({configuration: found[configuration]}), flush=True)
    return found


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs=2, choices=SHAPES, default=("middle", "llama-3-8b"))
    parser.add_argument("--runner", choices=("v1", "v2"), default="v2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="for models and caches; default: temporary")
    parser.add_argument("--result", type=Path, default=RESULTS / "engine-gpu.json")
    given = parser.parse_args()
    exact, fast = given.shapes
    with tempfile.TemporaryDirectory(prefix="lethe-gpu-") as temporary:
        folder = given.folder or Path(temporary)
        bench = Bench(exact, folder, given.runner, tokens=40)
        try:
            found = equalities(bench, SHAPES[exact].dtype)
            facts = bench.engines["guarded"].facts
        finally:
            bench.stop()
        bench = Bench(fast, folder, given.runner, tokens=64)
        try:
            rows = measured(bench, given.rounds)
        finally:
            bench.stop()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    result = {
        "device": name,
        "engine": facts,
        "equalities": {"shape": exact, **found},
        "throughput": {"shape": fast, "rounds": given.rounds, "rows": rows},
    }
    given.result.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
