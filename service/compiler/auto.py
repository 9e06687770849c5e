"""Chooses guards for a request by measuring them on its own probes, the cheap ones first."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from guards.policy import GuardSpec, Policy
from service.compiler.candidates.banned import banned
from service.compiler.candidates.candidate import Candidate, Ground
from service.compiler.candidates.corruption import noised, stop_gap, zeroed
from service.compiler.candidates.evened import evened
from service.compiler.candidates.steering import steered
from service.compiler.certificate import Measures, Tried
from service.compiler.trial import Sheet, Trial

FEW = 24  # probes of either kind that every candidate is tried on
FINALISTS = 2  # of each round, measured on all probes

Make = Callable[[], Candidate | None]


@dataclass(frozen=True)
class Budget:
    """What a policy may take.

    changed: share of near misses answered otherwise.  cost: of a matched answer, over one without.
    seconds: processor time after which nothing more is tried; what was measured is chosen from.
    """

    changed: float
    cost: float
    seconds: float = 40.0


class Chosen(NamedTuple):
    """What is kept, and everything that was tried, in that order."""

    candidate: Candidate
    measures: Measures
    tried: tuple[Tried, ...]


class Auto:
    """Tries candidates for one request.

    Two rounds, each halving: single mechanisms, then what may be added to the best of them.  Within
    the budget, the smallest bound on leaks counts first, then the smallest distance to a model that
    never knew, then how little fluency differs from its.
    """

    def __init__(self, trial: Trial, policy: Policy, sheet: Sheet, budget: Budget) -> None:
        self._trial = trial
        self._policy = policy
        self._sheet = sheet
        self._few = sheet.part(FEW)
        self._budget = budget
        self._began = time.process_time()
        self._first: list[tuple[Candidate, Measures]] = []
        self._full: dict[str, tuple[Candidate, Measures]] = {}

    def choose(self, ground: Ground) -> Chosen:
        """The best of what time allows.  Raises ValueError where nothing could be measured."""
        singles: list[Make] = [
            lambda: stop_gap(ground),
            lambda: zeroed(ground),
            lambda: noised(ground),
            lambda: steered(ground),
        ]
        self._round(singles)
        base, found = self._best()
        added: list[Make] = [lambda: evened(ground, base), lambda: steered(ground, base)]
        if found.leaks.found:
            added.append(lambda: banned(ground, base))
        self._round(added)
        best, measures = self._best()
        return Chosen(best, measures, self._told(best))

    def _round(self, makes: Sequence[Make]) -> None:
        """Measure each on few probes, and the best on all."""
        found: list[tuple[Candidate, Measures]] = []
        for make in makes:
            if self._spent() and (found or self._full):
                break
            candidate = make()
            if candidate is not None:
                found.append((candidate, self._measured(candidate, self._few)))
        self._first += found
        ranked = sorted(found, key=lambda each: self._key(each[1]))
        for candidate, _ in ranked[:FINALISTS]:
            if self._full and self._spent():
                return
            self._full[candidate.name] = candidate, self._measured(candidate, self._sheet)

    def _measured(self, candidate: Candidate, sheet: Sheet) -> Measures:
        return self._trial.measures(with_guards(self._policy, candidate.guards), sheet)

    def _best(self) -> tuple[Candidate, Measures]:
        if not self._full:
            raise ValueError("no candidate could be measured")
        return min(self._full.values(), key=lambda each: self._key(each[1]))

    def _key(self, found: Measures) -> tuple[bool, float, float, float]:
        return (
            bool(self._over(found)),
            found.leaks.upper,
            round(found.distance, 3),
            abs(found.fluency),
        )

    def _over(self, found: Measures) -> str:
        """What of the budget is exceeded, in words; "" for nothing."""
        over = []
        if found.changed.found > self._budget.changed * found.changed.of:
            over.append("near misses changed")
        if found.cost > self._budget.cost:
            over.append("cost")
        return " and ".join(over)

    def _spent(self) -> bool:
        return time.process_time() - self._began > self._budget.seconds

    def _told(self, best: Candidate) -> tuple[Tried, ...]:
        kept = self._full[best.name][1]
        return tuple(
            Tried(
                name=candidate.name,
                measures=self._full.get(candidate.name, (candidate, few))[1],
                kept=candidate.name == best.name,
                why=self._why(candidate, few, best.name, kept),
            )
            for candidate, few in self._first
        )

    def _why(self, candidate: Candidate, few: Measures, best: str, kept: Measures) -> str:
        if candidate.name == best:
            return f"the best of what was measured: {_in_words(kept)}"
        full = self._full.get(candidate.name)
        found = few if full is None else full[1]
        where = "few probes" if full is None else "all probes"
        return f"on {where}, {self._reason(found, kept)}: {_in_words(found)}"

    def _reason(self, found: Measures, kept: Measures) -> str:
        if over := self._over(found):
            return f"over the budget ({over})"
        if found.leaks.found * max(1, kept.leaks.of) > kept.leaks.found * max(1, found.leaks.of):
            return "more leaks"
        if found.distance > kept.distance:
            return "farther from a model that never knew"
        return "no better than others that went on"


def with_guards(policy: Policy, guards: tuple[GuardSpec, ...]) -> Policy:
    """The policy with these guards, and the text filter behind them."""
    return replace(policy, guards=(*guards, GuardSpec("text_filter")))


def _in_words(found: Measures) -> str:
    return (
        f"{found.leaks.found} of {found.leaks.of} leaked (at most {found.leaks.upper:.1%}), "
        f"{found.changed.found} of {found.changed.of} near misses changed, "
        f"distance {found.distance:.2f}, cost {found.cost:.2f}"
    )
