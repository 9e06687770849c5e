"""Two tensor-parallel ranks on the CPU: edits that say they are right there are."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]
torch = pytest.importorskip("torch")

HERE = Path(__file__).parent
ANY_RANK = ("corruption", "persistent", "steering", "token filter", "head probe", "clean")
ONE_RANK = ("neuron adjust", "key space", "uld")


@pytest.fixture(scope="module")
def jobs(mechanisms: Any) -> list[Any]:
    """Three requests of each mechanism."""
    names = (*ANY_RANK, *ONE_RANK)
    return [job for name in names for job in [m for m in mechanisms if m.name == name][:3]]


@pytest.fixture(scope="module")
def ran(bench: Any, jobs: list[Any]) -> dict[bool, dict[str, Any]]:
    """By whether it was guarded, what two ranks did."""
    found = {}
    for guarded in (False, True):
        llm: dict[str, Any] = {
            "model": str(bench.model),
            "max_model_len": 512,
            "skip_tokenizer_init": True,
            "max_num_seqs": 12,
            "max_num_batched_tokens": 96,
            "tensor_parallel_size": 2,
            "enforce_eager": True,
            "async_scheduling": False,
        }
        if guarded:
            llm["worker_cls"] = "service.engine.worker.LetheWorker"
            llm["logits_processors"] = ["service.engine.logits_processor:LetheLogits"]
        job = {
            "llm": llm,
            "guarded": guarded,
            "tokens": bench.tokens,
            "requests": [{"ids": r.ids, "salt": r.salt, "field": r.field} for r in jobs],
        }
        asked, answer = (bench.root / f"parallel-{guarded}-{end}.json" for end in ("in", "out"))
        asked.write_text(json.dumps(job))
        with (bench.root / f"parallel-{guarded}.log").open("w") as log:
            command = [sys.executable, str(HERE / "parallel.py"), str(asked), str(answer)]
            # Without this vLLM wants a NUMA node for each rank.
            ranks = {"VLLM_CPU_OMP_THREADS_BIND": "0|1" if (os.cpu_count() or 1) > 1 else "0|0"}
            environment = {**os.environ, **bench.environment, **ranks}
            subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)  # noqa: S603
        found[guarded] = json.loads(answer.read_text())
    return found


def test_both_ranks_act(ran: dict[bool, dict[str, Any]]) -> None:
    status = ran[True]["status"]
    assert len(status) == 2
    assert [rank["capabilities"]["tensor_parallel"] for rank in status] == [2, 2]
    assert all(rank["counts"]["edited_rows"] > 0 for rank in status)


def test_clean_requests_are_those_of_stock_vllm(
    ran: dict[bool, dict[str, Any]], jobs: list[Any]
) -> None:
    for job, before, after in zip(jobs, ran[False]["ids"], ran[True]["ids"], strict=True):
        if job.name == "clean":
            assert before == after == job.plain


def test_edited_requests_are_those_of_the_oracle(
    bench: Any, ran: dict[bool, dict[str, Any]], jobs: list[Any]
) -> None:
    from service.local.oracle import oracle_tokens

    wrong = []
    for job, after in zip(jobs, ran[True]["ids"], strict=True):
        if job.name in ANY_RANK:
            wanted = oracle_tokens(
                bench.model, job.ids, job.edits, bench.artifacts, bench.tokens, ignore_eos=True
            )
            wrong += [job.name] * (after != wanted)
    assert not wrong


def test_what_needs_one_rank_goes_dark_and_says_so(
    ran: dict[bool, dict[str, Any]], jobs: list[Any]
) -> None:
    for job, after in zip(jobs, ran[True]["ids"], strict=True):
        if job.name in ONE_RANK:
            assert set(after) == {258}, "its answer ends"
    dark = sum(job.name in ONE_RANK for job in jobs)
    assert [rank["counts"]["dark_refused"] for rank in ran[True]["status"]] == [dark, dark]
