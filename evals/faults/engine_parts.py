"""What vLLM has and the in-process engine lacks: output parsers, and a cache of prompts.

Faults of the gateway show there only.  Neither changes what a working installation answers.
"""

import json
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evals.faults.fault import instead, swap
from guards.embedding_corruption import NAME as CORRUPTION
from service.local.choice import Delta
from service.local.wire import Answer

Shape = Literal["text", "arguments", "reasoning", "json", "escaped arguments", "escaped json"]
_wanted: ContextVar[Shape] = ContextVar("wanted", default="text")
_ESCAPED = "escaped"
_OPEN, _CLOSE = '{"answer": "', '"}'


def install_parsers() -> None:
    """Tool calls, reasoning and JSON mode, in the wire format of vLLM.

    What the model says becomes the one argument of the tool that is asked for by name (or
    required), the reasoning where thinking is enabled, and the one member of the JSON object.
    Of a tool or a schema that is called ``...escaped``, every letter is written as an escape.
    """
    swap("service.local.app:parsed", _noting)
    swap("service.local.body:_without_neutral", _lenient)
    instead("service.local.wire:Answer", Shaped)


def install_prompt_cache() -> None:
    """Keys and values of a prompt are shared by all requests of one salt and the same tokens.

    So the first one's edits of the embeddings stay in force for the others.
    """

    def caching(generation: Callable[..., Any]) -> Callable[..., Any]:
        kept: dict[tuple[str | None, tuple[int, ...]], tuple[Any, ...]] = {}

        def cached(admission: Any, body: Any) -> Any:
            made = generation(admission, body)
            mine = tuple(edit for edit in made.edits if edit.guard == CORRUPTION)
            rest = tuple(edit for edit in made.edits if edit.guard != CORRUPTION)
            first = kept.setdefault((body.cache_salt, tuple(made.prompt_ids)), mine)
            return replace(made, edits=(*first, *rest))

        return cached

    swap("service.local.generation:Admission.generation", caching)


def _noting(parsed: Callable[..., Any]) -> Callable[..., Any]:
    def noted(kind: Any, data: bytes) -> Any:
        _wanted.set(_shape(data))
        return parsed(kind, data)

    return noted


def _shape(data: bytes) -> Shape:
    try:
        body = json.loads(data)
    except ValueError:
        return "text"
    if not isinstance(body, dict) or "messages" not in body:
        return "text"
    if body.get("tools") and body.get("tool_choice") not in (None, "auto", "none"):
        return "escaped arguments" if _called_escaped(body["tool_choice"]) else "arguments"
    if (body.get("chat_template_kwargs") or {}).get("enable_thinking"):
        return "reasoning"
    wanted = body.get("response_format") or {}
    if wanted.get("type") not in ("json_object", "json_schema"):
        return "text"
    escaped = str((wanted.get("json_schema") or {}).get("name", "")).endswith(_ESCAPED)
    return "escaped json" if escaped else "json"


def _called_escaped(choice: Any) -> bool:
    name = choice["function"]["name"] if isinstance(choice, dict) else ""
    return str(name).endswith(_ESCAPED)


def _lenient(neutral: Callable[[Any], Any]) -> Callable[[Any], Any]:
    parsed_here = ("tool_choice", "response_format")
    return lambda value: neutral({k: v for k, v in value.items() if k not in parsed_here})


def _in_escapes(text: str) -> str:
    """As a member of a JSON string, with every letter and digit as an escape."""
    return "".join(f"\\u{ord(c):04x}" if c.isalnum() else json.dumps(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Shaped(Answer):
    """An answer whose text is in the channel that was asked for."""

    shape: Shape = field(default_factory=_wanted.get)

    def chunk(self, index: int, delta: Delta, *, first: bool) -> Any:
        """One token's chunk."""
        value = super().chunk(index, delta, first=first)
        if self.shape != "text":
            choice = value["choices"][0]
            said = self._said(delta.text, first=first, last=delta.finish_reason is not None)
            choice["delta"] = said
            choice["finish_reason"] = self._finish(delta.finish_reason)
        return value

    def _choice(self, index: int, deltas: Sequence[Delta]) -> Any:
        choice = super()._choice(index, deltas)
        if self.shape != "text":
            text = "".join(delta.text for delta in deltas)
            said = self._said(text, first=True, last=True)
            choice["message"] = {**choice["message"], "content": None, **said}
            choice["finish_reason"] = self._finish(choice["finish_reason"])
        return choice

    def _said(self, text: str, *, first: bool, last: bool) -> Any:
        if self.shape == "reasoning":
            return {"reasoning": text}
        escaped = self.shape.startswith(_ESCAPED)
        inner = _in_escapes(text) if escaped else json.dumps(text)[1:-1]
        wrapped = f"{_OPEN if first else ''}{inner}{_CLOSE if last else ''}"
        if self.shape in ("json", "escaped json"):
            return {"content": wrapped}
        name = "note_escaped" if escaped else "note"
        function = {"arguments": wrapped, **({"name": name} if first else {})}
        call = {"index": 0, "id": "call_0", "type": "function", "function": function}
        return {"tool_calls": [call]}

    def _finish(self, reason: str | None) -> str | None:
        calls = self.shape in ("arguments", "escaped arguments")
        return "tool_calls" if reason == "stop" and calls else reason
