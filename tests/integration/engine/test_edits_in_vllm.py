"""Mixed batches on a real vLLM, under chunked prefill, preemption and prefix caching."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from guards.embedding_corruption import EmbeddingCorruption
from models.artifact import Artifact

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Each guarded engine with the stock one that computes alike.
MODES = {
    "v1-eager": "stock-v1-eager",
    "v1-compiled": "stock-v1-compiled",
    "v1-piecewise": "stock-v1-piecewise",
    "v2-eager": "stock-v2-eager",
}
EVERY_MODE = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def oracle(bench: Any, batch: list[Any]) -> list[list[int]]:
    """Greedy tokens of plain transformers, without cache, the edits applied by a hook."""
    model = transformers.AutoModelForCausalLM.from_pretrained(bench.model).eval()
    scale = float(model.get_input_embeddings().weight.detach().square().mean().sqrt())
    # What goes dark ends its answer: here the end token is said on, as asked.
    end = model.config.eos_token_id
    return [
        [end] * bench.tokens if job.dark else _greedy(model, job, scale, bench.tokens)
        for job in batch
    ]


def _greedy(model: Any, job: Any, scale: float, count: int) -> list[int]:
    def hook(module: Any, args: Any, output: Any) -> Any:
        changed = output.clone()
        if job.manifest:
            artifact = Artifact("", job.manifest, {})
            for position in (p for span in ((10, 20), (40, 52)) for p in range(*span)):
                row = output[0, position : position + 1]
                at = np.array([position])
                changed[0, position] = EmbeddingCorruption.on_embedding(row, at, artifact, scale)
        return changed

    handle = model.get_input_embeddings().register_forward_hook(hook)
    tokens = list(job.ids)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    handle.remove()
    return tokens[len(job.ids) :]


def ids(round_: list[Any]) -> list[list[int]]:
    return [answer["ids"] for answer in round_]


@EVERY_MODE
def test_the_engine_came_up_in_the_wanted_mode(ran: Callable[[str], Any], mode: str) -> None:
    guarded = ran(mode)
    assert guarded.code == 0, guarded.log[-4000:]
    runner, how = mode.split("-")
    assert guarded.result["runner"] == runner.upper()
    modes = {"eager": "NONE", "compiled": "DYNAMO_TRACE_ONCE", "piecewise": "VLLM_COMPILE"}
    assert guarded.result["mode"] == modes[how]
    assert guarded.result["preemptions"] > 0
    assert guarded.result["prefix_hits"] > 0


@EVERY_MODE
def test_rows_without_edits_are_bit_identical_to_stock_vllm(
    ran: Callable[[str], Any], batch: list[Any], mode: str
) -> None:
    stock, guarded = ran(MODES[mode]), ran(mode)
    assert stock.code == 0, stock.log[-4000:]
    clean = [i for i, job in enumerate(batch) if not (job.manifest or job.dark)]
    assert len(clean) >= 2
    for before, after in zip(stock.result["rounds"], guarded.result["rounds"], strict=True):
        assert [after[i] for i in clean] == [before[i] for i in clean]


@EVERY_MODE
def test_edited_rows_give_the_tokens_of_the_oracle(
    ran: Callable[[str], Any], batch: list[Any], oracle: list[list[int]], mode: str
) -> None:
    for round_ in ran(mode).result["rounds"]:
        assert ids(round_) == oracle
    stock = ids(ran(MODES[mode]).result["rounds"][0])
    edited = [i for i, job in enumerate(batch) if job.manifest or job.dark]
    assert all(oracle[i] != stock[i] for i in edited)


@EVERY_MODE
def test_what_cannot_be_verified_or_fails_goes_dark_and_is_counted(
    ran: Callable[[str], Any], mode: str
) -> None:
    counts = ran(mode).result["status"]["counts"]
    # Two smuggled requests and two failing ones, in two rounds.
    assert counts["dark_refused"] == 4
    assert counts["dark_failed"] == 4
    assert "dark_unmapped" not in counts


@EVERY_MODE
def test_a_preempted_request_is_edited_again(
    ran: Callable[[str], Any], batch: list[Any], mode: str
) -> None:
    result = ran(mode).result
    assert result["preemptions"] > 0
    once = 22 * sum(1 for job in batch if job.manifest and not job.dark)
    assert result["status"]["counts"]["edited_rows"] > once, "nothing was computed twice"


@EVERY_MODE
def test_the_operators_ran_in_every_forward_pass(ran: Callable[[str], Any], mode: str) -> None:
    status = ran(mode).result["status"]
    assert status["calls"]["embedding"] > 40
    assert status["scale"] == pytest.approx(0.15, rel=0.05)


def test_the_in_process_engine_gives_the_same_tokens(
    bench: Any, batch: list[Any], oracle: list[list[int]]
) -> None:
    from models.local_engine.engine import LocalEngine
    from models.local_engine.interventions import Interventions
    from models.local_engine.sampling import Sampling

    engine = LocalEngine.load(bench.model)
    sampling = Sampling(temperature=0.0, max_tokens=bench.tokens, ignore_eos=True)
    for job, wanted in zip(batch, oracle, strict=True):
        if job.dark:
            continue
        acting = (
            Interventions(_acting(job, engine.embedding_rms)) if job.manifest else Interventions()
        )
        assert list(engine.generate(job.ids, sampling, acting)) == wanted


def _acting(job: Any, scale: float) -> Any:
    artifact = Artifact("", job.manifest, {})
    edited = np.array([*range(10, 20), *range(40, 52)])

    def act(rows: Any, positions: Any, history: Any) -> Any:
        at = np.flatnonzero(np.isin(positions, edited))
        if len(at):
            rows[at] = EmbeddingCorruption.on_embedding(rows[at], positions[at], artifact, scale)
        return rows

    return act
