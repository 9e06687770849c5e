"""Request bodies of the admin plane: bounded, strict, checked against a closed model."""

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.errors import ApiError, invalid
from service.json_body import read_object

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, model: type[Model], limit: int) -> Model:
    """The body as that model.  limit: bytes.  Raises ApiError (400), naming the field."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise invalid(None, "Compressed request bodies are not accepted.", "unsupported_encoding")
    media_type = request.headers.get("content-type", "application/json").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise invalid(None, "The body must be application/json.", "unsupported_media_type")
    value = read_object(await _bytes(request, limit))
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_input=False), value) from None


async def _bytes(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise invalid(None, f"The body is larger than {limit} bytes.", "body_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The body's part of a route's OpenAPI, since the route reads its body itself."""
    schema = model.model_json_schema()
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def refusal(errors: Sequence[Any], value: Any = None) -> ApiError:
    """400 for the first of pydantic's errors, without a word of what was sent."""
    first = errors[0]
    param = field_of(first["loc"], value)
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return invalid(param, "Unknown field.", "unknown_field")
    if first["type"] == "missing":
        return invalid(param, "This field is required.", "missing_field")
    if first["type"] in ("model_type", "dict_type"):
        return invalid(param, "This must be a JSON object.", "invalid_value")
    return invalid(param, f"Invalid value: {message[:1].lower()}{message[1:]}.", "invalid_value")


def field_of(location: Sequence[int | str], value: Any) -> str | None:
    """``aliases[2]`` for where pydantic says that it is.

    value: what was sent, by which the names of alternatives, which pydantic adds, are left out.
    """
    path = ""
    for number, part in enumerate(location):
        inside = isinstance(value, list | dict) and _has(value, part)
        missing = number == len(location) - 1 and isinstance(value, dict) and part not in value
        if not inside and not missing:
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}"[:128]
        value = value[part] if inside else None
    return path.removeprefix(".") or None


def _has(value: list[Any] | dict[Any, Any], part: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return part in value
