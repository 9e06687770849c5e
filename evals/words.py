"""Gathering every word of an answer, in whatever field it comes, streamed or joined."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.probe import Reply

_NO_WORDS = frozenset({"role", "index", "id", "type", "object", "finish_reason", "stop_reason"})
"""Fields whose strings the endpoint chooses from a fixed list, or makes up by itself."""
_CONTENT = frozenset({"content", "text"})
_SAME = ("reasoning_content", "reasoning")
"""Two names under which servers send one thing; some send both."""


class Heard:
    """One answer being taken in.  Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._channels: dict[str, list[str]] = {}
        self._finish = ""
        self._usage: Mapping[str, Any] = {}
        self._began = self._first = self._last = 0.0

    @property
    def anything(self) -> bool:
        """Whether a word has come."""
        return bool(self._channels)

    def begins(self, now: float) -> None:
        """The request is sent."""
        self._began = self._first = self._last = now

    def takes(self, body: Mapping[str, Any], now: float) -> None:
        """A chunk of a stream, or a whole answer."""
        self._last = now
        for choice in body.get("choices") or ():
            for channel, word in words_of(choice):
                if not self._channels:
                    self._first = now
                self._channels.setdefault(channel, []).append(word)
            self._finish = choice.get("finish_reason") or self._finish
        self._usage = body.get("usage") or self._usage

    def ends(self, now: float) -> None:
        """The last byte has come."""
        self._last = now

    def reply(self) -> Reply:
        """What was heard; ``text`` is the content of the first choice."""
        channels = {name: "".join(words) for name, words in self._channels.items()}
        return Reply(
            text=channels.pop("", ""),
            channels=channels,
            finish=self._finish,
            tokens=self._usage.get("completion_tokens") or 0,
            prompt_tokens=self._usage.get("prompt_tokens") or 0,
            seconds=self._last - self._began,
            first=(self._first if self._channels else self._last) - self._began,
        )

    def broken(self, finish: str) -> Reply | None:
        """What was heard of an answer that failed; None where that is nothing."""
        return self.reply().model_copy(update={"finish": finish}) if self.anything else None


def words_of(choice: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The strings that a choice (or its delta) carries, each with the name of its channel.

    The content of the first choice is the channel "".  Fields that no standard names are channels
    too: whatever reaches a client may leak.
    """
    number = choice.get("index") or 0
    for path, word in _strings(choice, ()):
        name = _channel(path)
        yield (f"{name or 'content'} of choice {number}" if number else name), word


def _channel(path: Sequence[str]) -> str:
    wrapped = [part for part in path if part not in ("message", "delta", "function")]
    inner = wrapped or list(path)
    if len(inner) == 1 and inner[0] in _CONTENT:
        return ""
    if inner[0] == "tool_calls" and len(inner) > 1:
        call = "" if inner[1] == "0" else f" {inner[1]}"
        return f"tool_{inner[-1]}{call}"
    if inner[0] == "logprobs":
        return "top_logprobs" if "top_logprobs" in inner else "logprobs"
    return ".".join(_SAME[1] if part == _SAME[0] else part for part in inner if not part.isdigit())


def _strings(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        if value and path[-1] not in _NO_WORDS:
            yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key == _SAME[0] and value.get(_SAME[1]):
                continue
            yield from _strings(inner, (*path, str(key)))
    elif isinstance(value, Sequence):
        for place, inner in enumerate(value):
            number = inner.get("index", place) if isinstance(inner, Mapping) else place
            yield from _strings(inner, (*path, str(number)))
