"""Every mechanism, many requests of each in one batch, on a real vLLM against the oracle.

Under chunked prefill, preemption and prefix caching.  The oracle is the in-process engine, which
visits one request after the other; ``test_edits_in_vllm`` holds that to plain transformers.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]
torch = pytest.importorskip("torch")

MODES = {
    "mechanisms-v1-eager": "mechanisms-stock-v1-eager",
    "mechanisms-v1-compiled": "mechanisms-stock-v1-compiled",
    "mechanisms-v2-eager": "mechanisms-stock-v2-eager",
}
EVERY_MODE = pytest.mark.parametrize("mode", MODES)
TOLERANCE = 2e-3  # nats, of the chosen token's log probability


@pytest.fixture(scope="module")
def oracle(bench: Any, mechanisms: Any) -> list[Any]:
    """For each job, greedy tokens and the log probability of each before logits were edited."""
    from models.local_engine import Interventions, LocalEngine, Sampling
    from service.admission import CheckedArtifacts
    from service.local.edits import bindings_of, interventions

    engine = LocalEngine.load(bench.model)
    bindings = bindings_of(engine, CheckedArtifacts(bench.artifacts))
    sampling = Sampling(max_tokens=bench.tokens, ignore_eos=True)
    found = []
    for index, job in enumerate(mechanisms):
        acting = interventions(job.edits, bindings, len(job.ids), key=str(index))
        seen: list[Any] = []
        hooks = Interventions(acting.embedding, acting.activations, _recorder(acting.logits, seen))
        tokens = list(engine.generate(job.ids, sampling, hooks))
        found.append((tokens, [float(row[t]) for row, t in zip(seen, tokens, strict=True)]))
    return found


def _recorder(edit: Any, seen: list[Any]) -> Any:
    def recorded(row: Any, prompt: Any, output: Any) -> None:
        seen.append(row.clone().log_softmax(-1))
        if edit is not None:
            edit(row, prompt, output)

    return recorded


def compared(mechanisms: Any, mode: str) -> list[tuple[int, Any]]:
    """The jobs that this mode runs, numbered among all."""
    return [(i, job) for i, job in enumerate(mechanisms) if job.v2 or "v2" not in mode]


@EVERY_MODE
def test_all_mechanisms_in_one_batch_give_the_tokens_of_the_oracle(
    ran: Callable[[str], Any], mechanisms: Any, oracle: list[Any], mode: str
) -> None:
    guarded = ran(mode)
    assert guarded.code == 0, guarded.log[-4000:]
    assert guarded.result["preemptions"] > 0
    assert guarded.result["prefix_hits"] > 0
    counts = guarded.result["status"]["counts"]
    assert not [name for name in counts if name.startswith("dark")]
    assert ("edited_on_device" in counts) == ("v2" in mode)
    assert "left_the_device" not in counts
    wrong: Counter[str] = Counter()
    for round_ in guarded.result["rounds"]:
        for answer, (index, job) in zip(round_, compared(mechanisms, mode), strict=True):
            wrong[job.name] += answer["ids"] != oracle[index][0]
    assert not +wrong


@EVERY_MODE
def test_log_probabilities_are_those_of_the_oracle(
    ran: Callable[[str], Any], mechanisms: Any, oracle: list[Any], mode: str
) -> None:
    furthest = 0.0
    for round_ in ran(mode).result["rounds"]:
        for answer, (index, _) in zip(round_, compared(mechanisms, mode), strict=True):
            found = [
                float.fromhex(dict(step)[token])
                for token, step in zip(answer["ids"], answer["logprobs"], strict=True)
            ]
            furthest = max(furthest, float(np.abs(np.subtract(found, oracle[index][1])).max()))
    assert furthest < TOLERANCE


@EVERY_MODE
def test_clean_requests_among_them_are_bit_identical_to_stock_vllm(
    ran: Callable[[str], Any], mechanisms: Any, mode: str
) -> None:
    stock, guarded = ran(MODES[mode]), ran(mode)
    assert stock.code == 0, stock.log[-4000:]
    jobs = compared(mechanisms, mode)
    places = [at for at, (_, job) in enumerate(jobs) if job.name == "clean"]
    assert len(places) >= 2
    for before, after in zip(stock.result["rounds"], guarded.result["rounds"], strict=True):
        assert [after[i] for i in places] == [before[i] for i in places]


def test_each_mechanism_changed_what_was_said(mechanisms: Any, oracle: list[Any]) -> None:
    """Otherwise the comparisons above would prove nothing."""
    said: dict[str, list[bool]] = {}
    for job, (tokens, _) in zip(mechanisms, oracle, strict=True):
        said.setdefault(job.name, []).append(tokens != job.plain)
    assert not any(said.pop("clean"))
    changed = {name: float(np.mean(each)) for name, each in said.items()}
    assert all(share > 0.4 for share in changed.values()), changed
    assert all(len(each) >= 20 for each in said.values())
