"""Comparing the database's admin acts with the audit lines that should tell of them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from service.audit_verify import Finding
from service.store.admin_acts import Act

ACTS = frozenset({"forget", "revoke", "create_key", "revoke_key"})
"""Those of which both tell.  Timers' acts (expiry) and the first keys have no audit line."""


class Compared(NamedTuple):
    """unknown: lines about targets that the database never had.  unlogged: acts without a line."""

    unknown: tuple[Finding, ...]
    unlogged: tuple[str, ...]


def compare_acts(chains: Iterable[Sequence[Path]], acts: Sequence[Act]) -> Compared:
    """Both ways, by act and target.  Raises OSError.

    An act without a line is no finding: a process killed after its transaction and before its line
    leaves one.
    """
    known = {act.target for act in acts}
    said: set[tuple[str, str]] = set()
    unknown: list[Finding] = []
    for paths in chains:
        for path in paths:
            with path.open("rb") as file:
                for number, raw in enumerate(file, start=1):
                    act, target, seq = _admin_act(raw)
                    if act not in ACTS:
                        continue
                    said.add((act, target))
                    if target not in known:
                        unknown.append(Finding("unknown_act", str(path), number, number, seq, 1))
    unlogged = tuple(
        f"{act.name} {act.target} in epoch {act.epoch}"
        for act in acts
        if act.name in ACTS and act.key_id.startswith("key_") and (act.name, act.target) not in said
    )
    return Compared(tuple(unknown), unlogged)


def _admin_act(raw: bytes) -> tuple[str, str, int]:
    """What a line says was done, to what, and its number; empty for any other line."""
    if b'"kind":"admin"' not in raw:
        return "", "", 0
    try:
        record = json.loads(raw)
        return str(record["act"]), str(record["target"]), int(record["seq"])
    except (ValueError, KeyError, TypeError):
        return "", "", 0  # a line that the chain's verification reports
