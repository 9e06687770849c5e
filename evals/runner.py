"""Putting every suite's probes to everybody who is measured, so that nothing is asked twice."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evals.answers import AnswersFile
from evals.knowledge import Knowledge
from evals.measured import Measured
from evals.probe import Probe
from evals.run import Party, Run, begin, met, write
from evals.suite import NotForThisData, Suite


class Watching(Protocol):
    """Is told how far a run is."""

    def begins(self, name: str, suite: str, total: int, done: int) -> None:
        """A suite is put to somebody; ``done`` of its probes were answered earlier."""

    def advances(self) -> None:
        """One more answer is on disk."""


@dataclass(frozen=True)
class Contestant:
    """A party, and how it is reached: opened when its turn comes, closed after it."""

    party: Party
    opened: Callable[[], AbstractContextManager[Measured]]


@dataclass(frozen=True)
class Asked:
    """All that a run asks, by suite.  skipped: why a suite asks nothing."""

    probes: Mapping[str, Sequence[Probe]]
    skipped: Mapping[str, str]


def ask_of(suites: Mapping[str, Suite], knowledge: Knowledge, seed: int) -> Asked:
    """What the suites ask about this data."""
    probes: dict[str, Sequence[Probe]] = {}
    skipped: dict[str, str] = {}
    for name, suite in suites.items():
        try:
            probes[name] = suite.probes(knowledge, seed)
        except NotForThisData as reason:
            skipped[name] = str(reason)
    return Asked(probes, skipped)


def execute(
    folder: Path,
    run: Run,
    asked: Asked,
    contestants: Sequence[Contestant],
    watching: Watching,
    concurrency: int = 1,
) -> Run:
    """Ask whatever has no answer in the folder yet; returns the run as it is on disk.

    Contestants come one after the other, so that they do not share a machine's time.  Raises
    OtherRun and OtherProbes where the folder is of something else, Damaged where a file of answers
    is, Unreachable; what was answered until then is kept.  concurrency: only noted.
    """
    run = begin(folder, run.model_copy(update={"skipped": dict(asked.skipped)}), concurrency)
    for contestant in contestants:
        run = _measure(folder, run, asked, contestant, watching)
    return run


def answers_path(folder: Path, name: str, suite: str) -> Path:
    """Where the answers of one party to one suite are."""
    return folder / name / f"{suite}.jsonl"


def _measure(
    folder: Path, run: Run, asked: Asked, contestant: Contestant, watching: Watching
) -> Run:
    name = contestant.party.name
    files = {suite: AnswersFile(answers_path(folder, name, suite)) for suite in asked.probes}
    left = {suite: files[suite].unanswered(probes) for suite, probes in asked.probes.items()}
    if not any(left.values()):
        return run
    with contestant.opened() as measured:
        run = met(run, name, measured.versions())
        write(folder, run)
        for suite, probes in left.items():
            total = len(asked.probes[suite])
            watching.begins(name, suite, total, total - len(probes))
            _ask(measured, probes, files[suite], watching)
    return run


def _ask(
    measured: Measured, probes: Sequence[Probe], file: AnswersFile, watching: Watching
) -> None:
    if not probes:
        return
    with file.appending() as open_file:
        for answered in measured.answers(probes):
            file.add(open_file, answered)
            watching.advances()
