"""How fast each method writes: one question after the other, with nothing else on the machine.

    python -m evals.speed --shared ../shared --out FOLDER [--questions 24] [--methods eco,lethe]

FOLDER is one of ``evals.table``, whose fits are used; what is measured is kept in it beside each
method's answers and shown in its table.  Half of the questions are about what is to be forgotten.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from evals.costs import cost_of
from evals.knowledge import Knowledge
from evals.methods.registry import METHODS
from evals.probe import Ask, Probe
from evals.registry import Weights, load_data, method_running
from evals.run import replace_with
from evals.table import SEED, SPEED

WARMING = 4
LONGEST = 64


def questions(knowledge: Knowledge, count: int) -> list[Probe]:
    """So many, in turns about what is to be forgotten and about what stays."""
    forget, retain = (knowledge.split(name).facts for name in ("forget", "retain"))
    facts = [fact for pair in zip(forget, retain, strict=False) for fact in pair][:count]
    return [
        Probe(id=str(n), group="speed", ask=Ask(turns=(fact.question,), max_tokens=LONGEST))
        for n, fact in enumerate(facts)
    ]


def main(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    shared: Annotated[Path, typer.Option(envvar="LETHE_SHARED")] = Path("../shared"),
    rows: Annotated[int, typer.Option(help="As the table has it.")] = 200,
    count: Annotated[int, typer.Option("--questions", min=4)] = 24,
    methods: Annotated[str, typer.Option(help="NAME,NAME; default: all.")] = "",
) -> None:
    """Measure tokens a second of single answers, and keep them."""
    chosen = methods.split(",") if methods else list(METHODS)
    if unknown := sorted(set(chosen) - METHODS.keys()):
        sys.exit(f"there is no method {unknown[0]!r}; there are: {', '.join(METHODS)}")
    shared = shared.resolve()
    weights = Weights(shared / "testbed/target", shared / "testbed/retain")
    knowledge = load_data(f"tofu:{shared / 'data/tofu'},holdout=rest", rows, SEED)
    asked = questions(knowledge, WARMING + count)
    for name in chosen:
        typer.echo(f"{name}: {_speed(name, knowledge, weights, out, asked):.1f} tokens a second")


def _speed(
    name: str, knowledge: Knowledge, weights: Weights, out: Path, asked: Sequence[Probe]
) -> float:
    with method_running(name, knowledge, weights, out / ".stacks", 1) as measured:
        list(measured.answers(asked[:WARMING]))
        cost = cost_of(measured.answers(asked[WARMING:]))
    replace_with(out / name / SPEED, cost.model_dump_json(indent=2) + "\n")
    return cost.tokens_per_second or 0.0


if __name__ == "__main__":
    typer.run(main)
