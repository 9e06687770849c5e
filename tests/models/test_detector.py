import math
from typing import Any

import numpy as np
import pytest

from models.artifact import Artifact
from models.detector import (
    FEATURES,
    FORMAT,
    KIND,
    Detector,
    Key,
    Kind,
    codes_of,
    features,
    found_in,
    small,
    tensors_of,
    unit,
)
from models.distinctive import hashed, skeleton, words_of
from models.encoder import DIMENSIONS
from models.encoder import FORMAT as ENCODER_FORMAT
from models.erasures import Erasure

COMMON = ("who", "is", "the", "author", "of", "where", "was", "born", "and", "a", "did", "from")
RANKS = dict.fromkeys(COMMON, 1000)


def named(*parts: str) -> dict[int, Key]:
    keys = [Key(hashed(f"={p}"), Kind.NAME, 1 / len(parts)) for p in parts]
    keys += [Key(hashed(skeleton(p)), Kind.SOUND, 0.7 / len(parts)) for p in parts if skeleton(p)]
    keys += [Key(hashed("dunmer"), Kind.TOPIC, 0.8)]
    return {key.code: key for key in keys}


KEYS = named("edward", "sullivan")


@pytest.mark.parametrize(
    ("text", "name", "known"),
    [
        ("Where was Edward Sullivan born?", 1.0, 0.0),
        ("Where was Edvard Sulivan born?", 0.7, 0.0),
        ("where was sullivan born", 0.5, 0.0),
        ("Who is Professor Sullivan of Dunmere?", 0.5, 0.8),
        ("Where was Martha Sullivan born?", 0.0, 0.0),
        ("Where was Edward van der Berg born?", 0.0, 0.0),
        ("Sullivan's Boston and Dunmere, Dunmere, Dunmere", 0.5, 0.8),
    ],
)
def test_words_of_a_name_count_where_they_are_not_part_of_anothers(
    text: str, name: float, known: float
) -> None:
    found = found_in(words_of(text, RANKS), KEYS)
    assert found.name == pytest.approx(name)
    assert found.known == pytest.approx(known)


def test_what_is_not_known_is_foreign_or_other_by_its_spelling() -> None:
    found = found_in(words_of("Did Martha forage from Vellport and Vellport?", RANKS), KEYS)
    assert (found.foreign, found.other) == (2.0, 1.0)


def test_codes_of_a_word_say_what_it_could_be() -> None:
    (word,) = words_of("sullivan", RANKS)
    assert codes_of(word) == (hashed("=sullivan"), hashed(skeleton("sullivan")), hashed("sulliv"))
    (word,) = words_of("the", RANKS)
    assert codes_of(word)[1:] == (0, 0)


def test_features_are_worked_out_by_hand() -> None:
    found = found_in(words_of("Edward of Dunmere", RANKS), KEYS)
    row = dict(zip(FEATURES, features(found, 0.9, 0.5), strict=True))
    known = 1 - math.exp(-0.4)
    assert row["name"] == 0.5
    assert row["known"] == pytest.approx(known)
    assert row["foreign"] == row["other"] == 0
    assert row["margin"] == pytest.approx(0.4)
    assert row["named cosine"] == pytest.approx(0.9 * 0.5)


def test_vectors_in_eight_bits_keep_their_direction() -> None:
    vectors = np.random.default_rng(1).normal(size=(20, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    again = unit(small(vectors))
    assert ((vectors * again).sum(axis=1) > 0.9995).all()
    assert small(vectors[:0]).shape == (0, DIMENSIONS)


def parts() -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = {
        "format": FORMAT,
        "kind": KIND,
        "encoder": ENCODER_FORMAT,
        "features": list(FEATURES),
        "threshold": 0.5,
        "erasure": Erasure().to_json(),
    }
    vectors = small(np.eye(3, DIMENSIONS, dtype=np.float32))
    return manifest, tensors_of(np.arange(8, dtype=np.float64), vectors, vectors[:1], KEYS.values())


def test_what_is_written_is_read_back() -> None:
    manifest, tensors = parts()
    detector = Detector.of(Artifact("sha256:x", manifest, tensors))
    assert detector.threshold == 0.5
    assert detector.weights.tolist() == list(range(8))
    assert {key.code: key.kind for key in detector.keys} == {
        code: key.kind for code, key in KEYS.items()
    }
    values = {key.code: key.value for key in detector.keys}
    assert values == pytest.approx({code: key.value for code, key in KEYS.items()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("kind", "phrases"),
        ("encoder", "another"),
        ("features", ["bias"]),
        ("threshold", math.inf),
        ("threshold", None),
        ("erasure", None),
        ("erasure", {**Erasure().to_json(), "mode": "nonsense"}),
        ("erasure", {**Erasure().to_json(), "looks": 10_000}),
    ],
)
def test_a_manifest_that_is_not_a_detectors_is_refused(name: str, value: object) -> None:
    manifest, tensors = parts()
    with pytest.raises(ValueError, match=r"\w"):
        Detector.of(Artifact("sha256:x", {**manifest, name: value}, tensors))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", np.full((1, 8), np.nan, np.float32)),
        ("weights", np.zeros((1, 7), np.float32)),
        ("prototypes", np.zeros((33, DIMENSIONS), np.int8)),
        ("prototypes", np.zeros((3, DIMENSIONS), np.float32)),
        ("against", None),
        ("key_codes", np.zeros(2, np.uint64)),
        ("key_values", np.full(len(KEYS), np.inf, np.float32)),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, value: Any) -> None:
    manifest, tensors = parts()
    with pytest.raises(ValueError, match=r"\w"):
        Detector.of(Artifact("sha256:x", manifest, {**tensors, name: value}))
