"""Does an installation keep its promises?  Every check must pass in full.

Of this project: its invariants (docs/architecture.md) as questions to a running endpoint.  Checks
that compare with what would be answered if nothing were forgotten need references: see
``with_references``; in a run of ``lethe eval`` they are the answers of the first ``--compare``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evals.enforcement import probes as ask
from evals.enforcement.roles import Roles
from evals.enforcement.verdicts import Verdict, shape, verdicts
from evals.knowledge import Knowledge
from evals.probe import Answered, Probe
from evals.statistics import proportion
from evals.suite import Figure, NotForThisData

__all__ = ["SUITE", "Enforcement", "verdicts", "with_references"]

COMPARED = frozenset({ask.RETAIN, ask.OTHER, ask.SEEDED})
"""Groups whose answers are compared with a reference's, where there is one."""


@dataclass(frozen=True)
class Enforcement:
    """The suite.  roles: who is forgotten in which way; None: everybody, as by default."""

    roles: Roles | None = None
    NAME: str = "enforcement"
    SOURCE: str = "this project, docs/architecture.md"

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        """Forgotten and other subjects alternate, so that they are in one batch."""
        roles = self.roles or Roles(forgotten=_with_facts(knowledge))
        if not roles.forgotten or not knowledge.split("retain").facts:
            raise NotForThisData("facts about subjects to be forgotten and about others")
        asking = ask.Asking(knowledge, roles)
        forget = [
            *ask.of_forgotten(asking),
            *ask.of_two(asking),
            *ask.of_names(asking),
            *ask.of_writings(asking),
            *ask.of_places(asking),
            *ask.of_examples(asking),
            *ask.of_seeded(asking),
            *ask.of_banned(asking),
        ]
        others = [
            *ask.of_others(asking, seed),
            *ask.of_forbidden(asking),
        ]
        return [*_alternating(forget, others), *ask.of_unknown(asking), *ask.of_doors(asking)]

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        """The share of answers that pass, over all and by check; ``layer`` says where to look."""
        del never_knew  # whoever never knew keeps no promises
        found = verdicts(answered)
        groups: dict[tuple[tuple[str, str], ...], list[Verdict]] = defaultdict(list)
        for verdict in found:
            groups[()].append(verdict)
            by = {"layer": verdict.layer, "check": verdict.check, "judge": verdict.judge}
            groups[tuple(by.items())].append(verdict)
        return [_figure(dict(by), group) for by, group in groups.items()]

    def beside(
        self, answered: Sequence[Answered], unguarded: Sequence[Answered]
    ) -> Sequence[Answered]:
        """See ``evals.suite.Comparing``."""
        probes = with_references([one.probe for one in answered], unguarded)
        return [
            one.model_copy(update={"probe": probe})
            for one, probe in zip(answered, probes, strict=True)
        ]


SUITE = Enforcement()


def with_references(probes: Sequence[Probe], answered: Sequence[Answered]) -> list[Probe]:
    """The probes with what somebody answered who was never told to forget anything.

    Only greedy answers about others than the forgotten are compared.
    """
    known = {one.probe.id: one for one in answered}
    return [
        _referred(probe, known[probe.id]) if probe.id in known and _compared(probe) else probe
        for probe in probes
    ]


def _compared(probe: Probe) -> bool:
    return (
        probe.group in COMPARED
        and probe.about.get("judges", []) != ["status"]
        and probe.ask is not None
        and probe.ask.temperature == 0
    )


def _referred(probe: Probe, answered: Answered) -> Probe:
    return probe.model_copy(update={"about": {**probe.about, "reference": shape(answered)}})


def _with_facts(knowledge: Knowledge) -> tuple[str, ...]:
    known = {fact.subject for fact in knowledge.split("forget").facts if fact.values}
    return tuple(label for label in knowledge.forgotten if label in known)


def _alternating(one: Sequence[Probe], other: Sequence[Probe]) -> Iterator[Probe]:
    """Both in their order, evenly mixed."""
    places = [(number / len(one), probe) for number, probe in enumerate(one)]
    places += [(number / len(other), probe) for number, probe in enumerate(other)]
    return (probe for _, probe in sorted(places, key=lambda each: each[0]))


def _figure(by: Mapping[str, str], group: Sequence[Verdict]) -> Figure:
    passed, n = sum(verdict.passed for verdict in group), len(group)
    low, high = proportion(passed, n)
    return Figure(name="passed", value=passed / n, better="higher", n=n, low=low, high=high, by=by)
