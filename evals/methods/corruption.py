"""Embedding corruption with a strength that is searched for: shared by ECO's two forms."""

import random
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.knowledge import Fact
from evals.methods.material import Material, renamed
from evals.methods.oracle import Oracle
from guards.alias_follower import alias_tensors
from guards.embedding_corruption import NAME, manifest
from guards.policy import GuardSpec
from models.artifact import ArtifactStore
from models.fitting.corruption_strength import Schedule, distance_to, search

SEARCHED_ROWS = 40
SETTINGS: Mapping[str, Any] = {
    "function": "rand_noise_first_n",
    "dims": "all",
    "start": 1.0,
    "reach": 0.999,
    "rate": 100.0,
    "steps": 10,
    "rows": SEARCHED_ROWS,
    "metric": "probability of the answer",
    "surrogate": "the same, asked about strangers",
}
_HOW = Schedule(
    rate=SETTINGS["rate"],
    reach=SETTINGS["reach"],
    least=SETTINGS["start"],
    steps=SETTINGS["steps"],
)


Followed = Mapping[str, tuple[str, ...]]
"""By label of a subject, the names that noise follows into the answer."""


def searched(material: Material, followed: Followed | None = None) -> dict[str, GuardSpec]:
    """A guard for each subject, all of one strength (in units of the table's root mean square).

    followed: None: noise in prompts only.
    """
    strength = found_strength(material, followed)
    return {
        label: noise_guard(strength, followed[label] if followed else (), material.put)
        for label in material.forgotten
    }


def found_strength(material: Material, followed: Followed | None = None) -> float:
    """The strength that leaves as much of the answers as is left about strangers."""
    facts = drawn(material.forget)
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder), secrets.token_bytes(32))
        oracle = Oracle(material, store)

        def metric(strength: float) -> float:
            guards = {
                label: noise_guard(strength, followed[label] if followed else (), store.put)
                for label in material.forgotten
            }
            scores = [oracle.probability([fact], (guards[fact.subject],)) for fact in facts]
            return sum(scores) / len(scores)

        surrogate = of_strangers(material, oracle, facts)
        return search(distance_to(metric, surrogate), SETTINGS["start"], _HOW).strength


def of_strangers(material: Material, oracle: Oracle, facts: Sequence[Fact]) -> float:
    """The surrogate: what is left of the answers where the questions are about strangers.

    A model that never knew somebody takes them for a stranger: what it then makes of the answer can
    be asked of the model that knows.
    """
    return oracle.probability([_of_stranger(material, fact) for fact in facts], ())


def noise_guard(strength: float, followed: tuple[str, ...], put: Callable[..., str]) -> GuardSpec:
    """Noise on all dimensions of what is matched, and of these names in the answer too."""
    made = manifest("rand_noise_first_n", strength, persistent=bool(followed))
    tensors = alias_tensors(followed) if followed else {}
    return GuardSpec(NAME, {"artifact": put(made, tensors, sealed=bool(tensors))})


def drawn(facts: tuple[Fact, ...]) -> list[Fact]:
    """The rows that a search looks at."""
    return random.Random(0).sample(facts, min(SEARCHED_ROWS, len(facts)))


def _of_stranger(material: Material, fact: Fact) -> Fact:
    subject, name = material.forgotten[fact.subject], material.stranger(fact.question)
    changed = {
        "question": renamed(fact.question, subject, name),
        "answer": renamed(fact.answer, subject, name),
    }
    return fact.model_copy(update=changed)
