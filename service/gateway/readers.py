"""Readers of one parameter's value: each says in words what it accepts, and accepts just that."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = Any


class BadValue(ValueError):
    """A value that is not accepted.  path: where in it the fault lies, as ``.0.content``."""

    def __init__(self, message: str, path: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.code = code


@dataclass(frozen=True, slots=True)
class Reader:
    """accepts: in words, for the documentation and for errors.  read: raises BadValue."""

    accepts: str
    read: Callable[[Json], Json]


def number(low: float, high: float, *, above: bool = False) -> Reader:
    """A number from low to high; above: low itself is not accepted."""
    words = f"a number {'above' if above else 'from'} {low:g} {'up to' if above else 'to'} {high:g}"

    def read(value: Json) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadValue(f"must be {words}")
        if not low <= value <= high or (above and value == low):
            raise BadValue(f"must be {words}")
        return value

    return Reader(words, read)


def integer(low: int, high: int) -> Reader:
    """An integer from low to high, both accepted."""
    words = f"an integer from {low} to {high}"

    def read(value: Json) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadValue(f"must be {words}")
        return value

    return Reader(words, read)


def clamped(low: int, high: int, limit: str) -> Reader:
    """An integer from low up; whatever is above high is taken as high."""
    words = f"an integer from {low}, at most {limit}"

    def read(value: Json) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise BadValue(f"must be an integer, at least {low}")
        return min(value, high)

    return Reader(words, read)


def boolean() -> Reader:
    """true or false."""

    def read(value: Json) -> bool:
        if not isinstance(value, bool):
            raise BadValue("must be true or false")
        return value

    return Reader("true or false", read)


def one_of(*values: str) -> Reader:
    """One of these strings."""
    words = "one of " + ", ".join(f'"{value}"' for value in values)

    def read(value: Json) -> str:
        if not isinstance(value, str) or value not in values:
            raise BadValue(f"must be {words}")
        return value

    return Reader(words, read)


def text(longest: int) -> Reader:
    """A string of at most so many characters."""
    words = f"a string of at most {longest} characters"

    def read(value: Json) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise BadValue(f"must be {words}")
        return value

    return Reader(words, read)


def list_of(item: Reader, most: int) -> Reader:
    """A list of at most so many items."""
    words = f"a list of at most {most} items, each {item.accepts}"

    def read(value: Json) -> list[Json]:
        if not isinstance(value, list):
            raise BadValue(f"must be {words}")
        if len(value) > most:
            raise BadValue(f"must be a list of at most {most} items")
        return [at(f".{index}", item.read, each) for index, each in enumerate(value)]

    return Reader(words, read)


def only(*neutral: Json) -> Reader:
    """Nothing but values that change nothing: everything else is not allowed here."""
    words = " or ".join(["absent", *(json.dumps(value) for value in neutral)])

    def read(value: Json) -> None:
        if not any(type(value) is type(each) and value == each for each in neutral):
            raise BadValue("is not supported", code="parameter_not_allowed")

    return Reader(words, read)


def at(path: str, read: Callable[[Json], Json], value: Json) -> Json:
    """Read a part of a value; a fault in it names the way to it."""
    try:
        return read(value)
    except BadValue as error:
        raise BadValue(str(error), path + error.path, error.code) from error
