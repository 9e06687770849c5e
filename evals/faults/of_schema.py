"""Faults in which requests are let in."""

from collections.abc import Callable
from typing import Any

from evals.faults.fault import Fault, swap


class _OfSchema(Fault):
    LAYER = "G"


class UnknownPassed(_OfSchema):
    """See BROKEN."""

    NAME = "unknown-fields-accepted"
    BROKEN = "fields that no table knows are accepted"

    def install(self) -> None:
        def lenient(read: Callable[..., Any]) -> Callable[..., Any]:
            return lambda table, body: read(table, {k: v for k, v in body.items() if k in table})

        swap("service.gateway.schema:read_parameters", lenient)


class PositiveBias(_OfSchema):
    """See BROKEN."""

    NAME = "positive-bias-accepted"
    BROKEN = "a logit bias that outbids guards is accepted"

    def install(self) -> None:
        swap(
            "service.gateway.parameters:_read_bias",
            lambda _: lambda value, _limits: {str(k): float(v) for k, v in value.items()},
        )


class ScoresAccepted(_OfSchema):
    """See BROKEN."""

    NAME = "scores-accepted"
    BROKEN = "logprobs may be asked for"

    def install(self) -> None:
        _take("logprobs", "top_logprobs", "prompt_logprobs")


class PrefillAccepted(_OfSchema):
    """See BROKEN."""

    NAME = "prefill-accepted"
    BROKEN = "an answer may be begun by the client"

    def install(self) -> None:
        _take("continue_final_message", "add_generation_prompt")
        swap("service.gateway.parameters:read_messages", _allowing_prefill)


def _take(*names: str) -> None:
    def lenient(read: Callable[..., Any]) -> Callable[..., Any]:
        return lambda row, value: None if row.name in names else read(row, value)

    swap("service.gateway.parameters:_read", lenient)


def _allowing_prefill(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrong(value: Any) -> Any:
        if not (isinstance(value, list) and value and value[-1].get("role") == "assistant"):
            return read(value)
        *before, last = read([*value, {"role": "user", "content": "."}])
        del last
        return tuple(before)

    return wrong
