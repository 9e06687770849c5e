"""Verifying the audit logs of all processes: which files there are, and what is wrong with them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from service.audit_anchors import Anchor, read_anchors
from service.audit_chain import Checked, Fault, check
from service.audit_file import numbered
from service.audit_lines import Files

_PUT_ASIDE = re.compile(r"(.*)\.\d{6}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    kind: changed, removed, inserted, moved, truncated, rewritten (a Fault's), missing_file,
    wrong_anchor, or unknown_act.  line, last_line: in ``file``; of what is missing, the line before
    which it belongs.  seq: the number of the first line that is affected; 0 where there is none.
    """

    kind: str
    file: str
    line: int
    last_line: int
    seq: int
    lines: int

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        if self.last_line > self.line:
            where += f"-{self.last_line}"
        return f"{where}: {self.kind} ({_WORDS[self.kind].format(self=self)})"


_WORDS = {
    "changed": "line {self.seq} of the chain is not as it was written",
    "removed": "{self.lines} missing from line {self.seq} of the chain on",
    "inserted": "{self.lines} that do not belong to the chain",
    "moved": "line {self.seq} of the chain does not belong here",
    "truncated": "{self.lines} missing from line {self.seq} of the chain to its end",
    "rewritten": "some of {self.lines} lines are not as they were written: an anchor says so",
    "missing_file": "anchored up to line {self.seq} of a chain that is in none of the files",
    "wrong_anchor": "not an anchor, or not signed with the key",
    "unknown_act": "an act upon something that the database has never had",
}


@dataclass(frozen=True, slots=True)
class Log:
    """One chain.  torn: places of fragments that a crash left; they are no findings.

    vouched: how many of its lines anchors speak for.
    """

    files: tuple[str, ...]
    lines: int
    vouched: int
    torn: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found; all is well where there are no findings.

    unlogged: acts of which the database knows and no line tells, which a process that was killed
    between the two leaves.
    """

    logs: tuple[Log, ...]
    findings: tuple[Finding, ...]
    unlogged: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"ok": not self.findings, **asdict(self)}


def files_of(path: Path) -> list[list[Path]]:
    """The files of each chain: of a folder all in it, of a file those of its log's processes."""
    if path.is_dir():
        names = sorted(path.glob("*.jsonl*"))
    else:
        family = re.compile(rf"{re.escape(path.stem)}(\.\d+)?{re.escape(path.suffix)}(\.\d{{6}})?")
        names = sorted(each for each in path.parent.glob("*") if family.fullmatch(each.name))
    heads = {_head_of(each) for each in names}
    chains = []
    for head in sorted(heads):
        aside = [each for _, each in numbered(head)]
        chains.append([*aside, head] if head.exists() else aside)
    return chains


def verify_logs(
    chains: Iterable[Sequence[Path]],
    *,
    anchors: Path | None = None,
    key: bytes | None = None,
) -> Report:
    """Verify every chain.  anchors: a file of them; key: what signs lines and anchors.

    Raises OSError where a file cannot be read.
    """
    found, findings = _anchors(anchors, key)
    all_files = [Files(paths, key) for paths in chains if paths]
    assigned = _assigned(all_files, found)
    logs: list[Log] = []
    for files, own in zip(all_files, assigned.own, strict=True):
        checked = check(files, own)
        logs.append(_log(files, checked))
        findings += [_finding(files, fault) for fault in checked.faults]
    findings += [Finding("missing_file", each.file, 0, 0, each.seq, 0) for each in assigned.lost]
    return Report(tuple(logs), tuple(findings))


def _head_of(path: Path) -> Path:
    aside = _PUT_ASIDE.fullmatch(path.name)
    return path.with_name(aside[1]) if aside else path


def _anchors(path: Path | None, key: bytes | None) -> tuple[list[Anchor], list[Finding]]:
    if path is None:
        return [], []
    with path.open("rb") as file:
        found = read_anchors(file, key)
    wrong = [Finding("wrong_anchor", str(path), line, line, 0, 1) for line in found.bad]
    return [anchor for _, anchor in found.anchors], wrong


class _Assigned(NamedTuple):
    """own: for each chain number -> hashes.  lost: the last anchors of chains not here."""

    own: list[dict[int, set[str]]]
    lost: list[Anchor]


def _assigned(all_files: Sequence[Files], anchors: Iterable[Anchor]) -> _Assigned:
    """Anchors by the chain that they name; by the file's name where its first line was changed."""
    by_chain: dict[tuple[str, str], list[Anchor]] = {}
    for anchor in anchors:
        by_chain.setdefault((anchor.chain, anchor.file), []).append(anchor)
    known = {chain for chain, _ in by_chain}
    chains = [files.chain() for files in all_files]
    own: list[dict[int, set[str]]] = [{} for _ in all_files]
    lost: dict[str, Anchor] = {}
    for (chain, name), some in by_chain.items():
        places = [at for at, each in enumerate(chains) if chain and each == chain]
        if not places:
            places = [
                at
                for at, files in enumerate(all_files)
                if _head_of(files.paths[-1]).name == name and chains[at] not in known
            ]
        for at in places[:1]:
            for anchor in some:
                own[at].setdefault(anchor.seq, set()).add(anchor.hash)
        if not places:
            last = max((*some, *filter(None, [lost.get(chain)])), key=lambda each: each.seq)
            lost[chain] = last
    return _Assigned(own, list(lost.values()))


def _log(files: Files, checked: Checked) -> Log:
    torn = tuple("{}:{}".format(*files.place(index)) for index in checked.torn)
    paths = tuple(str(path) for path in files.paths)
    return Log(paths, checked.lines, checked.vouched, torn)


def _finding(files: Files, fault: Fault) -> Finding:
    first, last = files.place(fault.first), files.place(fault.last)
    last_line = last.line if last.file == first.file else first.line
    return Finding(fault.kind, first.file, first.line, last_line, fault.seq, fault.lines)
