"""The suites by name, and how to come by one.  Nothing is imported before it is asked for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from evals.knowledge import Knowledge
from evals.measured import Measured
from evals.suite import Suite

SUITES: Mapping[str, str] = {
    "tofu": "fictitious authors: forget quality, model utility, truth ratio",
    "muse": "verbatim and knowledge memorisation, privacy leakage",
    "wmdp": "hazardous knowledge as multiple choice",
    "rwku": "real-world people: fill in, ask, attack, and their neighbours",
    "sleek": "chains of sub-questions around what is forgotten",
    "ort": "over-refusal: retained questions that only look alike",
    "ununlearning": "forgotten knowledge brought back in the conversation",
    "leak_at_k": "the worst of k sampled answers",
    "over_blocking": "innocent prompts that are refused or changed",
    "distinguishability": "whether answers tell that something was forgotten",
    "attacks": "every known way around a filter, by attack and layer",
    "enforcement": "whether and how fast a forget request takes effect",
}
"""Each is ``SUITE`` in the module of its name in ``evals/suites``."""


class UnknownName(ValueError):
    """There is none of that name; the text lists those that there are."""


def suite(name: str) -> Suite:
    """The suite of that name.  Raises UnknownName."""
    if name not in SUITES:
        raise UnknownName(f"there is no suite {name!r}; there are: {', '.join(SUITES)}")
    found: Suite = import_module(f"evals.suites.{name}").SUITE
    return found


def load_data(source: str, rows: int | None, seed: int) -> Knowledge:
    """What is to be forgotten and what to stay, from a source as the command line names it."""
    read: Any = import_module("evals.datasets").load
    found: Knowledge = read(source, rows, seed)
    return found


@contextmanager
def method_running(name: str, knowledge: Knowledge, folder: Path) -> Iterator[Measured]:
    """A stack that forgets by the named method, while it runs.  folder: for its own files."""
    running: Any = import_module("evals.methods").running
    with running(name, knowledge, folder) as measured:
        yield measured
