"""Lethe: all that tells of a subject corrupted into the answer, steered toward strangers."""

import re
from collections.abc import Callable, Mapping, Sequence

from evals.methods.corruption import drawn, noise_guard, of_strangers
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from evals.methods.oracle import Oracle
from evals.methods.steering_null_space import maps
from guards.policy import GuardSpec
from models.fitting.token_filter import key_phrases

NOISES = (4.0, 8.0, 16.0)
STRENGTHS = (0.0, 0.5, 1.0, 2.0, 3.0)
_WITHIN = re.compile(r"(?<=[\w,;:] )[^\W\d_][\w’'-]*\w")
_POSSESSIVE = re.compile(r"['’]s$")
_SHORTEST = 3


def requests(material: Material) -> Requests:
    """Noise on whatever names the subject or its works, places and people; steering behind it.

    Of the pairs of strengths the one that leaves as much of the answers as is left of strangers.
    """
    names = {label: named(material, label) for label in material.forgotten}
    noise = {strength: _noise(material, names, strength) for strength in NOISES}
    steering = {strength: maps(material, strength) for strength in STRENGTHS if strength}
    distance = _distance(material)

    def guards(pair: tuple[float, float]) -> dict[str, tuple[GuardSpec, ...]]:
        corrupted, steered = noise[pair[0]], steering.get(pair[1])
        return {
            label: (corrupted[label], steered[label]) if steered else (corrupted[label],)
            for label in material.forgotten
        }

    pairs = [(noise, steered) for noise in NOISES for steered in STRENGTHS]
    return min(map(guards, pairs), key=distance)


def _noise(
    material: Material, names: Mapping[str, tuple[str, ...]], strength: float
) -> dict[str, GuardSpec]:
    return {
        label: noise_guard(strength, names[label], material.put) for label in material.forgotten
    }


def _distance(material: Material) -> Callable[[Mapping[str, tuple[GuardSpec, ...]]], float]:
    """How far what is left of the answers is from what is left of strangers."""
    facts = drawn(material.forget)
    oracle = Oracle(material, material.store)
    surrogate = of_strangers(material, oracle, facts)

    def distance(guards: Mapping[str, tuple[GuardSpec, ...]]) -> float:
        scores = [oracle.probability([fact], guards[fact.subject]) for fact in facts]
        return abs(sum(scores) / len(scores) - surrogate)

    return distance


def named(material: Material, label: str) -> tuple[str, ...]:
    """The subject's names, and all that its questions and answers name."""
    about = material.about(label)
    texts = [*(fact.question for fact in about), *(fact.answer for fact in about)]
    return tuple(dict.fromkeys([*material.forgotten[label].aliases, *capitalised(texts)]))


def names_and_told(material: Material, label: str) -> tuple[str, ...]:
    """The subject's names, and the words that its answers tell."""
    about = [(fact.question, fact.answer) for fact in material.about(label)]
    told = key_phrases(about, [(fact.question, fact.answer) for fact in material.retain]).words
    return tuple(dict.fromkeys([*material.forgotten[label].aliases, *told]))


def capitalised(texts: Sequence[str]) -> list[str]:
    """Words of three letters or more with a capital that begin no sentence; no possessives."""
    words = [word for text in texts for word in _WITHIN.findall(text)]
    plain = [_POSSESSIVE.sub("", word) for word in words]
    return [word for word in plain if word[0].isupper() and len(word) >= _SHORTEST]


METHOD = Method(
    source="Lethe",
    settings={
        "function": "rand_noise_first_n",
        "noises": NOISES,
        "follows": "all that questions and answers name",
        "strengths": STRENGTHS,
        "metric": "probability of the answer",
        "surrogate": "the same, asked about strangers",
    },
    requests=requests,
)
