"""The suites by name, and how to come by one.  Nothing is imported before it is asked for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from evals.endpoint import Endpoint
from evals.knowledge import Knowledge
from evals.measured import Measured
from evals.suite import Suite

SUITES: Mapping[str, str] = {
    "tofu": "fictitious authors: forget quality, model utility, truth ratio",
    "muse": "verbatim and knowledge memorisation, privacy leakage",
    "wmdp": "hazardous knowledge as multiple choice",
    "rwku": "real-world people: fill in, ask, attack, and their neighbours",
    "sleek": "chains of sub-questions around what is forgotten",
    "ort": "the same fact asked for in several forms",
    "ununlearning": "forgotten knowledge brought back in the conversation",
    "leak_at_k": "the worst of k sampled answers",
    "over_blocking": "innocent prompts that are refused or changed",
    "distinguishability": "whether answers tell that something was forgotten",
    "attacks": "every known way around a filter, by attack and layer",
    "enforcement": "whether an installation keeps its promises, check by check",
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


@dataclass(frozen=True)
class Weights:
    """Folders of the models that methods are put on: one that knows, one that never knew."""

    knows: Path
    never_knew: Path


@contextmanager
def method_running(
    name: str, knowledge: Knowledge, weights: Weights | None, folder: Path, concurrency: int
) -> Iterator[Measured]:
    """A stack that forgets by the named method, while it runs.

    weights: None for the demo world's.  folder: for its own files; fits are kept there.
    Raises StartFailed.
    """
    methods: Any = import_module("evals.methods")
    ground: Any = import_module("evals.methods.ground")
    on = (
        ground.Ground(weights.knows.name, weights.knows, weights.never_knew, knowledge)
        if weights
        else ground.demo(knowledge)
    )
    with methods.running(name, on, folder) as at:
        yield Endpoint(
            name=name,
            base_url=at.base_url,
            api_key=at.api_key,
            model=at.model,
            admin_url=at.admin_url,
            admin_key=at.admin_key,
            concurrency=concurrency,
            facts={
                "method": name,
                "method.source": at.fit.source,
                "method.fit": at.fit.key,
                "method.fit_seconds": str(at.fit.seconds),
            },
        )


def is_method(name: str) -> bool:
    """Whether a stack can be started for it."""
    return name in import_module("evals.methods.registry").METHODS
