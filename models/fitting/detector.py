"""Fit a policy's detector, and set its threshold at a stated error.

The head is fitted towards weights that are good in general, so that three examples do no harm and
thirty do some good.  The threshold comes from texts that nothing was fitted to (split conformal).
"""

import math
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detector import (
    FEATURES,
    FORMAT,
    KIND,
    MAX_AGAINST,
    MAX_KEYS,
    MAX_PROTOTYPES,
    SOUND_SHARE,
    Key,
    Kind,
    Vectors,
    codes_of,
    features,
    found_in,
    small,
    tensors_of,
    unit,
)
from models.distinctive import Ranks, Word, hashed, skeleton, words_of
from models.encoder import FORMAT as ENCODER_FORMAT
from models.encoder import Encoder
from models.erasures import Erasure, highest
from models.fitting.conformal import attainable, highest_of, lowest_of
from models.fitting.logistic import fit_logistic
from models.fitting.near_misses import near_misses

# Fitted once to other subjects than those of any published figure: see docs/detection.md.
GENERAL_WEIGHTS = (-8.0, 4.0, 3.5, -7.5, 0.0, 7.0, 4.5, 8.5)
PRECISION = 50.0  # of the prior around them: worth about so many texts
SAME = 0.85  # cosine beyond which texts are taken to be equally near: a paraphrase's
LOWEST = -1.0  # the least threshold: below, texts would be the subject's on next to no evidence
LEAST_NAME_WEIGHT = 0.3
ORDINARY = 0.3  # what a word counts that is not a name or number, among texts that have them
PREFERRED = 0.5  # the logit preferred as threshold: between both kinds where weights were fitted

Array = NDArray[np.float64]


def fit(
    names: Sequence[str],
    about: Sequence[str],
    others: Sequence[str],
    calibrate_about: Sequence[str],
    calibrate_others: Sequence[str],
    encoder: Encoder,
    error: float = 0.01,
    erasure: Erasure | None = None,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Manifest and tensors of a detector, to be stored sealed.

    names: the subject first.  about: texts about it, as questions and, better, also with their
    answers, since those hold words that questions will use.  others: near misses and ordinary
    texts; near misses are made from ``about`` besides.  calibrate_about, calibrate_others: the
    same, not used for fitting.  error: the most, in probability, that a text drawn like the
    latter is taken to be about the subject, or like the former is not.
    Deterministic but for the manifest's ``blind``.  Raises ValueError where there are no names.
    """
    if not names or not 0 < error < 1:
        raise ValueError("a detector needs a name, and an error between 0 and 1")
    erasure = erasure or Erasure()
    ranks = encoder.ranks
    about, generic = told_apart(about, names, ranks)
    others = [*others, *generic, *near_misses(about, names, ranks, seed=0)]
    made = _Making(names, about, others, encoder)
    made.learn(about, others)
    threshold, stated = made.calibrated(calibrate_about, calibrate_others, error, erasure)
    manifest = {
        "format": FORMAT,
        "kind": KIND,
        "encoder": ENCODER_FORMAT,
        "features": list(FEATURES),
        "threshold": threshold,
        "calibration": stated,
        "erasure": erasure.to_json(),
        "blind": secrets.token_hex(32),
    }
    return manifest, tensors_of(made.weights, made.prototypes, made.against, made.keys.values())


def told_apart(
    texts: Sequence[str], names: Sequence[str], ranks: Ranks
) -> tuple[list[str], list[str]]:
    """Those that tell whom they are about, and those that anybody could be asked.

    "Who is the author?" is no sign of any author, although it may be among the examples.  Where
    most texts are like that, the subject is a topic, and all of them are about it.
    """
    telling = [bool(near_misses([text], names, ranks, seed=0)) for text in texts]
    if 2 * sum(telling) < len(telling):
        return list(texts), []
    about = [text for text, tells in zip(texts, telling, strict=True) if tells]
    return about, [text for text, tells in zip(texts, telling, strict=True) if not tells]


class _Making:
    """A detector on its way."""

    def __init__(
        self, names: Sequence[str], about: Sequence[str], others: Sequence[str], encoder: Encoder
    ) -> None:
        self.encoder = encoder
        self.weights: Array = np.array(GENERAL_WEIGHTS)
        vectors, other_vectors = encoder.encode(about), encoder.encode(others)
        self.prototypes = small(vectors[spread(vectors, MAX_PROTOTYPES)])
        self.against = small(other_vectors[_nearest(other_vectors, vectors, MAX_AGAINST)])
        self._own, self._rivals = unit(self.prototypes), unit(self.against)
        self.keys = keys_for(
            names,
            [words_of(text, encoder.ranks) for text in about],
            [words_of(text, encoder.ranks) for text in others],
            encoder,
        )

    def rows(self, texts: Sequence[str], most: float = 1.0) -> Array:
        """[n, len(FEATURES)].  most: what a cosine counts at most."""
        vectors = self.encoder.encode(texts)
        own = np.minimum((vectors @ self._own.T).max(axis=1, initial=0.0), most)
        rival = np.minimum((vectors @ self._rivals.T).max(axis=1, initial=0.0), most)
        found = [found_in(words_of(text, self.encoder.ranks), self.keys) for text in texts]
        rows = [features(*each) for each in zip(found, own.tolist(), rival.tolist(), strict=True)]
        return np.array(rows).reshape(-1, len(FEATURES))

    def learn(self, about: Sequence[str], others: Sequence[str]) -> None:
        """Fit the head.  Texts that are prototypes themselves count as near as a paraphrase."""
        rows = np.concatenate([self.rows(about, SAME), self.rows(others, SAME)])
        labels = np.concatenate([np.ones(len(about)), np.zeros(len(others))])
        precision = np.full(len(FEATURES), PRECISION)
        fitted = fit_logistic(rows, labels, np.array(GENERAL_WEIGHTS), precision)
        self.weights = fitted.astype(np.float32).astype(np.float64)  # as they will be read back

    def logits(self, texts: Sequence[str]) -> list[float]:
        """What the head says."""
        return [float(logit) for logit in self.rows(texts) @ self.weights]

    def calibrated(
        self, about: Sequence[str], others: Sequence[str], error: float, erasure: Erasure
    ) -> tuple[float, dict[str, Any]]:
        """The threshold, and what is stated of it."""
        known = self.logits(about)
        strange = [
            highest(text, logit, math.inf, erasure, self.logits)
            for text, logit in zip(others, self.logits(others), strict=True)
        ]
        return chosen_threshold(known, strange, error)


def chosen_threshold(
    about: Sequence[float], others: Sequence[float], error: float
) -> tuple[float, dict[str, Any]]:
    """The threshold for these calibration scores, and what is stated of it.

    It keeps both errors where one threshold from LOWEST on can: then it is PREFERRED, or the
    nearest to that.  Else it keeps that of false alarms.  ``kept`` says of each side whether its
    error is kept.  Where there are fewer scores than 1 / error - 1, the error stated is
    1 / (n + 1).
    """
    miss_error, alarm_error = attainable(len(about), error), attainable(len(others), error)
    above = highest_of(others, alarm_error) if others else None
    at_most = lowest_of(about, miss_error) if about else None
    least = LOWEST if above is None else max(LOWEST, float(np.nextafter(above, math.inf)))
    most = math.inf if at_most is None else at_most
    threshold = least if most < least else min(max(PREFERRED, least), most)
    missed, alarmed = (s < threshold for s in about), (s >= threshold for s in others)
    stated = {
        "error": error,
        "about": _side(about, miss_error, sum(missed), kept=threshold <= most),
        "others": _side(others, alarm_error, sum(alarmed), kept=True),
    }
    return float(threshold), stated


def _side(scores: Sequence[float], error: float, wrong: int, *, kept: bool) -> dict[str, Any]:
    known = bool(scores)
    return {
        "texts": len(scores),
        "error": error if known else None,
        "kept": kept and known,
        "wrong": wrong,
    }


def keys_for(
    names: Sequence[str],
    about: Sequence[Sequence[Word]],
    others: Sequence[Sequence[Word]],
    encoder: Encoder,
) -> dict[int, Key]:
    """The words by which the subject is known, by code; MAX_KEYS at most, the names' first.

    A word of the texts counts less the more of the others have it, too; and where the texts tell
    whom they are about by names and numbers, a word that is never one counts ORDINARY as much: "the
    favourite dish" is anybody's.
    """
    keys = {key.code: key for key in _name_keys(names, encoder)}
    here, there = _frequencies(about), _frequencies(others)
    weights: dict[int, float] = {}
    proper = {codes_of(word)[2] for words in about for word in words if word.proper}
    ordinary = ORDINARY if topic_is_named(about) else 1.0
    for word in (word for words in about for word in words):
        name, sound, topic = codes_of(word)
        if topic and name not in keys and sound not in keys:
            weights[topic] = max(word.weight, weights.get(topic, 0.0))
    found = [
        Key(code, Kind.TOPIC, weight * share * here[code] / (here[code] + there.get(code, 0.0)))
        for code, weight in weights.items()
        for share in (1.0 if code in proper else ordinary,)
    ]
    found.sort(key=lambda key: (-key.value * (1 + math.log(1 + here[key.code])), key.code))
    keys.update((key.code, key) for key in found[: max(0, MAX_KEYS - len(keys))])
    return {code: keys[code] for code in list(keys)[:MAX_KEYS]}


def topic_is_named(about: Sequence[Sequence[Word]]) -> bool:
    """Whether at least half of the texts have names or numbers in them."""
    return 2 * sum(any(word.proper for word in words) for words in about) >= len(about)


def _name_keys(names: Sequence[str], encoder: Encoder) -> Iterable[Key]:
    shares: dict[str, float] = {}
    for name in names:
        words = {w.key: w for w in words_of(name, encoder.ranks) if len(w.key) > 1}
        weights = {key: max(word.weight, LEAST_NAME_WEIGHT) for key, word in words.items()}
        whole = sum(weights.values())
        for key, weight in weights.items():
            # The least of its shares: a name that is an alias alone is found as an alias.
            shares[key] = min(weight / whole, shares.get(key, 1.0))
    found: dict[int, Key] = {}
    for key, share in shares.items():
        sound = skeleton(key)
        if sound:
            found.setdefault(hashed(sound), Key(hashed(sound), Kind.SOUND, share * SOUND_SHARE))
    for key, share in shares.items():
        found[hashed(f"={key}")] = Key(hashed(f"={key}"), Kind.NAME, share)
    return sorted(found.values(), key=lambda key: (key.kind, key.code))


def _frequencies(texts: Sequence[Sequence[Word]]) -> Mapping[int, float]:
    """In what share of the texts each topic word occurs."""
    counts = Counter(code for words in texts for code in {codes_of(word)[2] for word in words})
    return {code: count / len(texts) for code, count in counts.items() if code}


def spread(vectors: Vectors, most: int) -> list[int]:
    """Rows that lie near all the others: each next one is the farthest from those before.

    Gonzalez (1985): at most twice as far from the farthest as the best choice would be.
    """
    if not len(vectors):
        return []
    chosen = [int((vectors @ vectors.mean(axis=0)).argmax())]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < min(most, len(vectors)) and nearest.min() < 1 - 1e-4:
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen


def _nearest(vectors: Vectors, goals: Vectors, most: int) -> list[int]:
    """Rows nearest to any of the goals, the nearest first."""
    if not len(vectors) or not len(goals):
        return []
    order = np.argsort(-(vectors @ goals.T).max(axis=1), kind="stable")
    return [int(row) for row in order[:most]]
