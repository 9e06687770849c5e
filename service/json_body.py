"""JSON from clients, read strictly: what two parsers could read differently is refused."""

import json
import math
from typing import Any

from service.errors import ApiError, invalid

Json = Any
DEEPEST = 32
_MOST_DIGITS = 19  # 64 bits


class _Unreadable(ValueError):
    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def read_object(body: bytes) -> dict[str, Json]:
    """The JSON object in a request body.  Raises ApiError (400)."""
    try:
        value = _DECODER.decode(body.decode("utf-8-sig"))
        _check(value)
    except _Unreadable as error:
        raise invalid(error.param, str(error)) from error
    except UnicodeDecodeError as error:
        raise invalid(None, "The request body is not valid UTF-8.") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise invalid(None, "The request body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise invalid(None, "The request body must be a JSON object.")
    return value


def _check(value: Json) -> None:
    """Refuse deep nesting, and strings that are not Unicode text (lone surrogates)."""
    level = [value]
    for _ in range(DEEPEST + 1):
        if not level:
            return
        below: list[Json] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
        level = below
    raise _too_deep()


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _Unreadable("A string of the request holds a lone surrogate.") from error


def _too_deep() -> ApiError:
    return invalid(None, f"The request is nested more than {DEEPEST} levels deep.")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Unreadable("The request has the same key twice in one object.", shown(twice))
    return found


def shown(key: str) -> str:
    """A key of the client's as an error may show it: short, and printable."""
    return "".join(c if c.isprintable() else "?" for c in key[:64])


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise _Unreadable("A number of the request needs more than 64 bits.")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Unreadable("A number of the request is out of range.")
    return value


def _constant(name: str) -> Json:
    raise _Unreadable(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
