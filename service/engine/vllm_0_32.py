"""Every seam of vLLM 0.32 that is not public, and nothing else.

Another version gets another module with the same functions.  ``vllm`` is imported inside them, so
that this module can be read where vLLM is absent.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial, wraps
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guards.points import DeviceTokens, Site
from guards.signed_edits import FIELD
from service.admission import Refused
from service.engine.ops import EMBEDDING, NAMES, name_of
from service.engine.rows import Announced, Rows, signed_field
from service.engine.sampling import LogitsRow

LOGITS_PROCESSOR = "service.engine.logits_processor:LetheLogits"
_INSTALLED = "_lethe_admission"
_SCORES = (
    "prompt_logprobs",
    "prompt_logprob_token_ids",
    "logprob_token_ids",
    "trace_decode_token_ids",
)


class Admit(Protocol):
    """Decides on one request in the API process; raises ValueError to refuse it.

    Returns the adapter that it is to run with (a vLLM LoRARequest), or None.
    """

    def __call__(self, field: object, ids: list[int] | None, salt: str | None) -> Any: ...


# --- admission, in the API process ---------------------------------------------------------------


def install_admission(admit: Admit, prepare: Callable[[str, str], None]) -> None:
    """From now on no request of this process reaches the engine core without ``admit``.

    prepare: opens what a later request will need, by guard and digest; kept for ``prepare_here``.
    """
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

    setattr(process_inputs, _INSTALLED, prepare)
    InputProcessor.process_inputs = process_inputs


def _admit_request(request: Any, admit: Admit) -> None:
    reason = _unsupported_request(request)
    if reason:
        raise Refused(reason)
    extra = request.sampling_params.extra_args
    request.lora_request = admit(signed_field(extra), request.prompt_token_ids, request.cache_salt)


def admission_installed() -> bool:
    """Whether ``install_admission`` has run in this process."""
    from vllm.v1.engine.input_processor import InputProcessor

    return hasattr(InputProcessor.process_inputs, _INSTALLED)


def prepare_here(guard: str, digest: str) -> None:
    """Open an artifact in this process ahead of its first use.  Raises ValueError, TypeError."""
    from vllm.v1.engine.input_processor import InputProcessor

    getattr(InputProcessor.process_inputs, _INSTALLED)(guard, digest)


def scored_request(ids: list[int], salt: str, field: str, count: int) -> tuple[Any, Any]:
    """Prompt and parameters of a request whose ``count`` tokens our logits processor chooses."""
    from vllm.inputs.engine import tokens_input
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    params = SamplingParams(
        temperature=0.0,
        max_tokens=count,
        ignore_eos=True,  # an end token may be among those that are scored
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={FIELD: field},
    )
    # Rendered already, hence admitted in the task that asks, and known there to be asked by us.
    return tokens_input(ids, cache_salt=salt), params


def refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises of a request that it does not accept."""
    from vllm.exceptions import VLLMClientError

    return (ValueError, VLLMClientError)


def _unsupported_request(request: Any) -> str | None:
    params = request.sampling_params
    if params is None or request.pooling_params is not None:
        return "only text generation is served"
    if request.prompt_embeds is not None or request.mm_features or request.resumable:
        return "the prompt is not made of token ids"
    if request.lora_request is not None:
        return "adapters are chosen by policies alone"
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
        "no logits processor of Lethe's": not _edits_logits(model),
        "full CUDA graphs": compilation.cudagraph_mode.has_full_cudagraphs(),
        "CUDA graphs that do not stop at our operators": _graph_swallows_operators(compilation),
    }
    return next((name for name, present in found.items() if present), None)


def _context_parallel(parallel: Any) -> bool:
    sizes = (parallel.prefill_context_parallel_size, parallel.decode_context_parallel_size)
    return any(size > 1 for size in sizes)


def _breakable_cuda_graphs() -> bool:
    from vllm import envs

    return bool(envs.VLLM_USE_BREAKABLE_CUDAGRAPH)


def _edits_logits(model: Any) -> bool:
    # Named in the configuration, vLLM gives it the tokens generated so far under V1 too.
    named = [str(each) for each in model.logits_processors or ()]
    return LOGITS_PROCESSOR in named


def _graph_swallows_operators(compilation: Any) -> bool:
    if not compilation.cudagraph_mode.has_piecewise_cudagraphs():
        return False
    splitting = set(compilation.splitting_ops or ())
    return compilation.use_inductor_graph_partition or not splitting.issuperset(NAMES)


def points(config: Any, sites: list[str]) -> frozenset[str]:
    """Where guards can act in an engine of this VllmConfig whose model has these sites."""
    found = {"embedding", "activations", "logits", "assistant"}
    if any(site.startswith("mlp:") for site in sites):
        found.add("mlp")
    if config.lora_config is not None:
        found.add("adapter")
    return frozenset(found)


def history_is_on_the_host(config: Any, *, v2: bool) -> bool:
    """Whether the ids of tokens before the last are known when the last is embedded.

    V1 schedules ahead of them where scheduling is asynchronous; V2 keeps them where we can read.
    """
    return v2 or not config.scheduler_config.async_scheduling


def prepare_compilation(config: Any, fingerprint: str) -> None:
    """Make the compiler's caches and CUDA graphs respect the operators.  Before the model is built.

    fingerprint: what the compiled graph depends on besides vLLM's own configuration.
    """
    from vllm.config import CompilationMode, CUDAGraphMode

    # vLLM's key of compiled graphs knows nothing of a class that a plugin swapped in; this field
    # is part of the key, so a graph made without us is never taken for one made with us.
    config.additional_config["lethe"] = {"fingerprint": fingerprint}
    compilation = config.compilation_config
    if compilation.mode != CompilationMode.VLLM_COMPILE:
        if compilation.cudagraph_mode.has_full_cudagraphs():
            compilation.cudagraph_mode = CUDAGraphMode.NONE
        return
    # The operators run Python in each step: a graph has to end before and begin anew after each.
    if compilation.splitting_ops:
        compilation.splitting_ops = list(dict.fromkeys([*compilation.splitting_ops, *NAMES]))
    if compilation.cudagraph_mode.has_full_cudagraphs():
        compilation.cudagraph_mode = CUDAGraphMode.PIECEWISE


# --- the model -----------------------------------------------------------------------------------

_swapped: dict[tuple[type[nn.Module], str], type[nn.Module]] = {}


def swap_layers(model: nn.Module) -> list[str]:
    """Let the decoder layers call the operators.  Returns the sites by name.

    Raises RuntimeError for a model whose layers we cannot find or call.
    """
    layers = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise RuntimeError("this model's decoder layers are not where the plugin looks for them")
    sites = [EMBEDDING]
    for number, layer in enumerate(layers):
        _swap(layer, "first layer" if number == 0 else "layer", number)
        sites.append(name_of(Site("layer", number)))
        down = getattr(getattr(layer, "mlp", None), "down_proj", None)
        if isinstance(down, nn.Module):
            _swap(down, "down_proj", number)
            sites.append(name_of(Site("mlp", number)))
    return sites


def _swap(module: nn.Module, kind: str, number: int) -> None:
    base = type(module)
    if (base, kind) not in _swapped:
        _swapped[base, kind] = _MAKERS[kind](base)
    module.lethe_layer = number  # type: ignore[assignment]
    module.__class__ = _swapped[base, kind]


def _subclass(base: type[nn.Module], forward: Callable[..., Any]) -> type[nn.Module]:
    """torch.compile inlines it."""
    return type(f"Lethe{base.__name__}", (base,), {"forward": forward, "__module__": __name__})


def _layer(base: type[nn.Module], *, first: bool) -> type[nn.Module]:
    """A subclass whose forward is the base's, between the operators."""
    names = list(inspect.signature(base.forward).parameters)
    if "hidden_states" not in names:
        raise RuntimeError("this model's decoder layer does not take hidden_states")
    at = names.index("hidden_states") - 1  # without self
    base_forward: Callable[..., Any] = base.forward

    def steered(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        output = base_forward(self, *args, **kwargs)
        # The residual stream is the sum of both, where a layer leaves the sum to the next norm.
        hidden, residual = output if isinstance(output, tuple) else (output, None)
        torch.ops.lethe.steer(hidden, residual, self.lethe_layer)
        return output

    def corrupted_and_steered(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        hidden = args[at] if len(args) > at else kwargs["hidden_states"]
        torch.ops.lethe.corrupt(hidden)
        return steered(self, *args, **kwargs)

    return _subclass(base, corrupted_and_steered if first else steered)


def _down_proj(base: type[nn.Module]) -> type[nn.Module]:
    base_forward: Callable[..., Any] = base.forward

    def forward(self: nn.Module, keys: Tensor, *args: Any, **kwargs: Any) -> Any:
        torch.ops.lethe.adjust(keys, self.lethe_layer)
        return base_forward(self, keys, *args, **kwargs)

    return _subclass(base, forward)


_MAKERS: dict[str, Callable[[type[nn.Module]], type[nn.Module]]] = {
    "first layer": partial(_layer, first=True),
    "layer": partial(_layer, first=False),
    "down_proj": _down_proj,
}


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
            begin(lambda: _rows_v2(batch, runner.req_states))
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
        first = int(computed[index])
        known = partial(_known_v1, batch, index, first + count)
        yield Rows(name, row, count, first, known)
        row += count


def _known_v1(batch: Any, index: int, length: int) -> NDArray[np.int64] | None:
    ids = batch.token_ids_cpu[index, :length].astype(np.int64)
    return None if bool((ids < 0).any()) else ids  # scheduled ahead of what it will be


def _rows_v2(batch: Any, states: Any) -> Iterator[Rows]:
    starts = batch.query_start_loc_np
    computed = batch.num_computed_tokens_np
    for index, name in enumerate(batch.req_ids[: batch.num_reqs]):
        row = int(starts[index])
        count, first = int(starts[index + 1]) - row, int(computed[index])
        slot = int(batch.idx_mapping_np[index])
        yield Rows(name, row, count, first, partial(_known_v2, states, slot, 0, first + count))


def _known_v2(states: Any, slot: int, start: int, end: int) -> NDArray[np.int64]:
    ids = states.all_token_ids.gpu[slot, start:end].cpu().numpy()
    known: NDArray[np.int64] = ids.astype(np.int64)
    return known


def logits_rows(worker: Any, context: Any) -> Iterator[LogitsRow]:
    """Whose each row of logits is.  context: V2's LogitsContext, None under V1."""
    runner = worker.model_runner
    if context is None:
        batch = runner.input_batch
        for row, name in enumerate(batch.req_ids[: batch.num_reqs]):
            yield LogitsRow(name, row, partial(_output_v1, batch, row))
        return
    states = runner.req_states
    slots, last = context.expanded_idx_mapping.tolist(), context.pos.tolist()
    for row, (slot, position) in enumerate(zip(slots, last, strict=True)):
        name = states.index_to_req_id[slot]
        yield LogitsRow(name, row, partial(_output_v2, states, slot, position + 1))


def device_tokens(worker: Any, context: Any) -> DeviceTokens:
    """Where V2 keeps the tokens that rows of logits follow."""
    states = worker.model_runner.req_states
    slots, lengths = context.expanded_idx_mapping, context.pos + 1
    return DeviceTokens(states.all_token_ids.gpu, states.prompt_len.gpu, slots, lengths)


def _output_v1(batch: Any, row: int) -> list[int]:
    ids: list[int] = batch.req_output_token_ids[row] or []
    if ids and min(ids[-1], ids[0]) < 0:
        raise Refused("the tokens so far are not known")
    return ids


def _output_v2(states: Any, slot: int, length: int) -> list[int]:
    first = int(states.prompt_len.np[slot])
    ids: list[int] = _known_v2(states, slot, first, max(length, first)).tolist()
    return ids


def new_requests(scheduled: Any) -> Iterator[Announced]:
    """The requests that begin in this step."""
    for new in scheduled.scheduled_new_reqs:
        extra = getattr(new.sampling_params, "extra_args", None)
        # V2 lists a preempted request as new, its output appended to prefill_token_ids; the
        # prompt's ids alone are what was signed.
        ids = None if new.prompt_embeds is not None else new.prompt_token_ids
        adapter = getattr(new.lora_request, "lora_name", None)
        yield Announced(new.req_id, signed_field(extra), ids, adapter)


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
