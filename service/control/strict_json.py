"""JSON read strictly: what two parsers could read differently is refused."""

import json
from typing import Any

MAX_DEPTH = 32
MAX_NODES = 10_000
_LARGEST = 2**63


class NotStrictJson(ValueError):
    """The bytes are not one unambiguous JSON value.  Says why, without quoting them."""


def parse(body: bytes) -> Any:
    """The value.  Raises NotStrictJson.

    Refused: invalid UTF-8, byte-order marks, duplicate keys, NaN and infinities, integers beyond
    64 bits, lone surrogates, more than 32 levels or 10,000 values.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJson("the body is not valid UTF-8") from None
    if _deepest(text) > MAX_DEPTH:
        raise NotStrictJson(f"the body is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
        )
    except NotStrictJson:
        raise
    except ValueError:
        raise NotStrictJson("the body is not valid JSON") from None
    _check(value)
    return value


def _deepest(text: str) -> int:
    # Counted before parsing, since parsers recurse; brackets within strings only overcount.
    depth = deepest = 0
    for char in text:
        if char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotStrictJson("an object has the same key twice")
    return value


def _constant(_name: str) -> float:
    raise NotStrictJson("NaN and Infinity are not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -_LARGEST <= int(digits) < _LARGEST:
        raise NotStrictJson("an integer has more than 64 bits")
    return int(digits)


def _check(value: Any) -> None:
    waiting, nodes = [value], 0
    while waiting:
        node = waiting.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise NotStrictJson(f"the body has more than {MAX_NODES} values")
        if isinstance(node, dict):
            waiting.extend((*node.keys(), *node.values()))
        elif isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, str) and not _is_text(node):
            raise NotStrictJson("a string holds a lone surrogate")
        elif isinstance(node, float) and node in (float("inf"), float("-inf")):
            raise NotStrictJson("a number is too large")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
