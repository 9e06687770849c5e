"""What a run comes to: figures by party and suite, with leaks and costs.  Kept as results.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evals.answers import AnswersFile
from evals.costs import Cost, cost_of
from evals.leaks import Leaks, leaking, leaks_of
from evals.probe import Answered, Frozen
from evals.run import Party, Run, read, replace_with
from evals.runner import answers_path
from evals.suite import Comparing, Figure, Suite

SCHEMA_VERSION = 1
FILE = "results.json"


class SuiteResult(Frozen):
    """One suite at one party.  source: whose protocol it is.  asked: probes; failed: with an error.

    unread: of which the endpoint does not offer the likelihood.  figures: empty where no answers
    are there yet.
    """

    suite: str
    source: str
    asked: int
    failed: int
    unread: int = 0
    figures: tuple[Figure, ...]
    cost: Cost


class PartyResult(Frozen):
    """All of one party.

    versions: what its endpoint said it is, when it was last asked.  leaking: the probes that leak,
    as ``suite/id``.
    """

    party: Party
    versions: Mapping[str, str]
    leaks: tuple[Leaks, ...]
    leaking: tuple[str, ...]
    cost: Cost
    suites: tuple[SuiteResult, ...]


class Results(Frozen):
    """All of a run.  The order of parties is that of the command."""

    schema_version: int = SCHEMA_VERSION
    run: Run
    parties: tuple[PartyResult, ...]

    @property
    def baseline(self) -> PartyResult | None:
        """Whom costs are compared with: the first that is compared, or the one that never knew."""
        roles = ("compared", "never knew")
        found = [each for role in roles for each in self.parties if each.party.role == role]
        return found[0] if found else None


def results_of(folder: Path, suites: Mapping[str, Suite]) -> Results:
    """Computed anew from the answers in the folder: the same answers give the same results.

    suites: those of the run.  Raises FileNotFoundError where there is no run, and Damaged.
    """
    run = read(folder)
    names = [name for name in run.suites if name not in run.skipped]
    answered = {
        party.name: {
            name: AnswersFile(answers_path(folder, party.name, name)).read() for name in names
        }
        for party in run.parties
    }
    beside = _Beside(
        answered[run.never_knew.name] if run.never_knew else {},
        answered[run.unguarded.name] if run.unguarded else {},
    )
    alone = replace(beside, unguarded={})
    parties = [
        _party(
            run,
            party,
            answered[party.name],
            beside if party.role == "examined" else alone,  # others promise nothing
            suites,
        )
        for party in run.parties
    ]
    return Results(run=run, parties=tuple(parties))


def write(folder: Path, results: Results) -> None:
    """Keep them, whole or not at all."""
    replace_with(folder / FILE, results.model_dump_json(indent=2) + "\n")


@dataclass(frozen=True)
class _Beside:
    """Answers by suite of a model that never knew, and of one that was told to forget nothing."""

    never_knew: Mapping[str, Sequence[Answered]]
    unguarded: Mapping[str, Sequence[Answered]]


def _party(
    run: Run,
    party: Party,
    answered: Mapping[str, Sequence[Answered]],
    beside: _Beside,
    suites: Mapping[str, Suite],
) -> PartyResult:
    every = [one for answers in answered.values() for one in answers]
    told = [start.measured[party.name] for start in run.starts if party.name in start.measured]
    return PartyResult(
        party=party,
        versions=told[-1] if told else {},
        leaks=tuple(leaks_of(answered)),
        leaking=tuple(leaking(answered)),
        cost=cost_of(every),
        suites=tuple(
            _suite(name, suites[name], answers, beside) for name, answers in answered.items()
        ),
    )


def _suite(name: str, suite: Suite, answers: Sequence[Answered], beside: _Beside) -> SuiteResult:
    # While a run is not finished, the reference may have answered other probes.
    reference = beside.never_knew.get(name, ())
    same = [one.probe.id for one in answers] == [one.probe.id for one in reference]
    if isinstance(suite, Comparing):
        answers = suite.beside(answers, beside.unguarded.get(name, ()))
    return SuiteResult(
        suite=name,
        source=suite.SOURCE,
        asked=len(answers),
        failed=sum(bool(one.error) for one in answers),
        unread=sum(bool(one.unread) for one in answers),
        figures=tuple(suite.figures(answers, reference if same else None)) if answers else (),
        cost=cost_of(answers),
    )
