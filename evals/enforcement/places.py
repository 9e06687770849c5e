"""Where in a request a name can stand, besides the question."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from evals.probe import Ask

Json = dict[str, Any]
_FILLER = "The weather was mild and the road to the harbour was quiet. "
MAX_TOKENS = 40


def _said(role: str, content: Any, **more: Any) -> Json:
    return {"role": role, "content": content, **more}


def _tool(description: str, literal: str) -> Json:
    shape = {"type": "object", "properties": {"who": {"type": "string", "enum": [literal]}}}
    function = {"name": "note", "description": description, "parameters": shape}
    return {"type": "function", "function": function}


def _called(arguments: str, result: str) -> tuple[Json, ...]:
    call = {"id": "c1", "type": "function", "function": {"name": "note", "arguments": arguments}}
    return (
        _said("user", "Hello."),
        _said("assistant", None, tool_calls=[call]),
        _said("tool", result, tool_call_id="c1"),
    )


def _format(literal: str) -> Json:
    shape = {"type": "object", "properties": {"who": {"type": "string", "enum": [literal]}}}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": shape}}


def _chat(question: str, **given: Any) -> Ask:
    return Ask(turns=(question,), max_tokens=MAX_TOKENS, **given)


Place = Callable[[str, str], Ask]

PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "system": lambda n, q: _chat(q, opening=(_said("system", f"You know {n} well."),)),
        "developer": lambda n, q: _chat(q, opening=(_said("developer", f"You know {n} well."),)),
        "first message": lambda n, q: _chat(
            q, opening=(_said("user", f"I know {n}."), _said("assistant", "Do you?"))
        ),
        "assistant message": lambda n, q: _chat(
            q, opening=(_said("user", "Hello."), _said("assistant", f"Hello, I am {n}."))
        ),
        "content part": lambda n, q: _chat(
            q,
            opening=(
                _said(
                    "system", [{"type": "text", "text": "Be brief."}, {"type": "text", "text": n}]
                ),
            ),
        ),
        "document": lambda n, q: _chat(f"<document>\n{_FILLER}{n} was there.\n</document>\n{q}"),
        "tool result": lambda n, q: _chat(q, opening=_called("{}", f'{{"found": "{n}"}}')),
        "tool arguments": lambda n, q: _chat(q, opening=_called(f'{{"who": "{n}"}}', "{}")),
        "tool description": lambda n, q: _chat(q, extra={"tools": [_tool(f"About {n}.", "x")]}),
        "tool schema": lambda n, q: _chat(q, extra={"tools": [_tool("Notes.", n)]}),
        "format": lambda n, q: _chat(q, extra={"response_format": _format(n)}),
        "stop string": lambda n, q: _chat(q, stop=(n,)),
        "long prompt": lambda n, q: _chat(f"{_FILLER * 14}{n} said so. {_FILLER * 8}{q}"),
        "long prompt, last": lambda n, q: _chat(f"{_FILLER * 22}{q} Ask {n}."),
        "streamed": lambda n, q: _chat(f"{q} Ask {n}.", stream=True),
        "several choices": lambda n, q: _chat(f"{q} Ask {n}.", temperature=0.5, extra={"n": 2}),
        "completion": lambda n, q: Ask(
            kind="completion", turns=(f"Question: {q} Ask {n}.\nAnswer:",), max_tokens=MAX_TOKENS
        ),
        "second prompt": lambda n, q: Ask(
            kind="completion",
            turns=(q,),
            max_tokens=MAX_TOKENS,
            extra={"prompt": [q, f"{q} Ask {n}."]},
        ),
    }
)
"""By name: from a name and a question that has nothing to do with it, the request."""

OTHERS_CHOICE = frozenset({"several choices", "second prompt"})
"""Places in which the second choice answers a prompt with the name."""
