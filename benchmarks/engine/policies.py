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
TOGETHER = ("corruption", "steering", "token filter")
CONFIGURATIONS = ("no policy", *TOGETHER, "all", "steering everywhere")


def artifacts(shape: Shape, model: Path, store: ArtifactStore) -> dict[str, tuple[str, str]]:
    """Guard and digest of each artifact, stored: by the name of the configuration."""
    vocabulary = Vocabulary(*read_tokenizer(model, shape.vocabulary), shape.vocabulary)
    corruption = embedding_corruption.manifest("rand_noise", 5.0)
    filtered = store.put(*token_filter.compiled(phrases(), vocabulary), sealed=True)
    return {
        "corruption": ("embedding_corruption", store.put(corruption)),
        "steering": ("steering", store.put(*_mapped(shape))),
        "token filter": ("token_filter", filtered),
        "steering everywhere": ("steering", store.put(*_everywhere(shape))),
    }


def phrases() -> list[str]:
    """Ten thousand names of two words."""
    first, last = words(PHRASES, 2), words(PHRASES, 3)
    return [f"{one} {other}" for one, other in zip(first, last, strict=True)]


def _mapped(shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """A null-space map in as large a share of the layers as AlphaSteer steers: 10 of 32."""
    layers = list(range(shape.layers // 4, shape.layers // 4 + round(shape.layers * 10 / 32)))
    how = {"kind": "map", "layers": layers, "strength": 0.5, "input": "position", "condition": None}
    tensors = {"0.read": _units(shape, len(layers), 0), "0.write": _units(shape, len(layers), 1)}
    return _manifest(how), tensors


def _everywhere(shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """A direction added and another ablated in every layer: more than any paper does."""
    layers = list(range(shape.layers))
    common = {"layers": layers, "strength": 0.5, "condition": None}
    steps = ({"kind": "add", "keep_norm": False, **common}, {"kind": "ablate", **common})
    tensors = {f"{i}.vector": _units(shape, len(layers), i) for i in range(2)}
    return _manifest(*steps), tensors


def _manifest(*steps: dict[str, Any]) -> dict[str, Any]:
    """In prompt and answer."""
    common = {"format": 1, "guard": "steering", "prompt": True, "generated": True}
    return {**common, "steps": list(steps)}


def _units(shape: Shape, count: int, seed: int) -> Any:
    drawn = np.random.default_rng(seed).standard_normal((count, shape.hidden)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def edits(configuration: str, made: dict[str, tuple[str, str]], length: int) -> tuple[Edit, ...]:
    """What a request of that configuration is to carry."""
    if configuration == "no policy":
        return ()
    spans = {"embedding_corruption": (Span(8, 16),), "steering": (Span(8, length),)}
    named = TOGETHER if configuration == "all" else (configuration,)
    return tuple(Edit(*made[name], spans.get(made[name][0], ())) for name in named)


def signed(ids: Sequence[int], salt: str, key: bytes, chosen: tuple[Edit, ...]) -> str:
    """The field that vouches for a request."""
    expires = int(time.time()) + 3_600
    made = SignedEdits("r", MODEL, 1, digest_of_ids(ids), len(ids), salt, expires, chosen)
    return made.sign(key)
