"""The guarded worker and its self-test, around a small torch model in place of vLLM's."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guards.case import digest_of_ids
from guards.needs import Capabilities
from guards.points import EngineModel
from guards.signed_edits import SignedEdits
from guards.vocabulary import Vocabulary
from models.artifact import ArtifactStore
from service.acting import Bindings
from service.admission import CheckedArtifacts

torch = pytest.importorskip("torch")

from service.engine import vllm_0_32 as seams  # noqa: E402 - these import torch
from service.engine.ops import SWITCHBOARD, define  # noqa: E402
from service.engine.rows import Requests, Rows  # noqa: E402
from service.engine.selftest import NotEffective, prove_effect  # noqa: E402
from service.engine.worker import Guarded  # noqa: E402

KEY = b"k" * 32
HIDDEN = 8
Module: Any = torch.nn.Module


class Layer(Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.mlp = torch.nn.Module()
        self.mlp.down_proj = torch.nn.Identity()

    def forward(self, positions: Any, hidden_states: Any, residual: Any) -> Any:
        return self.mlp.down_proj(hidden_states * 2), hidden_states


class Model(Module):  # type: ignore[misc]
    def __init__(self, layer: type[Any] = Layer) -> None:
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList([layer(), layer()])
        self.table = torch.randn(40, HIDDEN, generator=torch.Generator().manual_seed(0))

    def embed_input_ids(self, ids: Any) -> Any:
        return self.table[ids]

    def forward(self, ids: Any) -> Any:
        hidden, residual = self.embed_input_ids(ids), None
        for layer in self.model.layers:
            hidden, residual = layer(None, hidden, residual)
        return hidden


class Runner:
    """Warm-up batches and real ones, as vLLM's runners have them."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def _dummy_run(self, tokens: int, **_: Any) -> tuple[Any, None]:
        return self.model(torch.arange(tokens)), None

    def execute(self, map_batch: Callable[[], Iterator[Rows]], begin: Any, ids: Any) -> Any:
        begin(map_batch)
        return self.model(ids)


class Stock:
    """What a vLLM worker does with a step: here, whatever the test says."""

    use_v2_model_runner = False

    def execute_model(self, scheduler_output: Any) -> Any:
        return scheduler_output.run(self)


class Worker(Guarded, Stock):
    def __init__(self, store: ArtifactStore) -> None:
        define()
        self.model = Model()
        self.lethe_sites = seams.swap_layers(self.model)
        vocabulary = Vocabulary((b"a", b""), frozenset({1}), 2)
        model = EngineModel(2, 1.0, vocabulary, torch.device("cpu"), torch.float32)
        capabilities = Capabilities(frozenset({"embedding"}), "V1")
        bindings = Bindings(CheckedArtifacts(store), model, capabilities)
        self.lethe_requests = Requests(KEY, bindings)
        self.lethe_preloaded = {}
        self.model_runner = Runner(self.model)


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(ArtifactStore(tmp_path))


def scheduled(run: Callable[[Any], Any], *new: Any, finished: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(finished_req_ids=set(finished), scheduled_new_reqs=new, run=run)


def signed_request(name: str, ids: list[int]) -> Any:
    made = SignedEdits("r", "m", 1, digest_of_ids(ids), len(ids), "salt", 0, ())
    params = SimpleNamespace(extra_args={"lethe": made.sign(KEY)})
    return SimpleNamespace(
        req_id=name,
        sampling_params=params,
        prompt_token_ids=ids,
        prompt_embeds=None,
        lora_request=None,
    )


def forward(worker: Worker, *rows: Rows, ids: tuple[int, ...] = (1, 2)) -> Callable[[Any], Any]:
    def run(_: Any) -> Any:
        worker._lethe_begin(lambda: iter(rows))
        return worker.model(torch.tensor(ids))

    return run


def test_a_signed_request_runs_unchanged(worker: Worker) -> None:
    plain = worker.model(torch.tensor([1, 2]))
    step = scheduled(forward(worker, Rows("a", 0, 2, 0)), signed_request("a", [1, 2]))
    assert torch.equal(worker.execute_model(step), plain)
    ended = scheduled(forward(worker, Rows("a", 0, 2, 0)), finished=("a",))
    assert not worker.execute_model(ended).any()


def test_a_step_whose_seam_was_missed_is_dark(worker: Worker) -> None:
    missed = scheduled(lambda w: w.model(torch.tensor([1, 2])), signed_request("a", [1, 2]))
    assert not worker.execute_model(missed).any()


def test_a_batch_that_cannot_be_mapped_is_dark(worker: Worker) -> None:
    def broken() -> Iterator[Rows]:
        raise AttributeError("vLLM has renamed something")

    def run(_: Any) -> Any:
        worker._lethe_begin(broken)
        return worker.model(torch.tensor([1, 2]))

    assert not worker.execute_model(scheduled(run, signed_request("a", [1, 2]))).any()
    assert worker.lethe_requests.counts["dark_unmapped"] == 1


def test_prompt_embeddings_go_dark(worker: Worker) -> None:
    new = signed_request("a", [1, 2])
    new.prompt_embeds = torch.ones(2, HIDDEN)
    step = scheduled(forward(worker, Rows("a", 0, 2, 0)), new)
    assert not worker.execute_model(step).any()


def test_warm_up_batches_are_nobodys(worker: Worker) -> None:
    plain = worker.model(torch.tensor([1, 2]))
    worker.execute_model(scheduled(forward(worker)))
    worker._lethe_begin(lambda: iter([Rows("unknown", 0, 2, 0)]))
    assert torch.equal(worker.model(torch.tensor([1, 2])), plain)


def test_after_a_failing_step_nothing_stays_connected(worker: Worker) -> None:
    def fail(_: Any) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        worker.execute_model(scheduled(fail))
    assert worker.model(torch.tensor([1, 2])).any()


def test_the_status_holds_plain_types(worker: Worker) -> None:
    worker.execute_model(scheduled(forward(worker, Rows("unknown", 0, 2, 0))))
    import json

    status = json.loads(json.dumps(worker.lethe_status()))
    assert status["counts"]["dark_rows"] == 2
    assert status["calls"]["embedding"] > 0
    assert status["capabilities"]["runner"] == "V1"


def test_the_self_test_passes_where_the_operator_acts(worker: Worker) -> None:
    prove_effect(worker, worker.lethe_sites)


def test_the_self_test_misses_an_absent_operator(worker: Worker) -> None:
    worker.model_runner = Runner(Model())  # as from a stale cache: compiled without the swap
    with pytest.raises(NotEffective, match="does not call"):
        prove_effect(worker, worker.lethe_sites)


def test_the_self_test_misses_an_effect(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Layer):
        """Calls the operator on a copy: as a functionalised graph that loses the write would."""

        def forward(self, positions: Any, hidden_states: Any, residual: Any) -> Any:
            torch.ops.lethe.corrupt(hidden_states.clone())
            return super().forward(positions, hidden_states, residual)

    worker.model_runner = Runner(Model(Deaf))
    with pytest.raises(NotEffective, match="without effect"):
        prove_effect(worker, ["embedding"])


def test_the_self_test_sees_a_write_to_other_rows(worker: Worker) -> None:
    class Careless(Layer):
        def forward(self, positions: Any, hidden_states: Any, residual: Any) -> Any:
            before = hidden_states.clone()
            torch.ops.lethe.corrupt(hidden_states)
            return super().forward(positions, hidden_states + (hidden_states - before).sum(), None)

    worker.model_runner = Runner(Model(Careless))
    with pytest.raises(NotEffective, match="not asked"):
        prove_effect(worker, ["embedding"])


def test_a_model_of_unknown_shape_is_refused() -> None:
    class Strange(Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises(RuntimeError, match="layers"):
        seams.swap_layers(torch.nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="hidden_states"):
        seams.swap_layers(Model(Strange))


def test_the_scale_is_the_root_mean_square_of_the_whole_table() -> None:
    model = Model()
    wanted = float(model.table.square().mean().sqrt())
    assert seams.embedding_scale(model, 40, torch.device("cpu")) == pytest.approx(wanted)


def test_compiled_the_operator_still_acts(worker: Worker) -> None:
    compiled = torch.compile(worker.model, backend="aot_eager", fullgraph=True)
    plain = compiled(torch.tensor([1, 2])).clone()
    before = SWITCHBOARD.calls["embedding"]
    worker.execute_model(
        scheduled(lambda _: setattr(worker, "dark", compiled(torch.tensor([1, 2])).clone()))
    )
    assert SWITCHBOARD.calls["embedding"] == before + 1
    assert plain.any()
    assert not worker.dark.any()  # type: ignore[attr-defined]


def test_what_cannot_be_bound_ahead_is_said(worker: Worker) -> None:
    wanted = [["embedding_corruption", "sha256:" + "0" * 64], ["no such guard", "x"]]
    done: list[int] = []
    for _ in range(200):
        done = worker.lethe_preload(wanted)
        if done[0] == len(wanted):
            break
        time.sleep(0.02)
    assert done == [2, 0]
    assert not worker.lethe_preloaded
