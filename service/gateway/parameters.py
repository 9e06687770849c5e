"""Every parameter of the two APIs, and what is done with it.  What has no row here is refused.

The handling never depends on the prompt: a refusal must not tell what is forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from service.errors import ApiError, invalid
from service.gateway.messages import read_messages, read_tool_choice, read_tools
from service.gateway.output_format import read_response_format, read_structured_outputs
from service.gateway.prompts import read_prompts
from service.gateway.readers import (
    BadValue,
    Reader,
    boolean,
    clamped,
    integer,
    list_of,
    number,
    one_of,
    only,
    text,
)
from service.json_body import shown

Json = Any
Api = Literal["chat", "completions"]
Handling = Literal["pass", "clamp", "strip", "reject", "classify", "own"]
INT64 = 2**63
_TRUE, _FALSE = only(*[True]), only(*[False])


@dataclass(frozen=True, slots=True)
class Limits:
    """What the table depends on."""

    max_choices: int = 4
    max_prompts: int = 16
    max_model_len: int = 1024
    vocabulary: int = 1 << 20
    control_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row.  why: for the reader of the documentation."""

    name: str
    handling: Handling
    reader: Reader
    why: str = ""
    apis: tuple[Api, ...] = ("chat", "completions")


def read_parameters(table: Mapping[str, Parameter], body: Mapping[str, Json]) -> dict[str, Json]:
    """The values that are used, by name.  null is the same as absent.  Raises ApiError (400)."""
    read: dict[str, Json] = {}
    for name, value in body.items():
        row = table.get(name)
        if row is None:
            name = shown(name)
            raise invalid(name, f"Unknown parameter: '{name}'.", "unknown_parameter")
        if value is None:
            continue
        read[name] = _read(row, value)
    return {name: value for name, value in read.items() if value is not None}


def _read(row: Parameter, value: Json) -> Json:
    try:
        return row.reader.read(value)
    except BadValue as error:
        raise faulty(row.name, error) from error


def faulty(name: str, error: BadValue) -> ApiError:
    """400 for a value that is not accepted."""
    where = name + error.path
    return invalid(where, f"'{where}' {error}.", error.code)


def table(api: Api, limits: Limits) -> dict[str, Parameter]:
    """The rows of one API, by name."""
    rows = (*_shared(limits), *_of_chat(limits), *_of_completions(limits))
    return {row.name: row for row in rows if api in row.apis}


@cache
def names() -> frozenset[str]:
    """The parameters of both APIs that are used, by name: a closed set, whoever says one."""
    rows = (*table("chat", Limits()).values(), *table("completions", Limits()).values())
    return frozenset(row.name for row in rows if row.handling not in ("reject", "strip"))


def _shared(limits: Limits) -> tuple[Parameter, ...]:
    return (*_basics(limits), *_sampling(limits), *_formats(), *_refused(), *_ignored())


def _basics(limits: Limits) -> tuple[Parameter, ...]:
    tokens = clamped(1, limits.max_model_len, "the model's context")
    choices = integer(1, limits.max_choices)
    return (
        Parameter("model", "own", text(256), "a name of ours; 404 for any other"),
        Parameter("max_tokens", "clamp", tokens),
        Parameter("n", "pass", choices, "each choice has its own filters"),
        Parameter("stream", "own", boolean(), "the engine streams when the client does"),
        Parameter("stream_options", "own", Reader(_STREAM_WORDS, _read_stream_options)),
        Parameter("stop", "classify", Reader("a string, or up to 4", _read_stop)),
    )


def _sampling(limits: Limits) -> tuple[Parameter, ...]:
    ids = list_of(integer(0, limits.vocabulary - 1), 16)
    words = "up to 32 token ids with a bias from -100 to 0, none of a control token"
    bias = Reader(words, lambda value: _read_bias(value, limits))
    return (
        Parameter("temperature", "pass", number(0, 2)),
        Parameter("top_p", "pass", number(0, 1, above=True)),
        Parameter("top_k", "pass", integer(-1, INT64 - 1)),
        Parameter("min_p", "pass", number(0, 1)),
        Parameter("frequency_penalty", "pass", number(-2, 2)),
        Parameter("presence_penalty", "pass", number(-2, 2)),
        Parameter("repetition_penalty", "pass", number(0, 2, above=True)),
        Parameter("seed", "pass", integer(-INT64, INT64 - 1)),
        Parameter("stop_token_ids", "pass", ids),
        Parameter("include_stop_str_in_output", "pass", boolean()),
        Parameter("logit_bias", "clamp", bias, "a positive bias outbids soft guards"),
    )


def _formats() -> tuple[Parameter, ...]:
    words = 'type "text", "json_object" or "json_schema"'
    kinds = "one of json, regex, choice, grammar, json_object"
    return (
        Parameter("response_format", "classify", Reader(words, read_response_format)),
        Parameter("structured_outputs", "classify", Reader(kinds, read_structured_outputs)),
    )


def _refused() -> tuple[Parameter, ...]:
    false, nothing = _FALSE, only()
    scores = "scores are taken before any guard"
    salt = "the gateway's own"
    unseen = "what is classified would not be what is run"
    return (
        _reject("prompt_logprobs", nothing, scores),
        _reject("logprob_token_ids", only([]), scores),
        _reject("use_beam_search", false, "bypasses guards in the engine"),
        _reject("best_of", only(1), "bypasses guards in the engine"),
        _reject("length_penalty", only(1, 1.0), "only of use with beam search"),
        _reject("echo", false, "returns the prompt with its scores"),
        _reject("allowed_token_ids", nothing, "forces an answer"),
        _reject("bad_words", only([]), "takes the decoy away"),
        _reject("min_tokens", only(0), "defeats a forced end"),
        _reject("ignore_eos", false, "defeats a forced end"),
        _reject("skip_special_tokens", _TRUE, "shows the template"),
        _reject("spaces_between_special_tokens", _TRUE, "changes the text"),
        _reject("truncate_prompt_tokens", nothing, unseen),
        _reject("truncation_side", nothing, unseen),
        _reject("kv_transfer_params", nothing, unseen),
        _reject("ec_transfer_params", nothing, unseen),
        _reject("vllm_xargs", nothing, "carries the signed edits"),
        _reject("cache_salt", nothing, salt),
        _reject("request_id", nothing, salt),
        _reject("priority", only(0), salt),
        _reject("stream_interval", nothing, salt),
        _reject("return_token_ids", false, "shows what a filter took out"),
        _reject("return_tokens_as_token_ids", false, "shows what a filter took out"),
        _reject("return_token_offsets", false, "shows what a filter took out"),
        _reject("routed_experts_prompt_start", only(0), "returns traces of the weights"),
        _reject("mm_payload", only("tensors"), "text only"),
        _reject("return_mm_kwargs", nothing, "text only"),
        _reject("repetition_detection", nothing, "ends answers early"),
        _reject("thinking_token_budget", nothing, "runs after the guards"),
        _reject("watermarking", false, "marks may not be switched"),
        *(_reject(name, nothing, "of no effect in this engine") for name in _REMOVED),
    )


def _ignored() -> tuple[Parameter, ...]:
    names = ("user", "session_id", "safety_identifier", "prompt_cache_key", "service_tier")
    metadata = Reader("up to 16 strings by name", _read_metadata)
    return (
        *(Parameter(name, "strip", text(512), "never used as identity") for name in names),
        Parameter("metadata", "strip", metadata),
    )


def _of_chat(limits: Limits) -> tuple[Parameter, ...]:
    efforts = one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
    tokens = clamped(1, limits.max_model_len, "the model's context")
    switches = Reader('"enable_thinking" or "thinking", true or false', _read_switches)
    rows = (
        Parameter("messages", "classify", Reader("a list of text messages", read_messages)),
        Parameter("tools", "classify", Reader("a list of functions", read_tools)),
        Parameter(
            "tool_choice", "pass", Reader("none, auto, required or a name", read_tool_choice)
        ),
        Parameter("parallel_tool_calls", "pass", boolean()),
        Parameter("max_completion_tokens", "clamp", tokens),
        Parameter("reasoning_effort", "pass", efforts),
        Parameter("chat_template_kwargs", "pass", switches),
        _reject("logprobs", _FALSE, "scores are taken before any guard"),
        _reject("top_logprobs", only(0), "scores are taken before any guard"),
        _reject("add_generation_prompt", _TRUE, "prefills the answer"),
        _reject("continue_final_message", _FALSE, "prefills the answer"),
        _reject("add_special_tokens", _FALSE, "the template's own"),
        _reject("include_reasoning", _TRUE, "changes where grammars begin"),
        _reject("chat_template", only(), "replaces the template"),
        _reject("documents", only([]), "not in the messages"),
        _reject("media_io_kwargs", only(), "text only"),
        _reject("mm_processor_kwargs", only(), "text only"),
        _reject("return_prompt_text", _FALSE, "shows the template"),
        _reject("store", _FALSE, "nothing is kept"),
        _reject("modalities", only(["text"]), "text only"),
        *(_reject(name, only(), "not offered") for name in _NOT_OFFERED),
    )
    return tuple(_only_of(row, "chat") for row in rows)


def _of_completions(limits: Limits) -> tuple[Parameter, ...]:
    words = f"a string, token ids, or a list of up to {limits.max_prompts} of either"
    prompt = Reader(words, lambda value: read_prompts(value, limits.max_prompts))
    rows = (
        Parameter("prompt", "classify", prompt, "ids are read as text and tokenised anew"),
        _reject("logprobs", only(), "scores are taken before any guard"),
        _reject("suffix", only(), "not offered"),
        _reject("prompt_embeds", only(), "nothing to classify"),
        _reject("add_special_tokens", _TRUE, "the model's own"),
    )
    return tuple(_only_of(row, "completions") for row in rows)


_STREAM_WORDS = "include_usage: true or false"
_REMOVED = (
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "guided_decoding_backend",
    "guided_whitespace_pattern",
)
_NOT_OFFERED = ("audio", "prediction", "web_search_options", "functions", "function_call")


def _reject(name: str, reader: Reader, why: str) -> Parameter:
    return Parameter(name, "reject", reader, why)


def _only_of(row: Parameter, api: Api) -> Parameter:
    return Parameter(row.name, row.handling, row.reader, row.why, (api,))


def _read_stream_options(value: Json) -> bool:
    """Whether the client wants usage at the end of a stream."""
    if not isinstance(value, dict):
        raise BadValue("must be an object")
    for name, item in value.items():
        if name not in ("include_usage", "include_obfuscation", "continuous_usage_stats"):
            raise BadValue("is not known", f".{shown(name)}", "unknown_parameter")
        if not isinstance(item, bool | None):
            raise BadValue("must be true or false", f".{name}")
        if item and name == "continuous_usage_stats":
            raise BadValue("is not supported", f".{name}", "parameter_not_allowed")
    return bool(value.get("include_usage"))


def _read_stop(value: Json) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(s, str) and s for s in given):
        raise BadValue("must be a string or a list of strings, none of them empty")
    if len(given) > 4 or any(len(s) > 512 for s in given):
        raise BadValue("must be at most 4 strings of at most 512 characters")
    return tuple(given)


def _read_bias(value: Json, limits: Limits) -> Json:
    if not isinstance(value, dict) or len(value) > 32:
        raise BadValue("must be an object of at most 32 token ids")
    for key, bias in value.items():
        token = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else -1
        if not 0 <= token < limits.vocabulary or token in limits.control_ids:
            raise BadValue("must name token ids, none of a control token")
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not -100 <= bias <= 0:
            raise BadValue("must hold biases from -100 to 0", code="parameter_not_allowed")
    return value or None


def _read_metadata(value: Json) -> None:
    strings = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if not strings or len(value) > 16:
        raise BadValue("must be an object of at most 16 strings")


def _read_switches(value: Json) -> Json:
    if not isinstance(value, dict):
        raise BadValue("must be an object")
    for name, item in value.items():
        if name not in ("enable_thinking", "thinking"):
            raise BadValue("is not supported", f".{shown(name)}", "parameter_not_allowed")
        if not isinstance(item, bool):
            raise BadValue("must be true or false", f".{name}")
    return value or None
