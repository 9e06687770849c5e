"""Datasets of the Hugging Face hub, through ``datasets``; each has a converter of its own."""

from typing import Any

from evals.datasets.muse import muse
from evals.datasets.rows import Rows, Tables
from evals.datasets.rwku import rwku
from evals.datasets.source import Source, UnknownSource
from evals.datasets.tofu import tofu
from evals.datasets.wmdp import wmdp
from evals.knowledge import Knowledge

TOFU = "locuslab/TOFU"
MUSE = ("muse-bench/MUSE-News", "muse-bench/MUSE-Books")
WMDP = "cais/wmdp"
MMLU = "cais/mmlu"
RWKU = "jinzhuoran/RWKU"


def from_hub(source: Source, rows: int | None, seed: int) -> Knowledge:
    """The dataset ``source.where``.  Raises UnknownSource, and OSError where it cannot be had."""
    where = source.where
    try:
        if where == TOFU:
            return tofu(tables_of(where), source, rows)
        if where in MUSE:
            return muse(tables_of(where), source, rows, seed)
        if where == WMDP:
            return wmdp(tables_of(where), tables_of(MMLU), source, rows, seed)
        if where == RWKU:
            return rwku(tables_of(where), source, rows, seed)
    except LookupError as error:
        raise FileNotFoundError(str(error)) from error
    known = ", ".join((TOFU, *MUSE, WMDP, RWKU))
    raise UnknownSource(f"no converter for {where!r}; there are: {known}")


def tables_of(repository: str) -> Tables:
    """Its tables, fetched or from the cache of ``datasets``.

    A configuration or split that is not there is a LookupError; what cannot be fetched an OSError.
    """

    def table(configuration: str, split: str) -> Rows:
        import datasets

        try:
            found: Any = datasets.load_dataset(repository, configuration, split=split)
        except (ValueError, KeyError) as error:  # what the library raises for unknown names
            raise LookupError(f"{repository}: {configuration}, {split}: {error}") from error
        return list(found)

    return table
