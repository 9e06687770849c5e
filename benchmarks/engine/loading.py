"""``python -m benchmarks.engine.loading``: does a stream wait while a large policy is loaded?

A guarded engine streams one long answer after another while a token filter of ten thousand phrases
is opened ahead, by the route that gateways use before they serve an epoch.  Figures are gaps
between two chunks of the stream, with and without a load under way, in the same run; a load's
*wait* is by how much its longest gap exceeds the median of those without a load.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.engine.policies import MODEL, phrases, signed
from benchmarks.engine.shapes import SHAPES, made
from benchmarks.engine.throughput import RESULTS
from guards import token_filter
from guards.vocabulary import Vocabulary
from models.vocabulary import read_tokenizer
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, new_nonce, sign_nonce
from service.cli.processes import free_port
from service.cli.stack import engine_running
from service.settings import Settings

PATH, STATUS = "/lethe/preload", "/lethe/status"
TOKENS = 256
LIMIT_MS = 20


def gaps(settings: Settings, key: bytes, seed: int) -> Iterator[tuple[float, float]]:
    """When each chunk of one streamed answer came, and the seconds since the one before."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(300, 3_000, 32).tolist()
    salt = rng.bytes(8).hex()
    body = {
        "model": MODEL,
        "prompt": ids,
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "cache_salt": salt,
        "vllm_xargs": {"lethe": signed(ids, salt, key, ())},
    }
    last = None
    with httpx.stream(
        "POST", f"{settings.engine_url}/v1/completions", json=body, timeout=120
    ) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                now = time.perf_counter()
                if last is not None:
                    yield now, now - last
                last = now


def headers(key: bytes, path: str) -> dict[str, str]:
    """What shows that a gateway asks."""
    nonce = new_nonce()
    return {NONCE_HEADER: nonce, SIGNATURE_HEADER: sign_nonce(key, path, nonce)}


def load(settings: Settings, key: bytes, digest: str) -> tuple[float, float]:
    """Have the artifact opened; when that began and ended."""
    body = {"artifacts": [["token_filter", digest]]}
    signed_by = headers(key, PATH)
    began = time.perf_counter()
    answer = httpx.post(f"{settings.engine_url}{PATH}", json=body, headers=signed_by, timeout=120)
    answer.raise_for_status()
    if not answer.json()["ready"]:
        raise RuntimeError("the engine did not open the artifact")
    return began, time.perf_counter()


def measured(settings: Settings, key: bytes, digests: list[str]) -> dict[str, Any]:
    """Gaps of a stream during loads and in between."""
    seen: list[tuple[float, float]] = []
    stop = threading.Event()

    def stream() -> None:
        seed = 0
        while not stop.is_set():
            seed += 1
            seen.extend(gaps(settings, key, seed))

    # As a gateway does before anything else.
    httpx.get(f"{settings.engine_url}{STATUS}", headers=headers(key, STATUS)).raise_for_status()
    thread = threading.Thread(target=stream)
    thread.start()
    time.sleep(3)
    seen.clear()
    loads = []
    for digest in digests:
        loads.append(load(settings, key, digest))
        time.sleep(2)
    stop.set()
    thread.join()

    def within(load: tuple[float, float]) -> list[float]:
        began, ended = load
        return [1e3 * gap for at, gap in seen if began <= at and at - gap <= ended]

    inside = [within(load) for load in loads]
    outside = sorted(
        1e3 * gap
        for at, gap in seen
        if not any(began <= at and at - gap <= ended for began, ended in loads)
    )
    usual = statistics.median(outside)
    waits = sorted(max(gaps) - usual for gaps in inside)
    return {
        "loads": len(loads),
        "load ms": [round(1e3 * (ended - began)) for began, ended in loads],
        "median gap ms": round(usual, 2),
        "99th percentile of gaps without a load ms": round(outside[len(outside) * 99 // 100], 2),
        "longest gap without a load ms": round(outside[-1], 2),
        "longest gap of each load ms": [round(max(gaps), 2) for gaps in inside],
        "median wait of a load ms": round(statistics.median(waits), 2),
        "longest wait of a load ms": round(waits[-1], 2),
        "chunks during loads": sum(map(len, inside)),
        "limit ms": LIMIT_MS,
    }


def main() -> None:
    """Measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--loads", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="for models and caches; default: temporary")
    given = parser.parse_args()
    shape = SHAPES[given.shape]
    with tempfile.TemporaryDirectory(prefix="lethe-loading-") as temporary:
        folder = given.folder or Path(temporary)
        model = made(shape, folder / f"model-{given.shape}")
        settings = Settings().model_copy(
            update={
                "data_dir": folder / "data",
                "model": model,
                "served_model_name": MODEL,
                "max_model_len": 512,
                "engine_url": f"http://127.0.0.1:{free_port()}",
            }
        )
        store = settings.artifact_store()
        vocabulary = Vocabulary(*read_tokenizer(model, shape.vocabulary), shape.vocabulary)
        tables = token_filter.compiled(phrases(), vocabulary)[1]
        digests = []
        for _ in range(given.loads):  # the same tables under different digests
            manifest, _tables = token_filter.compiled(["nobody at all"], vocabulary)
            digests.append(store.put(manifest, tables, sealed=True))
        with engine_running(settings):
            result = measured(settings, settings.engine_key(), digests)
    result = {"shape": given.shape, **result}
    print(json.dumps(result, indent=1))
    (RESULTS / "engine-loading.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
