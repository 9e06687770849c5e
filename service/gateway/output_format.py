"""Structured output: what a client may ask the answer to look like."""

import json
from contextlib import suppress
from typing import Any

from service.gateway.messages import leaves
from service.gateway.readers import BadValue

Json = Any
LARGEST = 16 * 1024
MOST_CHOICES = 64
_KINDS = ("json", "regex", "choice", "grammar", "json_object")


def read_response_format(value: Json) -> Json | None:
    """``{"type": "text" | "json_object" | "json_schema", ...}``; None for plain text."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise BadValue("must be an object with a type")
    kind = value["type"]
    if kind in ("text", "json_object"):
        if set(value) != {"type"}:
            raise BadValue("must hold nothing but its type")
        return None if kind == "text" else {"type": kind}
    if kind != "json_schema":
        raise BadValue('must be "text", "json_object" or "json_schema"', ".type")
    if set(value) != {"type", "json_schema"} or not isinstance(value["json_schema"], dict):
        raise BadValue("must be an object", ".json_schema")
    return {"type": kind, "json_schema": _read_schema(value["json_schema"])}


def _read_schema(value: dict[str, Json]) -> Json:
    if not set(value) <= {"name", "description", "schema", "strict"}:
        raise BadValue("holds something unknown", ".json_schema")
    for name in ("name", "description"):
        if not isinstance(value.get(name, ""), str | None):
            raise BadValue("must be a string", f".json_schema.{name}")
    if not isinstance(value.get("schema"), dict):
        raise BadValue("must be an object", ".json_schema.schema")
    _small(value["schema"], ".json_schema.schema")
    made = {"name": value.get("name") or "schema", "schema": value["schema"]}
    if isinstance(value.get("strict"), bool):
        made["strict"] = value["strict"]
    return made


def read_structured_outputs(value: Json) -> Json:
    """Exactly one of ``json``, ``regex``, ``choice``, ``grammar``, ``json_object``."""
    if not isinstance(value, dict):
        raise BadValue("must be an object")
    given = {key: item for key, item in value.items() if item is not None}
    if len(given) != 1 or not set(given) <= set(_KINDS):
        raise BadValue(f"must hold exactly one of {', '.join(_KINDS)}")
    kind, item = next(iter(given.items()))
    if not _fits(kind, item):
        raise BadValue("is not of the right kind", f".{kind}")
    _small(item, f".{kind}")
    return given


def _fits(kind: str, item: Json) -> bool:
    if kind == "json":
        return isinstance(item, dict | str)
    if kind == "choice":
        strings = isinstance(item, list) and all(isinstance(each, str) for each in item)
        return strings and 0 < len(item) <= MOST_CHOICES
    return item is True if kind == "json_object" else isinstance(item, str)


def _small(value: Json, path: str) -> None:
    if len(json.dumps(value)) > LARGEST:
        raise BadValue(f"must be at most {LARGEST} bytes", path)


def literals(value: Json) -> list[str]:
    """Every text of a format that could come out again, or lead the model."""
    found = list(leaves(value))
    if isinstance(value, dict) and isinstance(value.get("json"), str):
        with suppress(ValueError, RecursionError):  # not JSON: classified as the string it is
            found += leaves(json.loads(value["json"]))
    return found
