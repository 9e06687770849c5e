"""The edits whose cost is measured, for a model of any shape."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine.shapes import Shape, words
from guards import embedding_corruption, token_filter
from guards.case import Edit, Span, digest_of_ids
from guards.signed_edits import SignedEdits
from guards.vocabulary import Vocabulary
from models.artifact import ArtifactStore
from models.vocabulary import read_tokenizer

MODEL = "bench"
PHRASES = 10_000
CONFIGURATIONS = ("no policy", "corruption", "steering", "token filter", "all")


def artifacts(shape: Shape, model: Path, store: ArtifactStore) -> dict[str, tuple[str, str]]:
    """Guard and digest of each artifact, stored: by the name of the configuration."""
    corruption = store.put(embedding_corruption.manifest("rand_noise", 5.0))
    steering = store.put(*_steering(shape))
    vocabulary = Vocabulary(*read_tokenizer(model, shape.vocabulary), shape.vocabulary)
    filtered = store.put(*token_filter.compiled(phrases(), vocabulary), sealed=True)
    return {
        "corruption": ("embedding_corruption", corruption),
        "steering": ("steering", steering),
        "token filter": ("token_filter", filtered),
    }


def phrases() -> list[str]:
    """Ten thousand names of two words."""
    first, last = words(PHRASES, 2), words(PHRASES, 3)
    return [f"{one} {other}" for one, other in zip(first, last, strict=True)]


def _steering(shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """A direction added and another ablated in every layer, in prompt and answer."""
    rng = np.random.default_rng(0)
    layers = list(range(shape.layers))

    def unit() -> Any:
        drawn = rng.standard_normal((shape.layers, shape.hidden)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    common = {"layers": layers, "strength": 0.5, "condition": None}
    steps = [{"kind": "add", "keep_norm": False, **common}, {"kind": "ablate", **common}]
    manifest = {"format": 1, "guard": "steering", "prompt": True, "generated": True, "steps": steps}
    return manifest, {"0.vector": unit(), "1.vector": unit()}


def edits(configuration: str, made: dict[str, tuple[str, str]], length: int) -> tuple[Edit, ...]:
    """What a request of that configuration is to carry."""
    named = [configuration] if configuration in made else list(made)
    spans = {"corruption": (Span(8, 16),), "steering": (Span(8, length),), "token filter": ()}
    if configuration == "no policy":
        return ()
    return tuple(Edit(*made[name], spans[name]) for name in named)


def signed(ids: Sequence[int], salt: str, key: bytes, chosen: tuple[Edit, ...]) -> str:
    """The field that vouches for a request."""
    expires = int(time.time()) + 3_600
    made = SignedEdits("r", MODEL, 1, digest_of_ids(ids), len(ids), salt, expires, chosen)
    return made.sign(key)
