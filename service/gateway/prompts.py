"""The prompts of a completions request: strings, or token ids."""

from typing import Any

from service.gateway.readers import BadValue

Json = Any
GivenPrompt = str | tuple[int, ...]


def read_prompts(value: Json, most: int) -> tuple[GivenPrompt, ...]:
    """A string, token ids, or a list of either: always as a list.  Raises BadValue."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        raise BadValue("must be a string, a list of token ids, or a list of either")
    if all(_is_id(item) for item in value):
        return (tuple(value),)
    if len(value) > most:
        raise BadValue(f"must be at most {most} prompts")
    if all(isinstance(item, str) for item in value):
        return tuple(value)
    if all(isinstance(item, list) and item and all(map(_is_id, item)) for item in value):
        return tuple(tuple(item) for item in value)
    raise BadValue("must be a string, a list of token ids, or a list of either")


def _is_id(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
