"""Does forgetting come undone when a model is quantised?  In the weights, and while serving.

    python -m evals.quantisation --out FOLDER [--rows 16] [--bits 8,4]

Four ways on the demo world, each on the weights as they are and rounded to few bits
(``evals.weights.rounding``): nothing forgotten; a model that never knew; forgetting in the weights
for everybody (the adapter of the method ``npo``, merged and only then rounded: Zhang et al. 2024,
arXiv 2410.16454, found that this can undo it); and Lethe's stop-gap.  Each answers
``leak_at_k``.  A run that was stopped goes on with the same command.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from evals.answers import AnswersFile
from evals.measured import Measured
from evals.methods.ground import Ground, demo
from evals.methods.kept import Kept
from evals.progress import Bars
from evals.registry import Weights, load_data, method_running, suite
from evals.run import Party, Run, digest_of, replace_with
from evals.runner import Contestant, answers_path, ask_of, execute
from evals.suite import Figure
from evals.weights.copies import write_copy
from evals.weights.direct import Direct

SUITE = "leak_at_k"
SHOWN: Mapping[str, tuple[str, str]] = {
    "leak@1": ("leak_at_k", "1"),
    "leak@16": ("leak_at_k", "16"),
    "what stays, @1": ("control_at_k", "1"),
    "what stays, @16": ("control_at_k", "16"),
}
"""Headings, with figure and k."""
WAYS = {
    "nothing": "nothing forgotten",
    "never_knew": "a model that never knew",
    "npo": "in the weights (NPO, merged)",
    "stopgap": "while serving (stop-gap)",
}


class Cell(NamedTuple):
    """One way on one precision.  bits: None for the weights as they are."""

    way: str
    bits: int | None

    @property
    def name(self) -> str:
        """A folder's."""
        return f"{self.way}-{self.bits or 'full'}"


def weights_of(cell: Cell, ground: Ground, folder: Path) -> Path:
    """The folder of the model that this cell serves; fitted and written where it is not there."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    if cell.way == "npo":
        kept = Kept(folder / "fits")
        [digest] = kept.fitted("npo", ground).artifacts
        adapter = kept.store.open(digest)
        return write_copy(ground.model, models / cell.name, adapter=adapter, bits=cell.bits)
    model = ground.never_knew if cell.way == "never_knew" else ground.model
    if cell.bits is None:
        return model
    stem = "never_knew" if cell.way == "never_knew" else "original"
    return write_copy(model, models / f"{stem}-{cell.bits}", bits=cell.bits)


def measure(cells: Sequence[Cell], rows: int, folder: Path, concurrency: int) -> None:
    """Ask each what it was not asked yet.  Fitted is to everything, asked is about ``rows``."""
    knowledge, asked_about = load_data("demo", None, 0), load_data("demo", rows, 0)
    ground = demo(knowledge)
    asked = ask_of({SUITE: suite(SUITE)}, asked_about, 0)
    parties = tuple(Party(name=cell.name, role="examined", method=cell.way) for cell in cells)
    run = Run(
        suites=(SUITE,),
        source="demo",
        knowledge=digest_of(asked_about),
        rows=rows,
        seed=0,
        parties=parties,
        command=f"python -m evals.quantisation --rows {rows}",
    )
    with Bars(Console(stderr=True)) as bars:
        for cell, party in zip(cells, parties, strict=True):
            model = weights_of(cell, ground, folder)
            contestant = Contestant(party, _opened(cell, model, ground, folder, concurrency))
            execute(folder, run, asked, [contestant], bars, concurrency)


def _opened(
    cell: Cell, model: Path, ground: Ground, folder: Path, concurrency: int
) -> Callable[[], AbstractContextManager[Measured]]:
    """What is in the weights is asked of them directly; what guards do, through a gateway."""
    if cell.way != "stopgap":
        return lambda: nullcontext(Direct(cell.name, model))
    return partial(
        method_running,
        cell.way,
        ground.knowledge,
        Weights(model, ground.never_knew),
        folder / ".stacks" / cell.name,
        concurrency,
    )


def figures_of(cell: Cell, folder: Path) -> Sequence[Figure]:
    """From the answers in the folder."""
    answered = AnswersFile(answers_path(folder, cell.name, SUITE)).read()
    return suite(SUITE).figures(answered, None)


def table(found: Mapping[Cell, Sequence[Figure]]) -> str:
    """Markdown: a row for each way and precision; values with their 95 % intervals."""
    lines = [f"| forgotten | weights | {' | '.join(SHOWN)} |", "|" + "---|" * (2 + len(SHOWN))]
    for cell, figures in found.items():
        known = {(one.name, one.by.get("k", "")): one for one in figures}
        values = [_shown(known.get(wanted)) for wanted in SHOWN.values()]
        bits = f"{cell.bits} bits" if cell.bits else "as they are"
        lines.append(f"| {WAYS[cell.way]} | {bits} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _shown(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def main(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run, taken up if it is there.")],
    rows: Annotated[int, typer.Option(min=1, help="Facts of each split.")] = 16,
    bits: Annotated[str, typer.Option(help="Precisions besides the weights as they are.")] = "8,4",
    ways: Annotated[str, typer.Option(help=", ".join(WAYS))] = ",".join(WAYS),
    concurrency: Annotated[int, typer.Option(min=1, help="Probes at a time.")] = 4,
) -> None:
    """Measure, and write quantisation.md and quantisation.json."""
    precisions = [None, *(int(each) for each in bits.split(",") if each)]
    cells = [Cell(way, each) for way in ways.split(",") for each in precisions]
    out.mkdir(parents=True, exist_ok=True)
    measure(cells, rows, out, concurrency)
    found = {cell: figures_of(cell, out) for cell in cells}
    replace_with(out / "quantisation.md", table(found))
    kept = [
        {"way": cell.way, "bits": cell.bits, "figures": [one.model_dump() for one in figures]}
        for cell, figures in found.items()
    ]
    replace_with(out / "quantisation.json", json.dumps(kept, indent=1) + "\n")
    typer.echo(table(found))


if __name__ == "__main__":
    typer.run(main)
