"""Answers in OpenAI's shape, built here: nothing of the engine's own envelope survives."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from service.errors import unavailable
from service.gateway.choice import Release
from service.gateway.run import Out

Json = Any
Api = Literal["chat", "completions"]
DONE = b"data: [DONE]\n\n"
_TEXTS = ("content", "reasoning", "refusal")


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of one answer."""

    prompt: int
    completion: int

    def to_json(self) -> Json:
        """OpenAI's ``usage``, with no detail of any cache."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every chunk of one answer has in common."""

    api: Api
    id: str
    model: str
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: list[Json], counts: Counts) -> bytes:
        """The body of an answer that is not streamed."""
        kind = "chat.completion" if self.api == "chat" else "text_completion"
        return msgspec.json.encode(
            {**self._head(kind), "choices": choices, "usage": counts.to_json()}
        )

    def chunk(self, choices: list[Json], *, usage: bool, counts: Counts | None = None) -> bytes:
        """One event.  usage: whether the client wants it, so that every chunk has the field."""
        kind = "chat.completion.chunk" if self.api == "chat" else "text_completion"
        value: dict[str, Json] = {**self._head(kind), "choices": choices}
        if usage:
            value["usage"] = counts.to_json() if counts else None
        return b"data: " + msgspec.json.encode(value) + b"\n\n"

    def _head(self, kind: str) -> dict[str, Json]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def error_event() -> bytes:
    """What ends a stream that cannot go on."""
    return b"data: " + msgspec.json.encode(unavailable().body) + b"\n\n"


class ChatDeltas:
    """Turns what leaves into the choices of chat chunks."""

    def __init__(self, call_ids: "CallIds") -> None:
        self._call_ids = call_ids

    def choice(self, out: Out) -> Json:
        """The choice of one chunk."""
        if out.release is None and out.finish is None:
            return _chunk_choice(out.index, {"role": "assistant", "content": ""})
        delta = {} if out.release is None else self._delta(out.index, out.release)
        return _chunk_choice(out.index, delta, out.finish)

    def _delta(self, index: int, release: Release) -> Json:
        kind, call = release.channel
        if kind in _TEXTS:
            return {kind: release.text}
        if kind == "arguments":
            return {"tool_calls": [{"index": call, "function": {"arguments": release.text}}]}
        return {
            "tool_calls": [
                {
                    "index": call,
                    "id": self._call_ids.of(index, call),
                    "type": "function",
                    "function": {"name": release.text, "arguments": ""},
                }
            ]
        }


class TextDeltas:
    """Turns what leaves into the choices of completion chunks."""

    def choice(self, out: Out) -> Json | None:
        """The choice of one chunk; None where there is nothing to tell."""
        if out.release is None and out.finish is None:
            return None
        text = out.release.text if out.release is not None else ""
        return _text_choice(out.index, text, out.finish)


class CallIds:
    """Ids of tool calls, ours: the engine's are not passed on."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def of(self, index: int, call: int) -> str:
        """The id of one call of one choice."""
        return f"call_{self._seed}{index:02x}{call:02x}"


class Joined:
    """Collects what leaves into whole choices."""

    def __init__(self, api: Api, call_ids: CallIds) -> None:
        self._api = api
        self._call_ids = call_ids
        self._texts: dict[tuple[int, str, int], list[str]] = {}
        self._finish: dict[int, str] = {}

    def add(self, out: Out) -> None:
        """Take in what left."""
        if out.release is not None:
            key = (out.index, *out.release.channel)
            self._texts.setdefault(key, []).append(out.release.text)
        if out.finish is not None:
            self._finish[out.index] = out.finish

    def choices(self) -> list[Json]:
        """The choices, in order."""
        return [self._choice(index, self._finish[index]) for index in sorted(self._finish)]

    def _choice(self, index: int, finish: str) -> Json:
        if self._api == "completions":
            return _text_choice(index, self._text(index, "content"), finish)
        message: dict[str, Json] = {"role": "assistant"}
        calls = self._calls(index)
        content = self._text(index, "content")
        message["content"] = None if calls and not content else content
        message["refusal"] = self._text(index, "refusal") or None
        if reasoning := self._text(index, "reasoning"):
            message["reasoning"] = reasoning
        if calls:
            message["tool_calls"] = calls
        return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}

    def _calls(self, index: int) -> list[Json]:
        numbers = sorted(c for i, kind, c in self._texts if i == index and kind == "name")
        return [
            {
                "id": self._call_ids.of(index, number),
                "type": "function",
                "function": {
                    "name": self._text(index, "name", number),
                    "arguments": self._text(index, "arguments", number),
                },
            }
            for number in numbers
        ]

    def _text(self, index: int, kind: str, call: int = 0) -> str:
        return "".join(self._texts.get((index, kind, call), ()))


def _chunk_choice(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text_choice(index: int, text: str, finish: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
