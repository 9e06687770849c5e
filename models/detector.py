"""A policy's detector: what of a text's words and meaning speaks for its being about the subject.

A small logistic head over eight features of a text.  Some come from its words: how much of the
subject's name is there, how many other words that the subject's texts are known by, how many that
they never use.  The others come from the shared sentence encoder: the cosine with the nearest of
the subject's texts, and how much that exceeds the cosine with the nearest of its near misses.
Neither is enough alone: "Where was A born?" is nearer to "Where was B born?" than most paraphrases.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.artifact import Artifact
from models.distinctive import Word, hashed, key_of, skeleton
from models.encoder import DIMENSIONS
from models.encoder import FORMAT as ENCODER_FORMAT
from models.erasures import Erasure

FORMAT = 1
KIND = "detector"
FEATURES = ("bias", "name", "known", "foreign", "other", "cosine", "margin", "named cosine")
MAX_PROTOTYPES = 32
MAX_AGAINST = 2
MAX_KEYS = 128
NO_RIVAL = 0.2  # cosine with the nearest near miss where there is none: that of unrelated texts
SOUND_SHARE = 0.7  # what a name counts for that only sounds like the subject's
LEAST_SOUND_WEIGHT = 0.3  # frequent words sound like names by accident
TITLES = frozenset(
    (
        *("mr", "mrs", "ms", "miss", "sir", "lady", "lord", "dr", "doctor", "prof", "professor"),
        *("author", "writer", "poet", "saint", "president"),
    )
)
PARTICLES = frozenset(
    (
        *("de", "la", "der", "den", "ten", "ter", "van", "von", "del", "da", "di", "dos", "du"),
        *("le", "al", "el", "bin", "ibn", "y"),
    )
)
_INT8 = 127

Vectors = NDArray[np.float32]


class Kind(IntEnum):
    """What a key is: a word of a name, how such a word sounds, or a word of the texts."""

    NAME = 0
    SOUND = 1
    TOPIC = 2


class Key(NamedTuple):
    """Something that a word of a text can be.  code: 64 bits.  value: what finding it counts."""

    code: int
    kind: Kind
    value: float


class Found(NamedTuple):
    """What the words of a text are to a subject.

    name: share of the name, 0 to 1.  known: weight of the words that the subject's texts have, too.
    foreign: weight of the names and numbers that they have not; other: of the other words.
    """

    name: float
    known: float
    foreign: float
    other: float


@dataclass(frozen=True)
class Detector:
    """One policy's detector, opened and checked.

    weights: [len(FEATURES)].  prototypes, against: [n, DIMENSIONS] int8, rows scaled by
    ``scale``.  threshold: logit from which on a text is about the subject.
    """

    weights: Vectors
    prototypes: NDArray[np.int8]
    against: NDArray[np.int8]
    keys: tuple[Key, ...]
    threshold: float
    erasure: Erasure

    @staticmethod
    def of(artifact: Artifact) -> "Detector":
        """Open one.  Raises ValueError where it is not a detector of this format and encoder."""
        return _opened(artifact)


def codes_of(word: Word) -> tuple[int, int, int]:
    """What the word is by each Kind, in their order.  0: it cannot be that."""
    sound = skeleton(word.key) if word.weight >= LEAST_SOUND_WEIGHT else ""
    return (
        hashed(f"={word.key}"),
        hashed(sound) if sound else 0,
        hashed(key_of(word.key)) if word.weight > 0 else 0,
    )


def found_in(words: Sequence[Word], keys: Mapping[int, Key]) -> Found:
    """What the words are to the subject with these keys (by code)."""
    return summed(words, [key_for(word, keys) for word in words])


def key_for(word: Word, keys: Mapping[int, Key]) -> Key | None:
    """The first of the kinds that the word is to the subject, or None."""
    return next((keys[code] for code in codes_of(word) if code and code in keys), None)


def summed(words: Sequence[Word], matched: Sequence[Key | None]) -> Found:
    """The words' sums, each word counted once.  matched: what each is to the subject."""
    name = known = foreign = other = 0.0
    seen: set[str] = set()
    anothers = _in_anothers_name(words, matched)
    for index, (word, key) in enumerate(zip(words, matched, strict=True)):
        if word.key in seen or index in anothers:
            continue
        seen.add(word.key)
        if key is None:
            foreign += word.weight if word.proper else 0.0
            other += 0.0 if word.proper else word.weight
        elif key.kind is Kind.TOPIC:
            known += key.value
        else:
            name += key.value
    return Found(min(1.0, name), known, foreign, other)


def _in_anothers_name(words: Sequence[Word], matched: Sequence[Key | None]) -> set[int]:
    """Numbers of the words of the subject's name that stand within somebody else's.

    That is, side by side with names that are not known, as in those of the subject's family.
    """
    found: set[int] = set()
    run: list[int] = []
    for index, word in enumerate(words):
        key = matched[index]
        own = key is not None and key.kind is Kind.NAME  # the subject's own particle, as "ap"
        named = word.proper or (run and (own or word.key in PARTICLES))
        if not (run and word.follows and named):
            found.update(_named_in(run, words, matched))
            run = []
        if named:
            run.append(index)
    found.update(_named_in(run, words, matched))
    return found


def _named_in(
    run: Sequence[int], words: Sequence[Word], matched: Sequence[Key | None]
) -> Iterable[int]:
    strange = any(matched[i] is None and _may_name(words[i].key) for i in run)
    kinds = {index: key.kind for index in run if (key := matched[index]) is not None}
    return [i for i, kind in kinds.items() if strange and kind is not Kind.TOPIC]


def _may_name(key: str) -> bool:
    return len(key) > 1 and key not in TITLES and key not in PARTICLES


def features(found: Found, cosine: float, rival: float) -> NDArray[np.float64]:
    """[len(FEATURES)].  cosine: with the nearest prototype.  rival: with the nearest near miss."""
    known = 1 - math.exp(-found.known / 2)
    return np.array(
        (
            1.0,
            found.name,
            known,
            1 - math.exp(-found.foreign),
            1 - math.exp(-found.other / 2),
            cosine,
            cosine - max(rival, NO_RIVAL),
            cosine * max(found.name, known),
        )
    )


def small(vectors: Vectors) -> NDArray[np.int8]:
    """Unit vectors in 8 bits: [n, DIMENSIONS], the largest entry of each row becomes 127."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-9)
    result: NDArray[np.int8] = np.rint(vectors / largest * _INT8).astype(np.int8)
    return result


def unit(small_vectors: NDArray[np.int8]) -> Vectors:
    """Vectors of length 1 from those of ``small``."""
    wide = small_vectors.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    result: Vectors = wide / np.maximum(lengths, 1e-9)
    return result


def probability(logit: float) -> float:
    """The head's probability for a logit."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


def _require(holds: object, promise: str) -> None:
    if not holds:
        raise ValueError(promise)


def _opened(artifact: Artifact) -> Detector:
    value, tensors = artifact.manifest, artifact.tensors
    _require(value.get("kind") == KIND and value.get("format") == FORMAT, "not a detector")
    _require(value.get("encoder") == ENCODER_FORMAT, "made for another encoder")
    _require(value.get("features") == list(FEATURES), "made for other features")
    threshold = value.get("threshold")
    _require(isinstance(threshold, float) and math.isfinite(threshold), "no finite threshold")
    for name, kind, columns, most in (
        ("prototypes", np.int8, DIMENSIONS, MAX_PROTOTYPES),
        ("against", np.int8, DIMENSIONS, MAX_AGAINST),
        ("weights", np.float32, len(FEATURES), 1),
    ):
        _require_rows(tensors.get(name), np.dtype(kind), columns, most)
    weights = tensors["weights"][0]
    _require(np.isfinite(weights).all(), "a weight is not finite")
    return Detector(
        weights,
        tensors["prototypes"],
        tensors["against"],
        _keys_of(tensors),
        float(value["threshold"]),
        Erasure.of(value.get("erasure")),
    )


def _require_rows(tensor: Any, kind: np.dtype[Any], columns: int, most: int) -> None:
    _require(isinstance(tensor, np.ndarray) and tensor.dtype == kind, "a tensor is absent")
    _require(tensor.ndim == 2 and tensor.shape[1] == columns, "a tensor is of another shape")
    _require(len(tensor) <= most, "a tensor has too many rows")


def _keys_of(tensors: Mapping[str, NDArray[Any]]) -> tuple[Key, ...]:
    codes, kinds, values = (tensors.get(f"key_{name}") for name in ("codes", "kinds", "values"))
    if codes is None or kinds is None or values is None:
        raise ValueError("a tensor is absent")
    _require(codes.dtype == np.uint64 and kinds.dtype == np.uint8, "keys of another type")
    _require(values.dtype == np.float32 and np.isfinite(values).all(), "keys of no finite value")
    _require(codes.shape == kinds.shape == values.shape == (len(codes),), "keys of other shapes")
    _require(len(codes) <= MAX_KEYS and len(set(codes.tolist())) == len(codes), "keys are too many")
    return tuple(
        Key(code, Kind(kind), value)
        for code, kind, value in zip(codes.tolist(), kinds.tolist(), values.tolist(), strict=True)
    )


def tensors_of(
    weights: NDArray[np.float64],
    prototypes: NDArray[np.int8],
    against: NDArray[np.int8],
    keys: Iterable[Key],
) -> dict[str, NDArray[Any]]:
    """What ``Detector.of`` reads back."""
    listed = sorted(keys)
    return {
        "weights": weights[None].astype(np.float32),
        "prototypes": prototypes,
        "against": against,
        "key_codes": np.array([key.code for key in listed], np.uint64),
        "key_kinds": np.array([key.kind for key in listed], np.uint8),
        "key_values": np.array([key.value for key in listed], np.float32),
    }
