"""Random tamperings with audit logs: is each found, and is it located?

    python -m benchmarks.audit_tampering [--times 1000] [--lines 3000] [--seed 0]

Makes the logs of two processes, one of them put aside in files, with and without a key, anchored as
a gateway does; then tampers with a copy in one of many ways, verifies it, and compares what is
reported with what was done.  *Located*: every report lies on lines that were touched (or, of lines
that are missing, where they were), and at least one does.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.artifact import canonical_json
from service.audit_anchors import Anchor
from service.audit_file import FIRST, AuditFile, signed_line
from service.audit_file import digest_of_line as digest_of
from service.audit_verify import Finding, files_of, verify_logs

ANCHOR_EVERY = 100
KEY = b"an audit key of more than 32 bytes"


@dataclass(frozen=True)
class Tampering:
    """What was done to a chain's lines.

    touched: indices (from 0, in the tampered chain) on which a report is right.  rewritten: where
    no key signs the lines, only a stretch between two anchors can be named.
    """

    lines: list[bytes]
    touched: frozenset[int]
    rewritten: bool = False


@dataclass(frozen=True)
class Case:
    """One chain to be tampered with, and how.  key: none where its lines are not signed."""

    lines: list[bytes]
    rng: random.Random
    key: bytes | None

    def at(self, margin: int = 1) -> int:
        """Some line, not so near to the ends."""
        return self.rng.randrange(margin, len(self.lines) - margin)

    def edited(self, at: int, change: Callable[[dict[str, Any]], None]) -> bytes:
        """The line with a change, canonical again, its signature as it was."""
        record = json.loads(self.lines[at])
        change(record)
        return canonical_json(record)


def made_lines(count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Entries like a gateway's."""
    hexes = "0123456789abcdef"

    def some(digits: int) -> str:
        return "".join(rng.choices(hexes, k=digits))

    return [
        {
            "kind": "case",
            "time": f"2026-11-21T04:{n // 60 % 60:02}:{n % 60:02}.000+00:00",
            "case": f"case_{some(32)}",
            "tenant": rng.choice(("default", "acme")),
            "epoch": n // 50,
            "outcome": "completed",
            "policies": [f"sha256:{some(64)}"] if rng.random() < 0.2 else [],
            "scanned_bytes": 10,
            "released_bytes": 10,
        }
        if rng.random() > 0.02
        else {"kind": "start", "time": "2026-11-21T05:00:00.000+00:00", "pid": rng.randrange(9999)}
        for n in range(count)
    ]


def write_logs(folder: Path, count: int, key: bytes | None, seed: int) -> None:
    """Logs of two processes and their anchors (``anchors.jsonl``)."""
    rng = random.Random(f"audit/{seed}")
    anchors: list[bytes] = []
    open_files = [AuditFile(folder / "audit.jsonl", key, 150_000) for _ in range(2)]
    for file in open_files:
        entries = made_lines(count, rng)
        for start in range(0, count, ANCHOR_EVERY):
            file.append(entries[start : start + ANCHOR_EVERY])
            anchors.append(Anchor(*file.head, time="2026-11-21T06:00:00.000+00:00").to_line(key))
    for file in open_files:
        file.close()
    (folder / "anchors").write_bytes(b"".join(anchors))


def change_a_value(case: Case) -> Tampering:
    """Another outcome, well-formed."""
    at = case.rng.randrange(len(case.lines))
    line = case.edited(at, lambda record: record.update(time="2026-11-20T00:00:00.000+00:00"))
    return _replaced(case, at, line)


def change_a_byte(case: Case) -> Tampering:
    """Any byte."""
    at = case.rng.randrange(len(case.lines))
    line = bytearray(case.lines[at])
    place = case.rng.randrange(len(line))
    line[place] = case.rng.choice([b for b in range(256) if b not in (10, line[place])])
    return _replaced(case, at, bytes(line))


def change_its_number(case: Case) -> Tampering:
    """What the line says of its place."""
    at = case.at()
    return _replaced(case, at, case.edited(at, lambda record: record.update(seq=record["seq"] + 7)))


def change_what_it_names(case: Case) -> Tampering:
    """The hash of the line before."""
    at = case.at()
    return _replaced(case, at, case.edited(at, lambda record: record.update(prev="ab" * 32)))


def blank_a_line(case: Case) -> Tampering:
    """Spaces instead of a line."""
    at = case.at()
    return _replaced(case, at, b" " * len(case.lines[at]))


def remove_one(case: Case) -> Tampering:
    """One line less."""
    return _removed(case, case.rng.randrange(len(case.lines)), 1)


def remove_many(case: Case) -> Tampering:
    """A stretch less."""
    return _removed(case, case.at(60), case.rng.randrange(2, 50))


def remove_the_first(case: Case) -> Tampering:
    """The beginning is gone."""
    return _removed(case, 0, case.rng.randrange(1, 200))


def cut_the_end(case: Case) -> Tampering:
    """The last lines are gone."""
    gone = case.rng.randrange(1, 200)
    return _removed(case, len(case.lines) - gone, gone)


def insert_a_copy(case: Case) -> Tampering:
    """A true line once more."""
    at, copied = case.at(), case.at()
    near = {copied, copied + 1} if at in (copied, copied + 1) else set()
    return _inserted(case, at, [case.lines[copied]], near)


def insert_a_forgery(case: Case) -> Tampering:
    """A line that names the one before it."""
    at = case.at()
    return _inserted(case, at, _forged(case, at, case.rng.randrange(1, 4)))


def insert_nonsense(case: Case) -> Tampering:
    """Something that is no line."""
    at = case.at()
    while b'"kind":"start"' in case.lines[at]:
        at = case.at()  # before a start it is what a crash leaves
    return _inserted(case, at, [b"nonsense"])


def swap_neighbours(case: Case) -> Tampering:
    """Two lines that follow each other."""
    at = case.at(3)
    lines = list(case.lines)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return Tampering(lines, frozenset({at, at + 1}))


def swap_two(case: Case) -> Tampering:
    """Two lines far from each other."""
    first, second = sorted(case.rng.sample(range(1, len(case.lines) - 1), 2))
    lines = list(case.lines)
    lines[first], lines[second] = lines[second], lines[first]
    return Tampering(lines, frozenset({first, second}))


def move_a_stretch(case: Case) -> Tampering:
    """Some lines elsewhere."""
    size = case.rng.randrange(1, 20)
    at, to = case.at(25), case.at(25)
    if abs(at - to) <= 2 * size:
        to = (at + len(case.lines) // 2) % (len(case.lines) - 60) + 30
    stretch = case.lines[at : at + size]
    rest = case.lines[:at] + case.lines[at + size :]
    lines = rest[:to] + stretch + rest[to:]
    return Tampering(lines, frozenset(range(to, to + size)))


def turn_a_stretch_round(case: Case) -> Tampering:
    """Some lines in the opposite order."""
    at, size = case.at(25), case.rng.randrange(3, 20)
    lines = list(case.lines)
    lines[at : at + size] = reversed(lines[at : at + size])
    return Tampering(lines, frozenset(range(at, at + size)))


def write_the_rest_anew(case: Case) -> Tampering:
    """Change a line and chain all that follow to it."""
    at = case.rng.randrange(len(case.lines))
    lines = case.lines[:at] + _rechained(case, at, len(case.lines))
    return Tampering(lines, frozenset(range(at, len(lines))), rewritten=True)


def write_the_end_anew(case: Case) -> Tampering:
    """The same near the end: only the last anchor can tell."""
    at = len(case.lines) - case.rng.randrange(1, 20)
    lines = case.lines[:at] + _rechained(case, at, len(case.lines))
    return Tampering(lines, frozenset(range(at, len(lines))), rewritten=True)


def remove_and_write_anew(case: Case) -> Tampering:
    """Take lines out and number and chain what follows."""
    at, gone = case.at(60), case.rng.randrange(1, 40)
    lines = case.lines[:at] + _rechained(case, at, len(case.lines), skip=gone)
    return Tampering(lines, frozenset(range(at, len(lines) + 1)), rewritten=True)


TAMPERINGS = (
    change_a_value,
    change_a_byte,
    change_its_number,
    change_what_it_names,
    blank_a_line,
    remove_one,
    remove_many,
    remove_the_first,
    cut_the_end,
    insert_a_copy,
    insert_a_forgery,
    insert_nonsense,
    swap_neighbours,
    swap_two,
    move_a_stretch,
    turn_a_stretch_round,
    write_the_rest_anew,
    write_the_end_anew,
    remove_and_write_anew,
)


def _replaced(case: Case, at: int, line: bytes) -> Tampering:
    return Tampering([*case.lines[:at], line, *case.lines[at + 1 :]], frozenset({at}))


def _removed(case: Case, at: int, count: int) -> Tampering:
    return Tampering(case.lines[:at] + case.lines[at + count :], frozenset({at}))


def _inserted(
    case: Case, at: int, lines: list[bytes], near: Sequence[int] | set[int] = ()
) -> Tampering:
    touched = {*range(at, at + len(lines)), *near}
    return Tampering([*case.lines[:at], *lines, *case.lines[at:]], frozenset(touched))


def _forged(case: Case, at: int, count: int) -> list[bytes]:
    """Lines that go on from line ``at - 1``, made without the key."""
    prev, seq = digest_of(case.lines[at - 1]), json.loads(case.lines[at - 1])["seq"]
    lines = []
    for number in range(count):
        record = {"kind": "case", "case": f"case_forged_{number}", "seq": seq + 1, "prev": prev}
        line = signed_line(record, None if case.key is None else b"not the key" * 4)
        lines.append(line)
        prev, seq = digest_of(line), seq + 1
    return lines


def _rechained(case: Case, at: int, end: int, skip: int = 0) -> list[bytes]:
    """Lines ``at + skip`` to ``end``, the first of them changed, chained without the key."""
    prev = digest_of(case.lines[at - 1]) if at else FIRST
    lines = []
    for number, line in enumerate(case.lines[at + skip : end]):
        record = {**json.loads(line), "seq": at + number + 1, "prev": prev}
        if number == 0 and not skip:
            record["time"] = "2026-11-20T00:00:00.000+00:00"
        forged = signed_line(record, None if case.key is None else b"not the key" * 4)
        lines.append(forged)
        prev = digest_of(forged)
    return lines


class Ground:
    """Logs that are tampered with and put back."""

    def __init__(self, folder: Path, key: bytes | None, count: int, seed: int) -> None:
        write_logs(folder, count, key, seed)
        self.folder = folder
        self.key = key
        self.chains = files_of(folder / "audit.jsonl")
        self.clean = [[path.read_bytes().splitlines() for path in paths] for paths in self.chains]

    def findings(self) -> tuple[Finding, ...]:
        """What verification says."""
        report = verify_logs(self.chains, anchors=self.folder / "anchors", key=self.key)
        return report.findings

    def trial(self, tamper: Callable[[Case], Tampering], rng: random.Random) -> tuple[bool, bool]:
        """Tamper with one chain; whether it was found, and located."""
        number = rng.randrange(len(self.chains))
        sizes = [len(lines) for lines in self.clean[number]]
        lines = [line for lines in self.clean[number] for line in lines]
        done = tamper(Case(lines, rng, self.key))
        try:
            self._write(number, done.lines, sizes)
            findings = self.findings()
            starts = dict(zip(map(str, self.chains[number]), _starts(sizes), strict=True))
            return bool(findings), bool(findings) and self._located(done, findings, starts)
        finally:
            self._write(number, lines, sizes)

    def _located(
        self, done: Tampering, findings: Sequence[Finding], starts: dict[str, int]
    ) -> bool:
        return all(
            found.file in starts
            and self._is_right(done, found, starts[found.file] + found.line - 1)
            for found in findings
        )

    def _is_right(self, done: Tampering, found: Finding, first: int) -> bool:
        reported = set(range(first, first + found.last_line - found.line + 1))
        if not done.rewritten:
            return reported <= done.touched
        if found.kind == "rewritten":
            # From the last anchor that agrees: the first line that was changed lies soon after.
            return first <= min(done.touched) < first + ANCHOR_EVERY
        return bool(reported & done.touched)

    def _write(self, number: int, lines: Sequence[bytes], sizes: Sequence[int]) -> None:
        """The chain's lines, as many to each file as it had; the last file has the rest."""
        starts = [*_starts(sizes)[1:], max(len(lines), sum(sizes))]
        begin = 0
        for path, end in zip(self.chains[number], starts, strict=True):
            path.write_bytes(b"".join(line + b"\n" for line in lines[begin:end]))
            begin = end


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:number]) for number in range(len(sizes))]


def main() -> None:
    """Run it and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    for key in (KEY, None):
        folder = Path(tempfile.mkdtemp(prefix="lethe-audit-"))
        try:
            _run(Ground(folder, key, arguments.lines, arguments.seed), arguments.times // 2, rng)
        finally:
            shutil.rmtree(folder)


def _run(ground: Ground, times: int, rng: random.Random) -> None:
    done, found, located = Counter[str](), Counter[str](), Counter[str]()
    assert not ground.findings(), "the untouched logs are not clean"  # noqa: S101 - the premise
    start = time.perf_counter()
    for number in range(times):
        tamper = TAMPERINGS[number % len(TAMPERINGS)]
        name = tamper.__name__.replace("_", " ")
        was_found, was_located = ground.trial(tamper, rng)
        done[name] += 1
        found[name] += was_found
        located[name] += was_located
    took = time.perf_counter() - start
    signed = "signed" if ground.key else "not signed"
    print(f"lines {signed}; {times} tamperings, {took:.0f} s")
    for name in done:
        print(f"  {name:24} {done[name]:4}  found {found[name]:4}  located {located[name]:4}")
    print(f"  {'all':24} {times:4}  found {found.total():4}  located {located.total():4}")


if __name__ == "__main__":
    main()
