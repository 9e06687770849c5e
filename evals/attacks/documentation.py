"""The page about the attacks, made from the registry: ``python -m evals.attacks.documentation``."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from evals.attacks.attack import Attack
from evals.attacks.catalogue import CLASSES, NOT_GENERATED
from evals.attacks.registry import ATTACKS, FAMILIES, ON_PASSAGES
from evals.layers import LAYERS

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"

INTRODUCTION = """\
# Attacks

The suite `attacks` puts every way around a filter to an endpoint: {count} attacks of {classes}
classes. The same attacks on facts that stay show what the model can follow at all, so that no
leak of an attack that nobody can follow does not pass for protection. Each attack names the layer
that has to stop it alone; the others are there for when it fails.

Where the prompt itself gives the options (multiple choice, yes or no, a first letter), nothing is
stated and no word can be filtered: these count as choices against what a model that never knew
chooses, not as leaks.

This page is made from `evals/attacks`: `python -m evals.attacks.documentation`.
"""


def page() -> str:
    """The whole page."""
    made = {kind for one in ATTACKS for kind in one.classes}
    parts = [INTRODUCTION.format(count=len(ATTACKS), classes=len(made))]
    parts += _table("Layers", ("layer", "what it is"), LAYERS.items())
    for family, attacks in {**FAMILIES, "A protected text continued": ON_PASSAGES}.items():
        parts += _table(
            family, ("attack", "class", "stopped by", "what it does", "needs"), map(_row, attacks)
        )
    parts += _table("Classes", ("class", "what it is", "attacks or why there are none"), _classes())
    return "\n".join(parts)


def _row(attack: Attack) -> Sequence[str]:
    kinds = ", ".join(attack.classes)
    return (f"`{attack.name}`", kinds, attack.layer, attack.line, attack.needs)


def _classes() -> Iterator[Sequence[str]]:
    for kind, line in CLASSES.items():
        names = [f"`{one.name}`" for one in ATTACKS if kind in one.classes]
        yield kind, line, ", ".join(names) or NOT_GENERATED[kind]


def _table(heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"## {heading}\n"
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
