"""What the options of a guard may be: faults are said by name, and never quote a value."""

from collections.abc import Mapping
from typing import Any


class InvalidOption(ValueError):
    """An option that a guard cannot use.  option: its name, with the place in it if there is one.

    The text says what it must be.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def check_text(option: str, value: object, longest: int) -> None:
    """Raise InvalidOption unless the value is a text of 1 to ``longest`` characters."""
    if not isinstance(value, str) or not value.strip() or len(value) > longest or "\0" in value:
        raise InvalidOption(option, f"must be a text of 1 to {longest} characters")


def check_integer(option: str, value: object, low: int, high: int) -> None:
    """Raise InvalidOption unless the value is an integer from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOption(option, f"must be an integer from {low} to {high}")


def check_keys(option: str, value: object, keys: frozenset[str]) -> Mapping[str, Any]:
    """The value, if it is an object with exactly these keys.  Raises InvalidOption."""
    if not isinstance(value, Mapping) or set(value) != keys:
        raise InvalidOption(option, f"must be an object with {' and '.join(sorted(keys))}")
    return value
