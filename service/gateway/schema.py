"""Requests as the gateway understands them, made from the closed table of parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from models.conversation import Message
from service.errors import ApiError, invalid
from service.gateway.messages import leaves
from service.gateway.output_format import literals
from service.gateway.parameters import Limits, read_parameters, table
from service.gateway.prompts import GivenPrompt

Json = Any
_PASSED = (
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "stop_token_ids", "include_stop_str_in_output", "logit_bias"),
    *("response_format", "structured_outputs", "tool_choice", "parallel_tool_calls"),
    *("reasoning_effort", "chat_template_kwargs"),
)
COMPLETION_TOKENS = 16  # OpenAI's default for completions


@dataclass(frozen=True)
class Generation:
    """What both APIs share.  passed: what goes to the engine as it came, by name.

    max_tokens: None for as many as fit.  extra: texts that steer the answer but are no part of
    the prompt; they are classified beside it.
    """

    n: int
    max_tokens: int | None
    stream: bool
    include_usage: bool
    stop: tuple[str, ...]
    passed: Mapping[str, Json]
    extra: tuple[str, ...]
    structured: bool = False


@dataclass(frozen=True)
class ChatRequest:
    """A chat.  template: further variables of the chat template."""

    generation: Generation
    messages: tuple[Message, ...]
    tools: list[Json] | None
    template: Mapping[str, Json]


@dataclass(frozen=True)
class CompletionRequest:
    """Completions of one or more prompts."""

    generation: Generation
    prompts: tuple[GivenPrompt, ...]


class Schema:
    """Reads bodies into requests.  model: the one that is served."""

    def __init__(self, model: str, limits: Limits) -> None:
        self._model = model
        self._chat = table("chat", limits)
        self._completions = table("completions", limits)

    def chat(self, body: Mapping[str, Json]) -> ChatRequest:
        """Raises ApiError: 400 naming the field, 404 for another model."""
        given = read_parameters(self._chat, body)
        self._check_model(given)
        messages = _required(given, "messages")
        tools = given.get("tools")
        _check_tool_choice(given)
        if "tools" in given:
            given.setdefault("tool_choice", "auto")
        else:
            given.pop("tool_choice", None)
            given.pop("parallel_tool_calls", None)
        most = given.get("max_completion_tokens", given.get("max_tokens"))
        split = ("".join(m.parts) for m in messages if len(m.parts) > 1)
        generation = _generation(given, most, chain(leaves(tools or []), split))
        return ChatRequest(generation, messages, tools, _template(given))

    def completion(self, body: Mapping[str, Json]) -> CompletionRequest:
        """Raises ApiError: 400 naming the field, 404 for another model."""
        given = read_parameters(self._completions, body)
        self._check_model(given)
        prompts = _required(given, "prompt")
        most = given.get("max_tokens", COMPLETION_TOKENS)
        return CompletionRequest(_generation(given, most, ()), prompts)

    def _check_model(self, given: Mapping[str, Json]) -> None:
        if _required(given, "model") != self._model:
            message = "The requested model does not exist or is not available."
            raise ApiError(404, message, param="model", code="model_not_found")


def _generation(given: Mapping[str, Json], most: int | None, more: Iterable[str]) -> Generation:
    stream = given.get("stream", False)
    if "stream_options" in given and not stream:
        raise invalid("stream_options", "'stream_options' needs 'stream' to be true.")
    if "response_format" in given and "structured_outputs" in given:
        raise invalid("structured_outputs", "'structured_outputs' excludes 'response_format'.")
    formats = [given[name] for name in ("response_format", "structured_outputs") if name in given]
    stop = given.get("stop", ())
    return Generation(
        n=given.get("n", 1),
        max_tokens=most,
        stream=stream,
        include_usage=given.get("stream_options", False),
        stop=stop,
        passed={name: given[name] for name in _PASSED if name in given},
        extra=tuple(filter(None, chain(stop, *map(literals, formats), more))),
        structured=bool(formats) or "tools" in given,
    )


def _check_tool_choice(given: Mapping[str, Json]) -> None:
    choice = given.get("tool_choice", "none")
    tools = given.get("tools", ())
    if choice != "none" and not tools:
        raise invalid("tool_choice", "'tool_choice' needs 'tools'.")
    if isinstance(choice, dict):
        names = {tool["function"]["name"] for tool in tools}
        if choice["function"]["name"] not in names:
            raise invalid("tool_choice", "'tool_choice' names none of the tools.")


def _template(given: Mapping[str, Json]) -> Mapping[str, Json]:
    """What vLLM makes of the two parameters that reach the chat template."""
    variables = dict(given.get("chat_template_kwargs", {}))
    effort = given.get("reasoning_effort")
    if effort is not None:
        variables["reasoning_effort"] = effort
        variables.setdefault("enable_thinking", effort != "none")
    return variables


def _required(given: Mapping[str, Json], name: str) -> Json:
    if name not in given:
        raise invalid(name, f"Missing required parameter: '{name}'.", "missing_required_parameter")
    return given[name]
