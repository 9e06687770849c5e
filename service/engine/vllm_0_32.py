"""Every seam of vLLM 0.32 that is not public, and nothing else.

Another version gets another module with the same functions.  ``vllm`` is imported inside them, so
that this module can be read where vLLM is absent.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from service.admission import Refused
from service.engine.ops import EMBEDDING, NAME
from service.engine.rows import Rows, signed_field

_INSTALLED = "_lethe_admission"
_SCORES = (
    "prompt_logprobs",
    "prompt_logprob_token_ids",
    "logprob_token_ids",
    "trace_decode_token_ids",
)


class Admit(Protocol):
    """Decides on one request in the API process; raises ValueError to refuse it."""

    def __call__(self, field: object, ids: list[int] | None, salt: str | None) -> object: ...


# --- admission, in the API process ---------------------------------------------------------------


def install_admission(admit: Admit) -> None:
    """From now on no request of this process reaches the engine core without ``admit``."""
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.input_processor import InputProcessor

    original = InputProcessor.process_inputs
    if hasattr(original, _INSTALLED):
        return

    @wraps(original)
    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = original(self, *args, **kwargs)
        try:
            _admit_request(request, admit)
        except ValueError as error:
            # The asynchronous engine makes a 500 without text of any other exception.
            raise VLLMValidationError(str(error)) from error
        return request

    setattr(process_inputs, _INSTALLED, True)
    InputProcessor.process_inputs = process_inputs


def _admit_request(request: Any, admit: Admit) -> None:
    reason = _unsupported_request(request)
    if reason:
        raise Refused(reason)
    extra = request.sampling_params.extra_args
    admit(signed_field(extra), request.prompt_token_ids, request.cache_salt)


def admission_installed() -> bool:
    """Whether ``install_admission`` has run in this process."""
    from vllm.v1.engine.input_processor import InputProcessor

    return hasattr(InputProcessor.process_inputs, _INSTALLED)


def _unsupported_request(request: Any) -> str | None:
    params = request.sampling_params
    if params is None or request.pooling_params is not None:
        return "only text generation is served"
    if request.prompt_embeds is not None or request.mm_features or request.resumable:
        return "the prompt is not made of token ids"
    if request.lora_request is not None:
        return "adapters are not served"
    # Zero is a wish too: for the score of the prompt's own tokens.
    if any(getattr(params, name, None) is not None for name in _SCORES):
        return "scores of chosen tokens are not served"
    if len(params.extra_args or {}) > 1:
        return "extra arguments are not served"
    return None


# --- what the plugin cannot work with ------------------------------------------------------------


def unsupported_configuration(config: Any) -> str | None:
    """Why the plugin cannot guard an engine of this VllmConfig; None where it can."""
    parallel = config.parallel_config
    compilation = config.compilation_config
    model = config.model_config
    # Each would put rows elsewhere than where we look, or bypass the swapped layer.
    found = {
        "speculative decoding": config.speculative_config is not None,
        "LoRA": config.lora_config is not None,
        "pooling": model.runner_type != "generate",
        "prompt embeddings": getattr(model, "enable_prompt_embeds", False),
        "multimodal models": model.is_multimodal_model,
        "encoder-decoder models": model.is_encoder_decoder,
        "micro-batches (DBO)": parallel.use_ubatching,
        "context parallelism": _context_parallel(parallel),
        "pipeline parallelism": parallel.pipeline_parallel_size > 1,
        "sequence parallelism": bool(getattr(compilation.pass_config, "enable_sp", False)),
        "KV transfer": config.kv_transfer_config is not None,
        "trace replay": getattr(model, "enable_trace_replay", False),
        "breakable CUDA graphs": _breakable_cuda_graphs(),
        "full CUDA graphs": compilation.cudagraph_mode.has_full_cudagraphs(),
        "CUDA graphs that do not stop at our operator": _graph_swallows_operator(compilation),
    }
    return next((name for name, present in found.items() if present), None)


def _context_parallel(parallel: Any) -> bool:
    sizes = (parallel.prefill_context_parallel_size, parallel.decode_context_parallel_size)
    return any(size > 1 for size in sizes)


def _breakable_cuda_graphs() -> bool:
    from vllm import envs

    return bool(envs.VLLM_USE_BREAKABLE_CUDAGRAPH)


def _graph_swallows_operator(compilation: Any) -> bool:
    if not compilation.cudagraph_mode.has_piecewise_cudagraphs():
        return False
    return compilation.use_inductor_graph_partition or NAME not in (compilation.splitting_ops or ())


def prepare_compilation(config: Any, fingerprint: str) -> None:
    """Make the compiler's caches and CUDA graphs respect the operator.  Before the model is built.

    fingerprint: what the compiled graph depends on besides vLLM's own configuration.
    """
    from vllm.config import CompilationMode, CUDAGraphMode

    # vLLM's key of compiled graphs knows nothing of a class that a plugin swapped in; this field
    # is part of the key, so a graph made without us is never taken for one made with us.
    config.additional_config["lethe"] = {"fingerprint": fingerprint, "sites": [EMBEDDING]}
    compilation = config.compilation_config
    if compilation.mode != CompilationMode.VLLM_COMPILE:
        if compilation.cudagraph_mode.has_full_cudagraphs():
            compilation.cudagraph_mode = CUDAGraphMode.NONE
        return
    # The operator runs Python in each step: a graph has to end before it and begin anew after it.
    if compilation.splitting_ops and NAME not in compilation.splitting_ops:
        compilation.splitting_ops = [*compilation.splitting_ops, NAME]
    if compilation.cudagraph_mode.has_full_cudagraphs():
        compilation.cudagraph_mode = CUDAGraphMode.PIECEWISE


# --- the model -----------------------------------------------------------------------------------

_swapped: dict[type[nn.Module], type[nn.Module]] = {}


def swap_first_layer(model: nn.Module) -> list[int]:
    """Let the first decoder layer call the operator on its input.  Returns the sites.

    Raises RuntimeError for a model whose layers we cannot find or call.
    """
    layers = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise RuntimeError("this model's decoder layers are not where the plugin looks for them")
    layer = layers[0]
    layer.__class__ = _corrupting(type(layer))
    return [EMBEDDING]


def _corrupting(base: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose forward is the base's, after the operator.  torch.compile inlines it."""
    if base in _swapped:
        return _swapped[base]
    names = list(inspect.signature(base.forward).parameters)
    if "hidden_states" not in names:
        raise RuntimeError("this model's decoder layer does not take hidden_states")
    at = names.index("hidden_states") - 1  # without self
    base_forward: Callable[..., Any] = base.forward

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        hidden = args[at] if len(args) > at else kwargs["hidden_states"]
        torch.ops.lethe.corrupt(hidden, EMBEDDING)
        return base_forward(self, *args, **kwargs)

    made = type(f"Lethe{base.__name__}", (base,), {"forward": forward, "__module__": __name__})
    _swapped[base] = made
    return made


def embedding_scale(model: Any, vocabulary: int, device: torch.device) -> float:
    """Root mean square of the model's input embeddings, over the whole vocabulary.

    Asked of the model rather than of its weights: that gathers the shards of tensor parallelism
    and undoes quantisation and padding.  All ranks must call it.
    """
    squares, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, vocabulary, 4096):
            ids = torch.arange(start, min(start + 4096, vocabulary), device=device)
            rows: Tensor = model.embed_input_ids(ids)
            squares += float(rows.double().square().sum())
            count += rows.numel()
    return float((squares / count) ** 0.5)


# --- the model runners ---------------------------------------------------------------------------


def before_each_forward(worker: Any, begin: Callable[[Callable[[], Iterator[Rows]]], None]) -> None:
    """Have ``begin`` called, with a function that maps the batch, when a batch is final.

    V2 asks its model state for inputs before every forward; V1 calls ``_model_forward`` when the
    batch is condensed and reordered.
    """
    runner = worker.model_runner
    if worker.use_v2_model_runner:
        prepare = runner.model_state.prepare_inputs

        def prepare_inputs(batch: Any, states: Any) -> Any:
            begin(lambda: _rows_v2(batch))
            return prepare(batch, states)

        runner.model_state.prepare_inputs = prepare_inputs
        return
    forward = runner._model_forward  # noqa: SLF001 - its docstring invites overriding

    def model_forward(*args: Any, **kwargs: Any) -> Any:
        begin(lambda: _rows_v1(runner.input_batch, worker.lethe_scheduled))
        return forward(*args, **kwargs)

    runner._model_forward = model_forward  # noqa: SLF001


def _rows_v1(batch: Any, scheduled: Any) -> Iterator[Rows]:
    row = 0
    computed = batch.num_computed_tokens_cpu
    for index, name in enumerate(batch.req_ids[: batch.num_reqs]):
        count = scheduled.num_scheduled_tokens[name]
        yield Rows(name, row, count, int(computed[index]))
        row += count


def _rows_v2(batch: Any) -> Iterator[Rows]:
    starts = batch.query_start_loc_np
    computed = batch.num_computed_tokens_np
    for index, name in enumerate(batch.req_ids[: batch.num_reqs]):
        row = int(starts[index])
        yield Rows(name, row, int(starts[index + 1]) - row, int(computed[index]))


def new_requests(scheduled: Any) -> Iterator[tuple[str, object, list[int] | None]]:
    """Name, signed field and prompt ids of the requests that begin in this step."""
    for new in scheduled.scheduled_new_reqs:
        extra = getattr(new.sampling_params, "extra_args", None)
        # V2 lists a preempted request as new, its output appended to prefill_token_ids; the
        # prompt's ids alone are what was signed.
        ids = None if new.prompt_embeds is not None else new.prompt_token_ids
        yield new.req_id, signed_field(extra), ids


def dummy_forward(worker: Any, tokens: int) -> Tensor:
    """Hidden states, [tokens, hidden], of vLLM's own warm-up batch on the compiled model."""
    # Without attention V1 returns whatever lay in memory; V2 always has attention.
    attention = {} if worker.use_v2_model_runner else {"force_attention": True}
    hidden, _ = worker.model_runner._dummy_run(tokens, **attention)  # noqa: SLF001
    found: Tensor = hidden[:tokens].clone()  # the buffer may belong to a CUDA graph
    return found


def platform_worker() -> type[Any]:
    """The worker class that vLLM would take on this platform."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        module, name = "vllm.v1.worker.cpu_worker", "CPUWorker"
    elif current_platform.is_cuda():
        module, name = "vllm.v1.worker.gpu_worker", "Worker"
    else:
        raise RuntimeError("Lethe's engine plugin runs on CPUs and on CUDA devices")
    found: type[Any] = getattr(import_module(module), name)
    return found
