"""Messages and tools of a chat request, read into values without anything undeclared."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.conversation import Message, ToolCall
from service.gateway.readers import BadValue, at
from service.json_body import shown

Json = Any
ROLES = ("system", "developer", "user", "assistant", "tool")
MOST_MESSAGES = 2048
MOST_TOOLS = 128
_TEXT_PARTS = {"text": "text", "refusal": "refusal"}
_OF_ANY_ROLE = {"role", "content", "name"}
_OF_ROLE = {
    "assistant": {"tool_calls", "reasoning", "reasoning_content", "refusal", "annotations"}
    | {"audio", "function_call"},
    "tool": {"tool_call_id"},
}
_MUST_BE_EMPTY = {"annotations", "audio", "function_call"}


def read_messages(value: Json) -> tuple[Message, ...]:
    """The messages of a chat.  Raises BadValue naming the place."""
    if not isinstance(value, list) or not value:
        raise BadValue("must be a list of at least one message")
    if len(value) > MOST_MESSAGES:
        raise BadValue(f"must have at most {MOST_MESSAGES} messages")
    messages = tuple(at(f".{i}", _read_message, each) for i, each in enumerate(value))
    if messages[-1].role == "assistant":
        raise BadValue("must not end with an assistant message", f".{len(messages) - 1}.role")
    return messages


def _read_message(value: Json) -> Message:
    fields = _object(value, "must be an object")
    role = fields.get("role")
    if role not in ROLES:
        raise BadValue(f"must be one of {', '.join(ROLES)}", ".role")
    _closed(fields, _OF_ANY_ROLE | _OF_ROLE.get(role, set()))
    for name in _MUST_BE_EMPTY & fields.keys():
        if fields[name]:
            raise BadValue("is not supported", f".{name}", "parameter_not_allowed")
    calls = at(".tool_calls", _read_calls, fields.get("tool_calls"))
    parts = at(".content", _read_content, fields.get("content"))
    if fields.get("content") is None and role != "assistant":
        raise BadValue("is missing", ".content")
    reasoning = _optional(fields, "reasoning")
    if reasoning is None:
        reasoning = _optional(fields, "reasoning_content")
    _optional(fields, "refusal")  # chat templates never see it
    return Message(
        role=role,
        parts=parts,
        name=_optional(fields, "name"),
        reasoning=reasoning,
        tool_call_id=_optional(fields, "tool_call_id"),
        tool_calls=calls,
    )


def _read_content(value: Json) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise BadValue("must be a string or a list of text parts")
    return tuple(at(f".{i}", _read_part, part) for i, part in enumerate(value))


def _read_part(value: Json) -> str:
    fields = _object(value, "must be an object")
    key = _TEXT_PARTS.get(fields.get("type", "")) if isinstance(fields.get("type"), str) else None
    if key is None:
        raise BadValue("is not a supported content part: only text is", ".type")
    _closed(fields, {"type", key})
    return _text(fields.get(key), f".{key}")


def _read_calls(value: Json) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadValue("must be a list")
    return tuple(at(f".{i}", _read_call, call) for i, call in enumerate(value))


def _read_call(value: Json) -> ToolCall:
    fields = _object(value, "must be an object")
    _closed(fields, {"id", "type", "function", "index"})
    if fields.get("type", "function") != "function":
        raise BadValue('must be "function"', ".type")
    function = at(".function", lambda f: _object(f, "must be an object"), fields.get("function"))
    at(".function", lambda f: _closed(f, {"name", "arguments"}), function)
    return ToolCall(
        id=_text(fields.get("id"), ".id"),
        name=_text(function.get("name"), ".function.name"),
        arguments=_text(function.get("arguments", ""), ".function.arguments"),
    )


def read_tools(value: Json) -> list[Json]:
    """The tools as vLLM hands them to the chat template."""
    if not isinstance(value, list) or not value:
        raise BadValue("must be a list of at least one tool")
    if len(value) > MOST_TOOLS:
        raise BadValue(f"must have at most {MOST_TOOLS} tools")
    return [at(f".{i}", _read_tool, tool) for i, tool in enumerate(value)]


def _read_tool(value: Json) -> Json:
    fields = _object(value, "must be an object")
    _closed(fields, {"type", "function"})
    if fields.get("type") != "function":
        raise BadValue('must be "function"', ".type")
    function = at(".function", lambda f: _object(f, "must be an object"), fields.get("function"))
    at(".function", lambda f: _closed(f, {"name", "description", "parameters", "strict"}), function)
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadValue("must be an object", ".function.parameters")
    made = {
        "name": _text(function.get("name"), ".function.name"),
        "description": at(".function", lambda f: _optional(f, "description"), function),
        "parameters": parameters,
    }
    if isinstance(function.get("strict"), bool):
        made["strict"] = function["strict"]
    elif function.get("strict") is not None:
        raise BadValue("must be true or false", ".function.strict")
    return {"type": "function", "function": made}


def read_tool_choice(value: Json) -> Json:
    """ "none", "auto", "required", or one named function."""
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise BadValue('must be "none", "auto", "required" or a named function')
        return value
    fields = _object(value, 'must be "none", "auto", "required" or a named function')
    _closed(fields, {"type", "function"})
    function = at(".function", lambda f: _object(f, "must be an object"), fields.get("function"))
    at(".function", lambda f: _closed(f, {"name"}), function)
    name = _text(function.get("name"), ".function.name")
    return {"type": "function", "function": {"name": name}}


def leaves(value: Json) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)


def _object(value: Json, otherwise: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise BadValue(otherwise)
    return value


def _closed(fields: Iterable[str], known: set[str]) -> None:
    for name in fields:
        if name not in known:
            raise BadValue("is not known", f".{shown(name)}", "unknown_parameter")


def _optional(fields: Mapping[str, Json], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else _text(value, f".{name}")


def _text(value: Json, path: str) -> str:
    if not isinstance(value, str):
        raise BadValue("must be a string", path)
    return value
