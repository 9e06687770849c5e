"""A conversation in the one form that both gateway and vLLM make of what a client sent."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.content_format import ContentFormat

Json = Any
# A line that vLLM drops from the head of system texts: dropped here first, so that both agree.
_DROPPED_HEADER = "x-anthropic-billing-header"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that an assistant message made.  arguments: JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message.  parts: its texts; a plain string is one part."""

    role: str
    parts: tuple[str, ...] = ()
    name: str | None = None
    reasoning: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()

    def texts(self) -> Iterator[str]:
        """Every string in it that the client chose."""
        yield from self.parts
        yield from (s for s in (self.name, self.reasoning, self.tool_call_id) if s)
        for call in self.tool_calls:
            yield from (call.id, call.name, call.arguments)


def settled(messages: Sequence[Message], *, developer: bool) -> tuple[Message, ...]:
    """Without anything that vLLM would rewrite.  developer: whether the template knows that role.

    Where it does not, developer messages become system ones, and all system texts one, at the top.
    """
    if any(m.role == "developer" for m in messages) and not developer:
        messages = _with_one_system_message(
            [replace(m, role="system") if m.role == "developer" else m for m in messages]
        )
    return tuple(_without_header(m) if m.role == "system" else m for m in messages)


def to_wire(message: Message, form: ContentFormat) -> dict[str, Json]:
    """The message as it is sent to the engine."""
    sent: dict[str, Json] = {"role": message.role, "content": _content(message, form)}
    if message.tool_calls:
        sent["tool_calls"] = [_call(c, c.arguments) for c in message.tool_calls]
    if message.role == "assistant" and message.reasoning is not None:
        sent["reasoning"] = message.reasoning
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        sent["name"] = message.name
    return sent


def to_template(message: Message, form: ContentFormat) -> dict[str, Json]:
    """The message as vLLM hands it to the chat template, keys in the same order."""
    given: dict[str, Json] = {"role": message.role, "content": _content(message, form)}
    if message.tool_calls:
        given["tool_calls"] = [_call(c, json.loads(c.arguments)) for c in message.tool_calls]
    if message.role == "assistant" and message.reasoning is not None:
        given["reasoning"] = given["reasoning_content"] = message.reasoning
    if message.role == "tool":
        if message.tool_call_id is not None:
            given["tool_call_id"] = message.tool_call_id
        given["content"] = "\n".join(
            message.parts if form == "openai" else filter(None, message.parts)
        )
    if message.name is not None:
        given["name"] = message.name
    return given


def _content(message: Message, form: ContentFormat) -> Json:
    if form == "string":
        return "\n".join(part for part in message.parts if part)
    return [{"type": "text", "text": part} for part in message.parts]


def _call(call: ToolCall, arguments: Json) -> dict[str, Json]:
    function = {"arguments": arguments, "name": call.name}
    return {"id": call.id, "function": function, "type": "function"}


def _with_one_system_message(messages: Sequence[Message]) -> Sequence[Message]:
    system = [m for m in messages if m.role == "system"]
    if len(system) == 1 and messages[0].role == "system":
        return messages
    texts = ("\n".join(m.parts) for m in system)
    one = Message("system", ("\n\n".join(text for text in texts if text),))
    return [one, *(m for m in messages if m.role != "system")]


def _without_header(message: Message) -> Message:
    return replace(message, parts=tuple(p for part in message.parts for p in _beheaded(part)))


def _beheaded(part: str) -> Iterator[str]:
    dropped = False
    while part.startswith(_DROPPED_HEADER):
        part, dropped = part.partition("\n")[2], True
    if part or not dropped:
        yield part
