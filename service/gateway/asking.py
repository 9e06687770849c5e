"""Asking an engine: what may be believed of its answer, and its refusals in our words."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from service.admission import PREFIX
from service.errors import ApiError, invalid
from service.gateway.parameters import names
from service.gateway.pieces import Said
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason, UpstreamFailed
from service.gateway.upstream import Answer, Upstream

Json = Any


async def said(
    upstream: Upstream, trust: EngineTrust, path: str, body: Mapping[str, Json]
) -> AsyncGenerator[Said, None]:
    """What the engine says, streamed or whole as the body wants.

    Raises GuardUnavailable where it may not be believed, ApiError (400) where it refuses.
    """
    async with upstream.post(path, body) as answer:
        await _check(answer, trust)
        async with aclosing(answer.said(stream=bool(body.get("stream")))) as parts:
            async for part in parts:
                yield part


async def _check(answer: Answer, trust: EngineTrust) -> None:
    """Raise unless this is an answer of an engine that may be believed."""
    trust.check(answer.boot_id)
    if answer.status == 200:
        return
    body = await answer.body()
    if answer.status != 400:
        raise UpstreamFailed
    if refused(body):
        raise GuardUnavailable(Reason.ENGINE_REFUSED)
    raise _sanitised(_error(body))


def refused(body: bytes) -> bool:
    """Whether an engine's 400 is a refusal of the plugin's."""
    return _message(_error(body)).startswith(PREFIX)


# What an engine says -> what we say: its own words may quote the prompt.
_REFUSALS = (
    ("greedy sampling", "n", "'n' must be 1 where 'temperature' is 0."),
    ("--tool-call-parser", "tool_choice", "This model does not support this use of tools."),
    ("grammar", "response_format", "The output format could not be compiled."),
    ("regex", "structured_outputs", "The output format could not be compiled."),
)


def _sanitised(error: Mapping[str, Json]) -> ApiError:
    """The engine's 400 in our words.  Of its own, only the name of a parameter is passed on."""
    message = _message(error)
    for sign, param, words in _REFUSALS:
        if sign in message:
            return invalid(param, words)
    named = error.get("param")
    if isinstance(named, str) and named in names():
        return invalid(named, f"The engine refused this value of '{named}'.")
    return invalid(None, "The engine refused this combination of parameters.")


def _error(body: bytes) -> Mapping[str, Json]:
    """The error in an engine's answer; empty where there is none."""
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _message(error: Mapping[str, Json]) -> str:
    return str(error.get("message", ""))
