"""Plant each fault and see whether the enforcement suite finds it: ``python -m evals.faults.run``.

First the healthy installation must pass every check.  What was tried is kept in the folder beside
the result, so that a run that was stopped goes on.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

from evals.enforcement.verdicts import Verdict, verdicts
from evals.faults.ground import knowledge, put_artifacts, roles, under_weak_noise
from evals.faults.outcome import HEALTHY, Outcome, outcome_of, read, table, write
from evals.faults.registry import faults
from evals.faults.stack import NeverReady, nursery
from evals.faults.trial import Ground, Trial
from evals.probe import Answered, Frozen, Probe
from evals.suites.enforcement import Enforcement, with_references
from guards import embedding_corruption
from models.local_engine import LocalEngine
from service.settings import Settings

PAGE = Path("docs/planted-faults.md")


NEVER_READY = Verdict(probe="start", check="start", judge="canary", layer="T", passed=False)
"""The gateway's own canary keeps it from answering anything."""


class Unhealthy(RuntimeError):
    """The installation without any fault does not pass."""


class Prepared(Frozen):
    """What is made once.  artifacts: digests, by kind of guard.  references: of the probes."""

    artifacts: Mapping[str, str]
    references: tuple[Answered, ...]


def prepared(folder: Path, context: ForkServerContext) -> Ground:
    """Keys, artifacts, probes, and what the reference answers to them; made once in a folder.

    Others' answers come from a run in which nothing is forgotten; those under weak noise from the
    model alone.
    """
    known = knowledge()
    who = roles(known)
    probes = Enforcement(who).probes(known, seed=0)
    data = folder / "prepared"
    kept = folder / "prepared.json"
    if kept.exists():
        made = Prepared.model_validate_json(kept.read_text())
    else:
        made = _made(Ground(known, who, {}, data, probes), folder, context)
        kept.write_text(made.model_dump_json())
    return Ground(known, who, made.artifacts, data, with_references(probes, made.references))


def _made(ground: Ground, folder: Path, context: ForkServerContext) -> Prepared:
    known, who = ground.known, ground.who
    settings = Settings(data_dir=ground.prepared, engine="local")
    store = settings.artifact_store()
    artifacts = put_artifacts(store, LocalEngine.load(settings.model), known, who)
    answered = Trial(ground, context, folder / "reference").references()
    noisy = [probe for probe in ground.probes if probe.group == "seeded"]
    name = known.subjects[who.seeded].name
    digest = artifacts[embedding_corruption.NAME]
    answered += under_weak_noise(settings.model, store, digest, name, noisy)
    return Prepared(artifacts=artifacts, references=tuple(answered))


def unasked(answered: Sequence[Answered], probes: Sequence[Probe]) -> list[str]:
    """Ids of probes without an answer."""
    return sorted({probe.id for probe in probes} - {one.probe.id for one in answered})


def run(names: Sequence[str], out: Path, page: Path | None = PAGE) -> Sequence[Outcome]:
    """Try these faults, after the healthy installation.

    Raises Unhealthy, and KeyError for a fault that there is not.
    """
    chosen = {name: faults()[name] for name in names}
    done = read(out)
    folder, context = out.with_suffix(".work"), nursery()
    folder.mkdir(parents=True, exist_ok=True)
    ground = prepared(folder, context)
    for name, fault in {HEALTHY: None, **chosen}.items():
        if name in done:
            continue
        with tempfile.TemporaryDirectory(prefix="lethe-fault-") as scratch:
            began = time.monotonic()
            trial = Trial(ground, context, Path(scratch), fault, stops_early=fault is not None)
            answered, refuses = _tried(trial)
            judged = [*verdicts(answered), *([NEVER_READY] if refuses else [])]
            outcome = outcome_of(fault, judged, time.monotonic() - began)
        if fault is None:
            _check_health(ground, answered)
        done[name] = outcome
        write(out, done)
        _say(f"{name}: {sum(outcome.failed.values())} failed, {outcome.seconds:.1f} s")
    outcomes = _in_order(done)
    if page is not None:
        page.write_text(table(outcomes, [name for name in faults() if name not in done]))
    return outcomes


def _tried(trial: Trial) -> tuple[list[Answered], bool]:
    """What was answered, and whether a broken gateway never called itself ready."""
    try:
        return trial.run(), False
    except NeverReady:
        if trial.fault is None:
            raise
        return trial.answered, True


def _check_health(ground: Ground, answered: Sequence[Answered]) -> None:
    if lost := unasked(answered, ground.probes):
        raise Unhealthy(f"never asked: {', '.join(lost)}")
    wrong = [f"{v.check} / {v.judge}: {v.probe}" for v in verdicts(answered) if not v.passed]
    if wrong:
        raise Unhealthy("\n".join(["without any fault, these do not pass:", *wrong]))


def _in_order(done: Mapping[str, Outcome]) -> list[Outcome]:
    return [done[name] for name in faults() if name in done]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", nargs="*", choices=sorted(faults()), help="all by default")
    parser.add_argument("--out", type=Path, required=True, help="JSON; what is in it is not redone")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the programs, too
    outcomes = run(given.faults or list(faults()), given.out, given.page)
    missed = [one.fault for one in outcomes if not one.caught]
    _say(f"caught {len(outcomes) - len(missed)} of {len(outcomes)}; missed: {missed or 'none'}")


if __name__ == "__main__":
    _main()
