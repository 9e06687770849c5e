"""Handing audit lines to an auditor: one file, in the order of time, that proves itself."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import Any, BinaryIO

from models.artifact import canonical_json

FORMAT = "lethe audit export v1"


def export(
    chains: Iterable[Sequence[Path]],
    out: BinaryIO,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    further: Iterable[Mapping[str, Any]] = (),
) -> int:
    """Write the lines between two times as JSON lines; how many.  Raises OSError.

    Each holds the record, the file and line it stands in, and the SHA-256 that the next line of its
    chain names.  Before them comes a header; after them ``further`` documents (policies'
    certificates), and a footer with the SHA-256 of all that precedes it.
    """
    digest = hashlib.sha256()

    def put(value: Mapping[str, Any]) -> None:
        line = canonical_json(dict(value)) + b"\n"
        digest.update(line)
        out.write(line)

    put({"format": FORMAT, "made": datetime.now(UTC).isoformat(), "since": _text(since)})
    count = 0
    # Lines of one chain are in the order of time, but for clocks that were set.
    for _, line in merge(*map(_lines, chains), key=lambda pair: pair[0]):
        at = _moment(line["record"].get("time"))
        if at is None or (since and at < since) or (until and at >= until):
            continue
        put(line)
        count += 1
    for document in further:
        put({"document": dict(document)})
    put({"lines": count, "sha256": digest.hexdigest()})
    return count


def _lines(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                body = raw.removesuffix(b"\n")
                try:
                    record = json.loads(body)
                    when = str(record["time"])
                except (ValueError, KeyError, TypeError):
                    continue
                own = hashlib.sha256(body).hexdigest()
                yield when, {"file": path.name, "line": number, "sha256": own, "record": record}


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
