"""Verifying one chain of audit lines, and saying where it was tampered with.

What holds by the hashes alone is found first: *runs*, stretches of lines each of which names the
one before.  Runs that name each other, in whatever order they lie, make *strands*; the longest ones
that fit together by their numbers are the log.  What is missing between two of them was removed, or
changed where something else lies in its place; what is left over was inserted; what lies elsewhere
than its number says was moved.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from service.audit_file import FIRST
from service.audit_lines import Files, Line

Kind = Literal["changed", "removed", "inserted", "moved", "truncated", "rewritten"]


@dataclass(frozen=True, slots=True)
class Fault:
    """first, last: indices of lines.  Of what is missing: both are where it should begin.

    seq: the number of the first line that is affected, as it was written; 0 where it had none.
    lines: how many are affected.
    """

    kind: Kind
    first: int
    last: int
    seq: int
    lines: int


@dataclass(frozen=True, slots=True)
class Checked:
    """lines: of the log, in order.  torn: indices of fragments that a crash left, no faults.

    vouched: number of the last line that an anchor speaks for; 0 without.
    """

    lines: int
    faults: tuple[Fault, ...]
    torn: tuple[int, ...]
    vouched: int
    chain: str


@dataclass(slots=True)
class _Run:
    """Lines ``start`` to ``end`` (excluded), good, each naming the one before."""

    start: int
    end: int
    seq: int  # of its first line
    prev: str  # what its first line names
    hash: str  # of its last line

    @property
    def after(self) -> int:
        """The number that follows its last one."""
        return self.seq + self.end - self.start

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(slots=True)
class _Scan:
    """What one reading of the files gives.  others: lines that are part of no run."""

    runs: list[_Run] = field(default_factory=list)
    others: list[Line] = field(default_factory=list)
    begins: set[int] = field(default_factory=set)  # indices at which a process began
    anchored: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    chain: str = ""


def check(files: Files, anchors: Mapping[int, Iterable[str]]) -> Checked:
    """Verify the chain in these files.  anchors: number -> hashes that line is said to have.

    Without a key and without anchors, lines cut off at the end and a chain written anew from some
    line on cannot be seen.  Raises OSError.
    """
    scan = _scan(files, anchors)
    runs = _split(scan.runs, files)
    log = _log(runs)
    end = max(anchors, default=0) + 1
    faults, torn = _gaps(log, runs, scan, files.length, end)
    faults += _moved(log)
    vouched, rewritten = _against(anchors, log, scan, faults)
    ordered = sorted((*faults, *rewritten), key=lambda fault: (fault.first, fault.seq))
    lines = sum(run.length for run in log)
    return Checked(lines, tuple(ordered), tuple(torn), vouched, scan.chain)


def _scan(files: Files, anchors: Mapping[int, Iterable[str]]) -> _Scan:
    scan = _Scan()
    run: _Run | None = None
    for line in files.lines():
        if line.index == 0:
            scan.chain = line.chain
        if line.begins:
            scan.begins.add(line.index)
        if line.seq in anchors:
            scan.anchored.setdefault(line.seq, []).append((line.index, line.hash))
        if not line.good:
            scan.others.append(line)
            run = None
        elif run is not None and (line.seq, line.prev) == (run.after, run.hash):
            run.end, run.hash = line.index + 1, line.hash
        else:
            run = _Run(line.index, line.index + 1, line.seq, line.prev, line.hash)
            scan.runs.append(run)
    return scan


def _split(runs: list[_Run], files: Files) -> list[_Run]:
    """Cut runs where another one goes on from a line in their midst."""
    ends = {run.hash for run in runs}
    wanted = {run.prev for run in runs} - ends - {FIRST}
    # A line that is there twice can be the end of one run and in the midst of another.
    wanted |= {run.prev for run in runs[1:]} if len(runs) > 1 else set()
    if not wanted:
        return runs
    cuts: dict[int, str] = {}
    for digest, indices in files.find(wanted).items():
        cuts.update(dict.fromkeys((index + 1 for index in indices), digest))
    pieces: list[_Run] = []
    for run in runs:
        rest = run
        for cut in sorted(at for at in cuts if run.start < at < run.end):
            head = replace(rest, end=cut, hash=cuts[cut])
            pieces.append(head)
            rest = _Run(cut, rest.end, head.after, head.hash, rest.hash)
        pieces.append(rest)
    return pieces


def _log(runs: Sequence[_Run]) -> list[_Run]:
    """The runs that are the log, in the order of their numbers: heaviest strands first."""
    left = list(runs)
    chosen: list[_Run] = []
    while left:
        strand = _heaviest(left)
        if _belongs(strand, chosen):
            chosen = sorted([*chosen, *strand], key=lambda run: run.seq)
        taken = {id(run) for run in strand}
        left = [run for run in left if id(run) not in taken and _fits(run, chosen)]
    return chosen


def _belongs(strand: Sequence[_Run], chosen: Sequence[_Run]) -> bool:
    """Whether its hashes or its place bear out the numbers that it says it has."""
    first, last = strand[0], strand[-1]
    before = max((run for run in chosen if run.seq < first.seq), key=_seq, default=None)
    after = min((run for run in chosen if run.seq > last.seq), key=_seq, default=None)
    if before is not None and (before.hash, before.after) == (first.prev, first.seq):
        return True
    if after is not None and (last.hash, last.after) == (after.prev, after.seq):
        return True
    in_order = before is None or before.end <= first.start
    return in_order and (after is None or last.end <= after.start)


def _seq(run: _Run) -> int:
    return run.seq


def _heaviest(runs: Sequence[_Run]) -> list[_Run]:
    """The chain of runs, each naming the end of the one before, with the most lines."""
    by_prev: dict[tuple[str, int], list[_Run]] = {}
    for run in runs:
        by_prev.setdefault((run.prev, run.seq), []).append(run)
    best: dict[int, tuple[int, _Run | None]] = {}
    for run in sorted(runs, key=lambda each: each.seq, reverse=True):
        after = by_prev.get((run.hash, run.after), [])
        # Of equals the one that follows in the file: a copy elsewhere is the copy.
        weights = [(best[id(each)][0], each.start == run.end, each) for each in after]
        top = max(weights, key=lambda found: found[:2], default=None)
        best[id(run)] = (run.length + (top[0] if top else 0), top[2] if top else None)
    first = max(runs, key=lambda run: (best[id(run)][0], run.prev == FIRST, -run.start))
    strand: list[_Run] = []
    at: _Run | None = first
    while at is not None:
        strand.append(at)
        at = best[id(at)][1]
    return strand


def _fits(run: _Run, chosen: Sequence[_Run]) -> bool:
    return all(run.after <= other.seq or run.seq >= other.after for other in chosen)


def _gaps(
    log: Sequence[_Run], runs: Sequence[_Run], scan: _Scan, length: int, end: int
) -> tuple[list[Fault], list[int]]:
    """What is missing between the runs of the log, and what lies there instead."""
    left = _Left(log, runs, scan, length)
    faults: list[Fault] = []
    before = _Run(0, 0, 1, "", FIRST)
    blamed = False
    for number, run in enumerate(log):
        if run.prev == before.hash and run.seq == before.after:
            before, blamed = run, False
            continue
        following = log[number + 1] if number + 1 < len(log) else None
        if run.seq > before.after:
            faults += left.instead(before, run, "removed")
            blamed = False
        elif before.length == 0 or _is_wrong_itself(run, following):
            faults.append(_changed(run.start, run.seq))
            before, blamed = run, True
            continue
        elif not blamed:
            faults.append(_changed(before.end - 1, before.after - 1))
        before, blamed = run, False
    if end > before.after:
        virtual = _Run(length, length, end, "", "")
        faults += left.instead(before, virtual, "truncated")
    return faults + left.inserted(), left.torn


def _is_wrong_itself(run: _Run, following: _Run | None) -> bool:
    """Whether a break before a single line is better explained by that line than by the last."""
    if run.length > 1 or following is None:
        return False
    return following.seq == run.after and following.prev != run.hash


def _changed(index: int, seq: int) -> Fault:
    return Fault("changed", index, index, seq, 1)


class _Left:
    """Lines that are not part of the log, given away one after another."""

    def __init__(self, log: Sequence[_Run], runs: Sequence[_Run], scan: _Scan, length: int) -> None:
        in_log = {id(run) for run in log}
        self._seqs = {line.index: line.seq for line in scan.others}
        for run in runs:
            if id(run) not in in_log:
                indices = range(run.start, run.end)
                self._seqs.update((at, run.seq + at - run.start) for at in indices)
        self._fragments = {line.index for line in scan.others if line.seq < 0}
        self._unended = {line.index for line in scan.others if line.torn}
        self._bad = {line.index for line in scan.others if line.seq >= 0}
        self._begins = scan.begins
        self._length = length
        self._log = sorted(log, key=lambda run: run.start)
        self.torn: list[int] = []

    def instead(
        self, before: _Run, after: _Run, missing: Literal["removed", "truncated"]
    ) -> list[Fault]:
        """What became of the lines between two runs of the log."""
        absent = list(range(before.after, after.seq))
        there = [at for at in sorted(self._seqs) if before.end <= at < after.start]
        if missing == "truncated":
            there = [at for at in there if at not in self._unended]
        faults: list[Fault] = []
        wanted = set(absent)
        for at in there:
            if self._seqs[at] in wanted:
                faults.append(_changed(at, self._seqs.pop(at)))
                wanted.discard(faults[-1].seq)
        for at in there:
            if at in self._seqs and wanted:
                seq = min(wanted)
                wanted.discard(seq)
                del self._seqs[at]
                faults.append(_changed(at, seq))
        for first, last in _stretches(sorted(wanted)):
            at = before.end + sum(fault.seq < first for fault in faults)
            faults.append(Fault(missing, at, at, first, last - first + 1))
        return faults

    def inserted(self) -> list[Fault]:
        """What is left: fragments of a crash are put aside, the rest does not belong here."""
        for at in sorted(self._fragments & set(self._seqs)):
            ended_by_a_crash = at + 1 in self._begins and at not in self._unended
            unended_at_the_end = at in self._unended and at == self._length - 1
            if ended_by_a_crash or unended_at_the_end:
                self.torn.append(at)
                del self._seqs[at]
        faults = []
        known = {seq for run in self._log for seq in (run.seq, run.after)}
        last = max(known, default=1)
        for first, end in _stretches(sorted(self._seqs)):
            # Beyond the end of the log, a line of ours that is not as it was written was ours once.
            ours = first in self._bad and self._seqs[first] >= last
            kind: Kind = "changed" if ours else "inserted"
            faults.append(Fault(kind, first, end, max(self._seqs[first], 0), end - first + 1))
        return faults


def _stretches(numbers: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _moved(log: Sequence[_Run]) -> list[Fault]:
    """Runs that do not lie where their numbers put them: all but the heaviest rising sequence."""
    # Of equally heavy ones, that which leaves most where the bulk of the lines says.
    shifts: Counter[int] = Counter()
    for run in log:
        shifts[run.start - run.seq] += run.length
    # Of sequences that end here: lines, how many are in place, the one before.
    best: list[tuple[int, int, int]] = []
    for at, run in enumerate(log):
        earlier = [(*best[e][:2], e) for e in range(at) if log[e].start < run.start]
        lines, placed, before = max(earlier, default=(0, 0, -1))
        here = shifts[run.start - run.seq]
        best.append((lines + run.length, placed + here, before))
    kept: set[int] = set()
    at = max(range(len(log)), key=lambda each: best[each][:2], default=-1)
    while at >= 0:
        kept.add(at)
        at = best[at][2]
    return [
        Fault("moved", run.start, run.end - 1, run.seq, run.length)
        for number, run in enumerate(log)
        if number not in kept
    ]


def _against(
    anchors: Mapping[int, Iterable[str]],
    log: Sequence[_Run],
    scan: _Scan,
    faults: Sequence[Fault],
) -> tuple[int, list[Fault]]:
    """The last number that anchors vouch for, and what was written anew between two of them."""
    starts = [run.seq for run in log]
    vouched, bad = 0, 0
    rewritten: list[Fault] = []
    for seq in sorted(anchors):
        place = bisect_right(starts, seq) - 1
        run = log[place] if place >= 0 else None
        if run is None or seq >= run.after:
            continue  # it is missing: said already
        index = run.start + seq - run.seq
        hashes = {digest for at, digest in scan.anchored.get(seq, []) if at == index}
        if hashes <= set(anchors[seq]) and hashes:
            if bad:
                rewritten.append(_stretch(log, vouched + 1, bad))
            vouched, bad = seq, 0
        elif not any(f.kind == "changed" and f.first <= index <= f.last for f in faults):
            bad = seq
    if bad:
        rewritten.append(_stretch(log, vouched + 1, bad))
    return vouched, rewritten


def _stretch(log: Sequence[_Run], first: int, last: int) -> Fault:
    indices = [
        run.start + seq - run.seq
        for run in log
        for seq in (first, last)
        if run.seq <= seq < run.after
    ]
    return Fault("rewritten", min(indices), max(indices), first, last - first + 1)
