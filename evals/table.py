"""All methods on one testbed, under one gate, as tables: which forgets, and what it costs.

    python -m evals.table --shared ../shared --out FOLDER [--rows 200] [--methods eco,lethe]

Needs FOLDER/testbed/{target,retain}, two models of which the second never saw the forget set, and
FOLDER/data/tofu.  Two suites are put to each method through a gateway of its own: ``tofu`` with
all rows to forget and some of the others, and some probes of each class of ``attacks``.  A run that
was stopped goes on with the same command; ``tables.md`` in the folder holds what is done so far.
"""

import math
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evals.answers import AnswersFile
from evals.costs import Cost, cost_of
from evals.knowledge import Knowledge
from evals.leaks import Leaks, leaks_of
from evals.methods.registry import METHODS
from evals.probe import Answered, Frozen, Probe
from evals.progress import Bars
from evals.registry import Weights, load_data, method_running, suite
from evals.run import Party, Run, digest_of, replace_with
from evals.runner import Contestant, answers_path, ask_of, execute
from evals.suite import Figure, Suite

REFERENCE = "never_knew"
FORGET, KEPT = "forget", ("retain", "real_authors", "world_facts")
TABLES, FIGURES, SPEED = "tables.md", "figures.json", "speed.json"
NONE = "–"
SEED = 0

COLUMNS: Mapping[str, tuple[str, str]] = {
    "probability": ("forget_probability", ".3f"),
    "ROUGE-L": ("forget_rouge", ".3f"),
    "exact mem.": ("forget_exact_memorisation", ".3f"),
    "extr. strength": ("forget_extraction_strength", ".3f"),
    "truth ratio": ("forget_truth_ratio", ".3f"),
    "KS": ("forget_quality_ks", ".3f"),
    "log10 p": ("forget_quality_log10_p", ".1f"),
    "utility": ("model_utility", ".3f"),
    "retain ROUGE-L": ("retain_rouge", ".3f"),
    "loss": ("mia_loss", ".3f"),
    "zlib": ("mia_zlib", ".3f"),
    "min-k": ("mia_min_k", ".3f"),
    "min-k++": ("mia_min_k++", ".3f"),
    "clean": ("forget_clean", ".3f"),
    "Mem": ("mem", ".3f"),
    "Priv": ("priv", ".3f"),
    "Utility": ("utility", ".3f"),
    "Agg": ("aggregate", ".3f"),
}
"""Headings of the first table, with the figure of ``tofu`` and its format."""


class Sampled:
    """A suite of which only some probes are put; its figures are the suite's."""

    def __init__(self, whole: Suite, sample: Callable[[Sequence[Probe]], list[Probe]]) -> None:
        self.NAME, self.SOURCE = whole.NAME, whole.SOURCE
        self._whole, self._sample = whole, sample

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        """The sample."""
        return self._sample(self._whole.probes(knowledge, seed))

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        """Of the sample."""
        return self._whole.figures(answered, never_knew)


class Line(Frozen):
    """What one method comes to.  leaks: under the attacks, all together first, then by class."""

    method: str
    figures: tuple[Figure, ...]
    leaks: tuple[Leaks, ...]
    cost: Cost


def thinned(probes: Sequence[Probe], kept: int, written: int) -> list[Probe]:
    """Every probe about what is to be forgotten or was held out, and ``kept`` of each other group.

    Of those to be forgotten ``written`` are answered, the others are read only.  All of these are
    drawn evenly: every k-th.
    """
    found = []
    for group, members in _grouped(probes, lambda probe: probe.group).items():
        if group == FORGET:
            found += _read_only_but(members, written)
        else:
            found += _evenly(members, kept) if group in KEPT else members
    return found


def _read_only_but(probes: Sequence[Probe], written: int) -> list[Probe]:
    chosen = {probe.id for probe in _evenly(probes, written)}
    return [
        probe
        if probe.id in chosen
        else probe.model_copy(update={"ask": probe.prompt.model_copy(update={"max_tokens": 0})})
        for probe in probes
    ]


def _evenly(probes: Sequence[Probe], most: int) -> Sequence[Probe]:
    return probes[:: max(1, -(-len(probes) // most))]


def of_each_class(probes: Sequence[Probe], most: int) -> list[Probe]:
    """So many probes of each attack on what is to be forgotten, drawn with a fixed seed."""
    about = [probe for probe in probes if probe.group == FORGET]
    found = []
    for attack, members in _grouped(about, lambda probe: probe.attack).items():
        chosen = random.Random(f"{SEED}/{attack}").sample(members, min(most, len(members)))
        found += sorted(chosen, key=lambda probe: probe.id)
    return found


def _grouped(probes: Iterable[Probe], by: Callable[[Probe], str]) -> Mapping[str, list[Probe]]:
    found: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        found[by(probe)].append(probe)
    return found


# --- the tables ----------------------------------------------------------------------------------


def line_of(folder: Path, name: str, suites: Mapping[str, Suite]) -> Line:
    """The method's figures, from the answers in the folder.  Raises ValueError as AnswersFile."""
    answered = {key: AnswersFile(answers_path(folder, name, key)).read() for key in suites}
    reference = AnswersFile(answers_path(folder, REFERENCE, "tofu")).read() or None
    leaks = leaks_of({"attacks": answered["attacks"]}) if answered.get("attacks") else []
    return Line(
        method=name,
        figures=tuple(suites["tofu"].figures(answered["tofu"], reference)),
        leaks=tuple(each for each in leaks if not each.by or "attack" in each.by),
        cost=_cost(folder / name / SPEED, answered["tofu"]),
    )


def _cost(speed: Path, answered: Sequence[Answered]) -> Cost:
    """As measured by itself (``evals.speed``), or else while everything else was."""
    return Cost.model_validate_json(speed.read_bytes()) if speed.exists() else cost_of(answered)


def lines_in(folder: Path, suites: Mapping[str, Suite]) -> list[Line]:
    """Every method that the folder has figures of, in the registry's order."""
    done = {path.parent.name for path in folder.glob(f"*/{FIGURES}")}
    return [line_of(folder, name, suites) for name in ordered(done) if name in done]


def tables(lines: Sequence[Line]) -> str:
    """Markdown: what TOFU's metrics say, and how often something forgotten was stated."""
    return "\n".join([*_metrics(lines), "", *_leaks(lines)]) + "\n"


def _metrics(lines: Sequence[Line]) -> list[str]:
    rows = [
        [
            line.method,
            *(_figure(line, *column) for column in COLUMNS.values()),
            _number(line.cost.tokens_per_second, ".0f"),
        ]
        for line in lines
    ]
    return _markdown(["method", *COLUMNS, "tokens/s"], rows)


def _leaks(lines: Sequence[Line]) -> list[str]:
    """A row for each class of attack, a column for each method."""
    classes = sorted({_class_of(each) for line in lines for each in line.leaks}, key=_natural)
    rows = [[name or "all", *(_leak(line, name) for line in lines)] for name in classes]
    return _markdown(["attack", *(line.method for line in lines)], rows)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which E10 comes after E2."""
    return [
        (int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)
    ]


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = [list(heads), ["---"] * len(heads), *map(list, rows)]
    return [f"| {' | '.join(cells)} |" for cells in ruled]


def _figure(line: Line, name: str, shape: str) -> str:
    # Of several conventions the first, TOFU's own.
    found = next((each for each in line.figures if each.name == name), None)
    return _number(found.value if found else None, shape)


def _number(value: float | None, shape: str) -> str:
    return NONE if value is None or math.isnan(value) else format(value, shape)


def _leak(line: Line, name: str) -> str:
    found = next((each for each in line.leaks if _class_of(each) == name), None)
    return f"{found.leaked}/{found.asked}" if found else NONE


def _class_of(leaks: Leaks) -> str:
    return leaks.by.get("attack", "")


# --- the run -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is put to whom.  weights: of the testbed.  suites: with the samples that are put."""

    folder: Path
    data: str
    rows: int
    knowledge: Knowledge
    weights: Weights
    suites: Mapping[str, Suite]
    concurrency: int

    @staticmethod
    def of(
        shared: Path,
        folder: Path,
        rows: int,
        written: int,
        kept: int,
        attempts: int,
        concurrency: int,
    ) -> "Plan":
        """Raises OSError where the data cannot be read."""
        data = f"tofu:{shared / 'data/tofu'},holdout=rest"
        suites: dict[str, Suite] = {
            "tofu": Sampled(suite("tofu"), partial(thinned, kept=kept, written=written))
        }
        if attempts:
            suites["attacks"] = Sampled(suite("attacks"), partial(of_each_class, most=attempts))
        weights = Weights(shared / "testbed/target", shared / "testbed/retain")
        knowledge = load_data(data, rows, SEED)
        return Plan(folder, data, rows, knowledge, weights, suites, concurrency)

    def measure(self, name: str, bars: Bars) -> Line:
        """Ask one method whatever it was not asked yet; its line is kept beside its answers."""
        party = _party(name)
        opened = partial(
            method_running,
            name,
            self.knowledge,
            self.weights,
            self.folder / ".stacks",
            self.concurrency,
        )
        asked = ask_of(self.suites, self.knowledge, SEED)
        contestants = [Contestant(party, opened)]
        execute(self.folder, self._run(), asked, contestants, bars, self.concurrency)
        line = line_of(self.folder, name, self.suites)
        replace_with(self.folder / name / FIGURES, line.model_dump_json(indent=2) + "\n")
        return line

    def _run(self) -> Run:
        return Run(
            suites=tuple(self.suites),
            source=self.data,
            knowledge=digest_of(self.knowledge),
            rows=self.rows,
            seed=SEED,
            weights=(str(self.weights.knows), str(self.weights.never_knew)),
            parties=tuple(_party(name) for name in METHODS),
            command=f"python -m evals.table --rows {self.rows}",
        )


def _party(name: str) -> Party:
    return Party(name=name, role="never knew" if name == REFERENCE else "examined", method=name)


def ordered(chosen: Iterable[str]) -> list[str]:
    """The methods in the registry's order, the reference before all of them."""
    wanted = {REFERENCE, *chosen}
    return sorted(wanted, key=lambda name: (name != REFERENCE, list(METHODS).index(name)))


def main(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run, taken up if it is there.")],
    shared: Annotated[
        Path, typer.Option(envvar="LETHE_SHARED", help="Where testbed and data are.")
    ] = Path("../shared"),
    rows: Annotated[int, typer.Option(min=20, help="Rows to forget; the testbed knows 200.")] = 200,
    written: Annotated[int, typer.Option(min=1, help="Of these so many are answered.")] = 50,
    kept: Annotated[int, typer.Option(min=1, help="Rows of each other group.")] = 15,
    attempts: Annotated[int, typer.Option(min=0, help="Probes of each class of attack.")] = 1,
    methods: Annotated[str, typer.Option(help="NAME,NAME; default: all.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Probes at a time.")] = 4,
) -> None:
    """Measure all methods on the testbed and write tables.md."""
    chosen = methods.split(",") if methods else list(METHODS)
    if unknown := sorted(set(chosen) - METHODS.keys()):
        sys.exit(f"there is no method {unknown[0]!r}; there are: {', '.join(METHODS)}")
    if not (shared / "testbed/target/config.json").exists():
        sys.exit(f"skipped: there is no testbed under {shared} (see --help)")
    plan = Plan.of(shared.resolve(), out, rows, written, kept, attempts, concurrency)
    with Bars(Console(stderr=True)) as bars:
        for name in ordered(chosen):
            plan.measure(name, bars)
    found = tables(lines_in(out, plan.suites))
    replace_with(out / TABLES, found)
    typer.echo(found)


if __name__ == "__main__":
    typer.run(main)
