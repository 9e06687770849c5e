"""The bodies that this engine understands: closed, and nothing in them is silently ignored."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ApiError

Json = Any
Stop = str | list[Annotated[str, Field(min_length=1)]] | None

BAD_REQUEST = "BadRequestError"  # what vLLM calls it

# Declared by vLLM and not done here: taken only with values that ask for nothing.
_NEUTRAL: Mapping[str, tuple[Json, ...]] = MappingProxyType(
    {
        "add_generation_prompt": (True,),
        "add_special_tokens": (True, False),  # prompts are ids; a chat template adds its own
        "allowed_token_ids": (None,),
        "bad_words": (None, []),
        "best_of": (None, 1),
        "chat_template": (None,),
        "continue_final_message": (False,),
        "documents": (None,),
        "echo": (None, False),
        "ec_transfer_params": (None,),
        "include_reasoning": (True, False),
        "kv_transfer_params": (None,),
        "length_penalty": (1, 1.0),
        "logprob_token_ids": (None,),
        "logprobs": (None, False),
        "media_io_kwargs": (None,),
        "mm_payload": ("tensors",),
        "mm_processor_kwargs": (None,),
        "parallel_tool_calls": (None, True, False),  # no calls are made at all
        "priority": (0,),
        "prompt_embeds": (None,),
        "prompt_logprobs": (None,),
        "repetition_detection": (None,),
        "response_format": (None, {"type": "text"}),
        "return_mm_kwargs": (None,),
        "return_prompt_text": (None, False),
        "return_token_offsets": (None, False),
        "return_tokens_as_token_ids": (None, False),
        "routed_experts_prompt_start": (0,),
        "session_id": (None,),
        "spaces_between_special_tokens": (True,),
        "stream_interval": (None, 1),
        "structured_outputs": (None,),
        "suffix": (None, ""),
        "thinking_token_budget": (None,),
        "tool_choice": (None, "none", "auto"),
        "top_logprobs": (None, 0),
        "truncate_prompt_tokens": (None,),
        "truncation_side": (None,),
        "use_beam_search": (False,),
        "watermarking": (None, False),
    }
)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StreamOptions(_Closed):
    """What a stream has besides its text."""

    include_usage: bool | None = False
    continuous_usage_stats: Literal[False] | None = False


class GenerationBody(_Closed):
    """What chat and completions have in common."""

    model: str | None = None
    request_id: str | None = Field(None, min_length=1, max_length=128)
    user: str | None = None
    vllm_xargs: dict[str, Json] | None = None
    cache_salt: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(1, ge=1)
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    return_token_ids: bool | None = None

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def asked_tokens(self) -> int | None:
        """The most tokens asked for; None where the body leaves it open."""
        return self.max_tokens


class CompletionBody(GenerationBody):
    """POST /v1/completions.  prompt: token ids; text is tokenised by the gateway."""

    prompt: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    max_tokens: int | None = 16


class TextPart(_Closed):
    """A part of a message."""

    type: Literal["text"]
    text: str


class CalledFunction(_Closed):
    """What a tool call calls.  arguments: JSON text."""

    name: str
    arguments: str


class Call(_Closed):
    """A tool call that an assistant message made."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(_Closed):
    """One message, as the gateway sends it."""

    role: str
    content: str | list[TextPart] | None = None
    name: str | None = None
    reasoning: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[Call] | None = None


class ChatBody(GenerationBody):
    """POST /v1/chat/completions.  Tools are shown to the model; its calls come back as text."""

    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[dict[str, Json]] | None = None
    chat_template_kwargs: dict[str, Json] | None = None
    reasoning_effort: str | None = None
    max_completion_tokens: int | None = None

    @property
    def asked_tokens(self) -> int | None:
        """``max_completion_tokens`` goes before ``max_tokens``, as in vLLM."""
        newer = self.max_completion_tokens
        return self.max_tokens if newer is None else newer


Body = TypeVar("Body", bound=GenerationBody)


def parsed(kind: type[Body], data: bytes) -> Body:
    """The body, checked.  Raises ApiError (400), naming the field and quoting no value."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad_request(None, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise bad_request(None, "the body is not a JSON object")
    try:
        return kind.model_validate(_without_neutral(value))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        raise bad_request(field, f"{field}: {first['msg']}") from error


def bad_request(param: str | None, message: str) -> ApiError:
    """400 in vLLM's words."""
    return ApiError(400, message, BAD_REQUEST, param)


def _without_neutral(value: dict[str, Json]) -> dict[str, Json]:
    for field, allowed in _NEUTRAL.items():
        if field in value and value[field] not in allowed:
            raise bad_request(field, f"{field} is not supported by the in-process engine")
    return {field: each for field, each in value.items() if field not in _NEUTRAL}
