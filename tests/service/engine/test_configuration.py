"""Engines that the plugin cannot guard are refused; graphs are made to stop at its operators."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("vllm", reason="vLLM is not installed on this machine")

from vllm.config import CompilationMode, CUDAGraphMode

from service.engine import vllm_0_32 as seams
from service.engine.ops import NAMES

pytestmark = pytest.mark.engine


def config(path: str = "", value: Any = None) -> Any:
    made = SimpleNamespace(
        speculative_config=None,
        lora_config=None,
        kv_transfer_config=None,
        additional_config={},
        model_config=SimpleNamespace(
            runner_type="generate",
            enable_prompt_embeds=False,
            is_multimodal_model=False,
            is_encoder_decoder=False,
            enable_trace_replay=False,
            logits_processors=[seams.LOGITS_PROCESSOR],
        ),
        parallel_config=SimpleNamespace(
            use_ubatching=False,
            prefill_context_parallel_size=1,
            decode_context_parallel_size=1,
            pipeline_parallel_size=1,
        ),
        compilation_config=SimpleNamespace(
            mode=CompilationMode.VLLM_COMPILE,
            cudagraph_mode=CUDAGraphMode.NONE,
            splitting_ops=["vllm::attention"],
            use_inductor_graph_partition=False,
            pass_config=SimpleNamespace(enable_sp=False),
        ),
    )
    *parents, last = path.split(".")
    holder = made
    for parent in parents:
        holder = getattr(holder, parent)
    if path:
        setattr(holder, last, value)
    return made


def test_an_ordinary_engine_is_guarded() -> None:
    assert seams.unsupported_configuration(config()) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("speculative_config", object()),
        ("model_config.logits_processors", None),
        ("model_config.logits_processors", ["somebody:Elses"]),
        ("kv_transfer_config", object()),
        ("model_config.runner_type", "pooling"),
        ("model_config.enable_prompt_embeds", True),
        ("model_config.is_multimodal_model", True),
        ("model_config.is_encoder_decoder", True),
        ("model_config.enable_trace_replay", True),
        ("parallel_config.use_ubatching", True),
        ("parallel_config.prefill_context_parallel_size", 2),
        ("parallel_config.decode_context_parallel_size", 2),
        ("parallel_config.pipeline_parallel_size", 2),
        ("compilation_config.pass_config.enable_sp", True),
        ("compilation_config.cudagraph_mode", CUDAGraphMode.FULL),
        ("compilation_config.cudagraph_mode", CUDAGraphMode.FULL_DECODE_ONLY),
        ("compilation_config.cudagraph_mode", CUDAGraphMode.PIECEWISE),
    ],
)
def test_an_engine_that_moves_rows_or_skips_layers_is_refused(path: str, value: Any) -> None:
    assert seams.unsupported_configuration(config(path, value)) is not None


def test_breakable_graphs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_USE_BREAKABLE_CUDAGRAPH", "1")
    assert seams.unsupported_configuration(config()) == "breakable CUDA graphs"


@pytest.mark.parametrize(
    "mode", [CUDAGraphMode.FULL, CUDAGraphMode.FULL_AND_PIECEWISE, CUDAGraphMode.PIECEWISE]
)
def test_graphs_are_made_to_stop_at_the_operators(mode: CUDAGraphMode) -> None:
    made = config("compilation_config.cudagraph_mode", mode)
    seams.prepare_compilation(made, "f" * 16)
    seams.prepare_compilation(made, "f" * 16)
    assert made.compilation_config.cudagraph_mode == CUDAGraphMode.PIECEWISE
    assert all(made.compilation_config.splitting_ops.count(name) == 1 for name in NAMES)
    assert seams.unsupported_configuration(made) is None


@pytest.mark.parametrize("splitting", [None, []])
def test_a_graph_that_is_never_split_is_refused(splitting: Any) -> None:
    made = config("compilation_config.cudagraph_mode", CUDAGraphMode.FULL)
    made.compilation_config.splitting_ops = splitting
    seams.prepare_compilation(made, "f" * 16)
    assert seams.unsupported_configuration(made) is not None


def test_without_compilation_there_are_no_full_graphs() -> None:
    made = config("compilation_config.cudagraph_mode", CUDAGraphMode.FULL)
    made.compilation_config.mode = CompilationMode.NONE
    seams.prepare_compilation(made, "f" * 16)
    assert made.compilation_config.cudagraph_mode == CUDAGraphMode.NONE


def test_the_key_of_compiled_graphs_changes_with_the_plugin() -> None:
    first, second = config(), config()
    seams.prepare_compilation(first, "a")
    seams.prepare_compilation(second, "b")
    assert first.additional_config != second.additional_config != {}


def test_what_an_engine_can_do_follows_from_its_configuration() -> None:
    sites = ["embedding", "layer:0", "mlp:0"]
    assert seams.points(config(), sites) == {
        "embedding",
        "activations",
        "mlp",
        "logits",
        "assistant",
    }
    assert "mlp" not in seams.points(config(), ["embedding", "layer:0"])
    assert "adapter" in seams.points(config("lora_config", object()), sites)


@pytest.mark.parametrize(("asynchronous", "v2", "known"), [(0, 0, 1), (1, 0, 0), (1, 1, 1)])
def test_history_is_known_where_nothing_is_scheduled_ahead_of_it(
    asynchronous: int, v2: int, known: int
) -> None:
    made = config("scheduler_config", SimpleNamespace(async_scheduling=bool(asynchronous)))
    assert seams.history_is_on_the_host(made, v2=bool(v2)) is bool(known)
