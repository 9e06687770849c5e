"""Rows of a table, wherever they lie, and how many of them are taken."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Row = Mapping[str, Any]
Rows = Sequence[Row]
Tables = Callable[[str, str], Rows]
"""Rows by configuration and split.  Raises LookupError where there is no such table."""

T = TypeVar("T")


def json_lines(file: Path) -> list[Row]:
    """One object in each line, or one list of objects.  Raises OSError and ValueError."""
    text = file.read_text(encoding="utf-8")
    try:
        found = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{file.name}: not JSON: {error}") from error
    if not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{file.name}: every row must be an object")
    return list(found)


def text_of(row: Row, *names: str, at: str) -> str:
    """The first of these columns that the row has.  Raises ValueError, which names the place."""
    for name in names:
        if isinstance(row.get(name), str):
            return str(row[name])
    raise ValueError(f"{at}: no text in {' or '.join(names)}; there are: {', '.join(sorted(row))}")


def texts_of(value: Any) -> tuple[str, ...]:
    """One text, several, or none."""
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value)


def sampled(items: Sequence[T], rows: int | None, seed: int) -> tuple[T, ...]:
    """At most so many of them, in their order; None is all."""
    if rows is None or len(items) <= rows:
        return tuple(items)
    chosen = random.Random(f"rows/{seed}").sample(range(len(items)), rows)
    return tuple(items[index] for index in sorted(chosen))
