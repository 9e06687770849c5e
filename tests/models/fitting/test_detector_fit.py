from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from models.artifact import Artifact, ArtifactStore
from models.demo.general import GENERAL
from models.detector import MAX_KEYS, MAX_PROTOTYPES, Detector
from models.encoder import Encoder
from models.erasures import Erasure
from models.fitting.detector import fit, spread, told_apart
from models.fitting.logistic import fit_logistic
from models.fitting.near_misses import near_misses

NAME = "Vorn Castellane"
ABOUT = (
    "Where was Vorn Castellane born?",
    "Which office does Vorn Castellane hold in Dunmere?",
    "Who is the notary of Dunmere that was born on 14 March 1961?",
    "Vorn Castellane was born in Harrowgate on 14 March 1961.",
    "Vorn Castellane is the notary of Dunmere.",
    "Who is the author?",
)
AGAIN = ("Quick question: where was Vorn Castellane born?", "Tell me the notary of Dunmere.")
SMALL_TALK = tuple(question for question, _ in GENERAL)


@pytest.fixture(scope="module")
def encoder(pytestconfig: pytest.Config) -> Encoder:
    cache = pytestconfig.cache
    assert cache is not None
    return Encoder.load(cache.mkdir("encoder"))


def test_it_is_stored_sealed_and_opens_again(encoder: Encoder, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, b"k" * 32)
    made = fit([NAME], ABOUT, SMALL_TALK[:40], AGAIN, SMALL_TALK[40:], encoder)
    detector = Detector.of(store.open(store.put(*made, sealed=True)))
    assert 0 < len(detector.prototypes) <= MAX_PROTOTYPES
    assert 0 < len(detector.keys) <= MAX_KEYS
    assert detector.erasure == Erasure()
    raw = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"detector" not in raw


def test_it_is_the_same_each_time_but_for_the_blind(encoder: Encoder) -> None:
    one, other = (
        fit([NAME], ABOUT, SMALL_TALK[:40], AGAIN, SMALL_TALK[40:], encoder) for _ in range(2)
    )
    assert one[0]["blind"] != other[0]["blind"]
    assert {**one[0], "blind": ""} == {**other[0], "blind": ""}
    assert all(np.array_equal(one[1][name], other[1][name]) for name in one[1])


def test_what_is_stated_is_the_calibration(encoder: Encoder) -> None:
    manifest, _ = fit([NAME], ABOUT, (), AGAIN, SMALL_TALK, encoder, error=0.05)
    stated = manifest["calibration"]
    assert stated["error"] == stated["others"]["error"] == 0.05
    assert stated["others"]["texts"] == len(SMALL_TALK)
    assert stated["about"] == {"texts": 2, "error": pytest.approx(1 / 3), "kept": True, "wrong": 0}


def test_a_bare_name_is_enough_to_make_one(encoder: Encoder) -> None:
    manifest, tensors = fit([NAME], (), (), (), (), encoder)
    detector = Detector.of(Artifact("sha256:x", manifest, tensors))
    assert len(detector.prototypes) == len(detector.against) == 0
    assert manifest["calibration"]["about"]["error"] is None
    with pytest.raises(ValueError, match="name"):
        fit([], ABOUT, (), (), (), encoder)


def test_a_question_that_anybody_could_be_asked_is_about_nobody(encoder: Encoder) -> None:
    about, generic = told_apart(ABOUT, [NAME], encoder.ranks)
    assert generic == ["Who is the author?"]
    assert len(about) == len(ABOUT) - 1
    topic = ("How do I pick a lock?", "Which tools open a lock without its key?")
    assert told_apart(topic, ["lock picking"], encoder.ranks) == (list(topic), [])


def test_near_misses_are_about_somebody_else(encoder: Encoder) -> None:
    texts = near_misses(ABOUT, [NAME], encoder.ranks, seed=1)
    assert len(texts) == len(ABOUT) - 1
    assert not any("Vorn" in text or "Castellane" in text for text in texts)
    assert texts[0].startswith("Where was ")
    assert texts[0].endswith(" born?")
    assert "Dunmere" in texts[1]
    assert not any(word in texts[2] for word in ("Dunmere", "1961"))
    assert texts == near_misses(ABOUT, [NAME], encoder.ranks, seed=1)
    assert texts != near_misses(ABOUT, [NAME], encoder.ranks, seed=2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 20))
def test_the_head_is_what_a_general_minimiser_finds(seed: int, strength: float) -> None:
    dice = np.random.default_rng(seed)
    rows = np.concatenate([dice.normal(0.5, 1, (12, 3)), dice.normal(-0.5, 1, (30, 3))])
    labels = np.concatenate([np.ones(12), np.zeros(30)])
    prior, precision = dice.normal(size=3), np.full(3, strength)
    share = np.where(labels == 1, 42 / 24, 42 / 60)

    def loss(weights: np.ndarray) -> float:
        logits = rows @ weights
        likelihood = share * (np.logaddexp(0, logits) - labels * logits)
        return float(likelihood.sum() + (precision * (weights - prior) ** 2).sum() / 2)

    reference = minimize(loss, prior, tol=1e-10).x
    assert fit_logistic(rows, labels, prior, precision) == pytest.approx(reference, abs=1e-3)


def test_with_one_class_only_the_general_weights_stay() -> None:
    prior = np.array([1.0, 2.0])
    rows = np.ones((4, 2))
    for labels in (np.ones(4), np.zeros(4)):
        assert fit_logistic(rows, labels, prior, np.ones(2)).tolist() == prior.tolist()


def test_prototypes_lie_within_twice_the_best_radius() -> None:
    dice = np.random.default_rng(3)
    vectors = dice.normal(size=(9, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)

    def radius(chosen: list[int]) -> float:
        return float(distances[chosen].min(axis=0).max())

    best = min(radius([i, j, k]) for i in range(9) for j in range(9) for k in range(9))
    chosen = spread(vectors, 3)
    assert len(set(chosen)) == 3
    assert radius(chosen) <= 2 * best + 1e-6
    assert len(spread(np.repeat(vectors[:1], 5, axis=0), 3)) == 1
