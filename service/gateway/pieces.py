"""What an engine says, streamed or whole, as pieces of one form."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from service.gateway.unavailable import UpstreamFailed

Kind = Literal["reasoning", "content", "refusal", "name", "arguments"]


class Channel(NamedTuple):
    """One text of a choice.  call: which tool call it belongs to."""

    kind: Kind
    call: int = 0


CONTENT = Channel("content")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one choice.  texts: in the order in which they were said."""

    index: int
    texts: tuple[tuple[Channel, str], ...]
    finish: str | None


class Usage(msgspec.Struct):
    """Tokens, as the engine counts them."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    reasoning: str | None = None
    reasoning_content: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class Said(msgspec.Struct):
    """An answer, or one chunk of it.  Fields that we do not know are dropped here for good."""

    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None

    def pieces(self) -> list[Piece]:
        """The pieces in it.  Raises UpstreamFailed where a choice ended in an error."""
        return [_piece(choice) for choice in self.choices]


_DECODER = msgspec.json.Decoder(Said)
_FAILED = ("error", "abort", "cancelled")
_FINISHES = ("stop", "length", "tool_calls")


def read_said(data: bytes) -> Said:
    """Raises UpstreamFailed for anything but an answer: garbage, or an error in mid-stream."""
    try:
        said = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamFailed from error
    if said.error is not None:
        raise UpstreamFailed
    return said


def _piece(choice: _Choice) -> Piece:
    if choice.finish_reason in _FAILED:
        raise UpstreamFailed
    known = choice.finish_reason in (None, *_FINISHES)
    finish = choice.finish_reason if known else "stop"
    texts = [(CONTENT, choice.text)] if choice.text else []
    said = choice.delta or choice.message
    return Piece(choice.index, tuple(texts + (_texts(said) if said else [])), finish)


def _texts(said: _Said) -> list[tuple[Channel, str]]:
    texts = [
        (Channel("reasoning"), said.reasoning or said.reasoning_content),
        (CONTENT, said.content),
        (Channel("refusal"), said.refusal),
    ]
    for number, call in enumerate(said.tool_calls or ()):
        index = number if call.index is None else call.index
        function = call.function or _Function()
        texts.append((Channel("name", index), function.name))
        texts.append((Channel("arguments", index), function.arguments))
    return [(channel, text) for channel, text in texts if text]
