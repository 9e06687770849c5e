"""What happened in a run, and whether it kept the promises: no clock, no network, no process.

Times are Unix seconds of one machine.  Everything here is checked by the slow and obvious method.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CLOCK_S = 0.005  # how far times noted by different processes may be apart


@dataclass(slots=True)
class Life:
    """One forget request as its client saw it.  None: has not happened."""

    subject: str
    id: str = ""
    digest: str = ""
    forget_sent: float | None = None
    forgotten: float | None = None  # when the 2xx came
    epoch: int = 0
    revoke_sent: float | None = None
    revoked: float | None = None
    revoke_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt as its client saw it.  case: the id of the answer, "" without one."""

    case: str
    gateway: str
    subjects: tuple[str, ...]
    sent: float
    ended: float
    status: int


@dataclass(frozen=True, slots=True)
class Line:
    """One case as a gateway's audit has it."""

    case: str
    gateway: str
    epoch: int
    policies: frozenset[str]
    began: float
    ended: float


class Act(NamedTuple):
    """One row of the admin acts."""

    act: str
    target: str
    digest: str
    epoch: int


@dataclass(frozen=True)
class Epochs:
    """current_at: epoch -> when it became current.  acts: in order.  active: requests in force."""

    current_at: Mapping[int, float]
    acts: Sequence[Act]
    active: frozenset[str]

    def digest_of(self, request_id: str, epoch: int) -> str | None:
        """The policy that was active for that request in that epoch."""
        digest: str | None = None
        for act in self.acts:
            if act.target == request_id and 0 < act.epoch <= epoch:
                digest = None if act.act in ("revoke", "expire") else act.digest
        return digest


@dataclass
class Verdict:
    """Broken promises in words, and what was counted on the way."""

    broken: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    unaudited: int = 0
    behind: list[float] = field(default_factory=list)

    def expect(self, promise: str, holds: bool, where: str) -> None:  # noqa: FBT001
        """Count one check of a promise."""
        self.checked[promise] = self.checked.get(promise, 0) + 1
        if not holds:
            self.broken.append(f"{promise}: {where}")


def judge(
    lives: Sequence[Life], asked: Sequence[Asked], lines: Sequence[Line], epochs: Epochs
) -> Verdict:
    """Hold a run against every promise."""
    verdict = Verdict()
    by_case = {line.case: line for line in lines}
    answered = [each for each in asked if each.status == 200]
    verdict.unaudited = sum(each.case not in by_case for each in answered)
    pairs = [(each, by_case[each.case]) for each in answered if each.case in by_case]
    by_subject = {life.subject: life for life in lives}
    acted = _ByRequest(epochs)
    for each, line in pairs:
        _one_epoch(verdict, each, line, by_subject, acted)
        _as_promised(verdict, each, line, by_subject)
        verdict.expect("never ahead of the current epoch", _allowed(line, epochs), line.case)
    _never_back(verdict, lines)
    _not_older_than_promised(verdict, lives, pairs)
    _nothing_lost(verdict, lives, epochs)
    verdict.behind = _behind([line for _, line in pairs])
    return verdict


def _allowed(line: Line, epochs: Epochs) -> bool:
    """Whether its epoch or a later one had become current: all were ready for that."""
    reached = (at for epoch, at in epochs.current_at.items() if epoch >= line.epoch)
    return line.epoch == 0 or min(reached, default=float("inf")) <= line.ended + CLOCK_S


class _ByRequest:
    """``Epochs.digest_of`` for many questions: each request has few acts."""

    def __init__(self, epochs: Epochs) -> None:
        self._epochs: dict[str, Epochs] = {}
        acts: dict[str, list[Act]] = {}
        for act in epochs.acts:
            acts.setdefault(act.target, []).append(act)
        for target, mine in acts.items():
            self._epochs[target] = Epochs({}, mine, frozenset())

    def digest_of(self, request_id: str, epoch: int) -> str | None:
        found = self._epochs.get(request_id)
        return found.digest_of(request_id, epoch) if found is not None else None


def _one_epoch(
    verdict: Verdict,
    each: Asked,
    line: Line,
    by_subject: Mapping[str, Life],
    acted: _ByRequest,
) -> None:
    """What it matched is what was active in its epoch: all of that, and nothing else."""
    active = {
        digest
        for subject in each.subjects
        if (digest := acted.digest_of(by_subject[subject].id, line.epoch)) is not None
    }
    verdict.expect(
        "matched exactly what its epoch lists", active == line.policies, f"{line.case}@{line.epoch}"
    )


def _as_promised(verdict: Verdict, each: Asked, line: Line, by_subject: Mapping[str, Life]) -> None:
    for subject in each.subjects:
        life = by_subject[subject]
        if life.forgotten is None or each.sent < life.forgotten:
            continue
        if life.revoke_sent is None or each.ended < life.revoke_sent:
            verdict.expect("forgotten after its 2xx", life.digest in line.policies, line.case)
        elif life.revoked is not None and each.sent > life.revoked:
            verdict.expect("let go after its 2xx", life.digest not in line.policies, line.case)


def _never_back(verdict: Verdict, lines: Sequence[Line]) -> None:
    """Of one gateway: what begins after another has ended is of the same epoch or a later one."""
    for gateway in sorted({line.gateway for line in lines}):
        mine = sorted((x for x in lines if x.gateway == gateway), key=lambda x: x.began)
        highest = _Highest(mine)
        for line in mine:
            before = highest.ended_before(line.began - CLOCK_S)
            verdict.expect("never back to an older epoch", line.epoch >= before, line.case)


def _not_older_than_promised(
    verdict: Verdict, lives: Iterable[Life], pairs: Sequence[tuple[Asked, Line]]
) -> None:
    """On any gateway: what is sent after a 2xx is of that epoch or a later one."""
    promises = sorted(
        [(life.forgotten, life.epoch) for life in lives if life.forgotten is not None]
        + [(life.revoked, life.revoke_epoch) for life in lives if life.revoked is not None]
    )
    times: list[float] = []
    newest: list[int] = []
    for at, epoch in promises:
        times.append(at)
        newest.append(max(epoch, newest[-1] if newest else 0))
    for each, line in pairs:
        known = bisect_right(times, each.sent)
        least = newest[known - 1] if known else 0
        verdict.expect("as new as every 2xx before it", line.epoch >= least, line.case)


def _nothing_lost(verdict: Verdict, lives: Iterable[Life], epochs: Epochs) -> None:
    for life in lives:
        if life.forgotten is not None and life.revoke_sent is None:
            verdict.expect("nothing accepted is lost", life.id in epochs.active, life.id)
        if life.revoked is not None:
            verdict.expect("nothing revoked lingers", life.id not in epochs.active, life.id)


def _behind(lines: Sequence[Line]) -> list[float]:
    """For each case of an older epoch than one answered before it began, on any gateway: how long
    that newer one had been out, seconds."""
    highest, first = _Highest(lines), _first_seen(lines)
    found = []
    for line in lines:
        if highest.ended_before(line.began - CLOCK_S) > line.epoch:
            newer = [at for epoch, at in first.items() if epoch > line.epoch]
            found.append(line.began - min(newer))
    return found


def _first_seen(lines: Iterable[Line]) -> dict[int, float]:
    first: dict[int, float] = {}
    for line in lines:
        first[line.epoch] = min(line.ended, first.get(line.epoch, line.ended))
    return first


class _Highest:
    """The newest epoch among cases that had ended by a time."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._times: list[float] = []
        self._epochs: list[int] = []
        for line in sorted(lines, key=lambda x: x.ended):
            self._times.append(line.ended)
            self._epochs.append(max(line.epoch, self._epochs[-1] if self._epochs else 0))

    def ended_before(self, at: float) -> int:
        known = bisect_right(self._times, at)
        return self._epochs[known - 1] if known else 0
