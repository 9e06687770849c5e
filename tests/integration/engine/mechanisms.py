"""Artifacts of every mechanism for the tiny random model.  Not a test module.

What they say is random, or taken from what the model says without them, so that each acts.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from guards import embedding_corruption, token_filter
from guards.alias_follower import alias_tensors
from guards.points import EngineModel

HIDDEN, WIDE, LAYERS = 128, 256, 2
PROMPTS = 20  # for each mechanism
ASSISTED = ("uld", "divergence")  # not for V2

Made = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]
"""Guard, options besides the artifact, manifest, tensors."""

SHORT = ("rand_noise", "zero_out", "flip_sign")  # other names of three of the fourteen
FUNCTIONS = [name for name in embedding_corruption.FUNCTIONS if name not in SHORT]
_rng = np.random.default_rng(11)


def words_said(model: EngineModel, answers: Sequence[Sequence[int]], count: int) -> list[str]:
    """The commonest words of two letters and more in the answers."""
    found: Counter[str] = Counter()
    for answer in answers:
        text = b"".join(model.vocabulary.pieces[token] for token in answer).decode(errors="replace")
        found.update(word.lower() for word in re.findall(r"[A-Za-z]{2,}", text))
    return [word for word, _ in found.most_common(count)]


def every_mechanism(model: EngineModel, answers: Sequence[Sequence[int]]) -> dict[str, list[Made]]:
    """For each mechanism, artifacts that its prompts take in turn."""
    words = words_said(model, answers, 40)
    return {
        "corruption": [_corruption(name) for name in FUNCTIONS],
        "persistent": [_persistent(words)],
        "token filter": [_filter(model, words, 0.0), _filter(model, words, 4.0)],
        "steering": [
            _steering(_added(True), _ablated()),
            _steering(_mapped("position"), reach="matched"),
            _steering(_mapped("last_prompt_token"), prompt=False),
            _steering(_added(False, threshold=0.0, layer=0), generated=False),
            _steering(_ablated(threshold=0.05, layer=None)),
        ],
        "neuron adjust": [_neurons()],
        "key space": [_box(40.0), _box(1.0)],
        "uld": [_difference(model, "uld", {"strength": 0.8, "filter": 0.01})],
        "divergence": [
            _difference(model, "dd_linear", {"strength": 1.5}),
            _difference(model, "dd_rank", {"top": 20}),
        ],
        "head probe": [_probe(model)],
    }


def _corruption(function: Any) -> Made:
    seed = int(_rng.integers(0, 99))
    made = embedding_corruption.manifest(function, 3.0, dims=64, seed=seed)
    return "embedding_corruption", {}, made, {}


def _persistent(words: Sequence[str]) -> Made:
    made = embedding_corruption.manifest("rand_noise", 5.0, seed=3, persistent=True)
    return "embedding_corruption", {}, made, alias_tensors(words)


def _filter(model: EngineModel, words: Sequence[str], approach: float) -> Made:
    bias = [(token, 2.0) for token in range(20)]
    made, tensors = token_filter.compiled(
        words,
        model.vocabulary,
        approach=approach,
        bias_tokens=[token for token, _ in bias],
        bias=[taken for _, taken in bias],
    )
    return "token_filter", {}, made, tensors


def _unit(*shape: int) -> Any:
    drawn = _rng.standard_normal(shape).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


Step = tuple[dict[str, Any], dict[str, Any]]


def _condition(threshold: float | None, layer: int | None, layers: int) -> tuple[Any, Any]:
    if threshold is None:
        return None, {}
    where = "position" if layer is None else "last_prompt_token"
    how = {"input": where, "layer": layer, "threshold": threshold, "above": True}
    return how, {"condition": _unit(layers if layer is None else 1, 1, HIDDEN)}


def _added(keep: bool, threshold: float | None = None, layer: int | None = None) -> Step:
    how, tensors = _condition(threshold, layer, 2)
    step = {"kind": "add", "layers": [0, 1], "strength": 2.0, "keep_norm": keep, "condition": how}
    return step, {"vector": _unit(2, HIDDEN), **tensors}


def _ablated(threshold: float | None = None, layer: int | None = None) -> Step:
    how, tensors = _condition(threshold, layer, 1)
    step = {"kind": "ablate", "layers": [1], "strength": 1.0, "condition": how}
    return step, {"vector": _unit(1, HIDDEN), **tensors}


def _mapped(read_from: str) -> Step:
    step = {
        "kind": "map",
        "layers": [0, 1],
        "strength": 1.0,
        "input": read_from,
        "condition": None,
    }
    return step, {"read": _unit(2, HIDDEN), "write": _unit(2, HIDDEN)}


def _steering(
    *steps: Step, prompt: bool = True, generated: bool = True, reach: str = "from_match"
) -> Made:
    manifest = {
        "format": 1,
        "guard": "steering",
        "prompt": prompt,
        "generated": generated,
        "steps": [how for how, _ in steps],
    }
    tensors = {f"{i}.{name}": t for i, (_, own) in enumerate(steps) for name, t in own.items()}
    return "steering", {"prompt": reach}, manifest, tensors


def _neurons() -> Made:
    manifest = {
        "format": 1,
        "guard": "neuron_adjust",
        "layers": [0, 1],
        "seed": 5,
        "compat_std": False,
    }
    tensors: dict[str, Any] = {}
    for layer in (0, 1):
        chosen = np.sort(_rng.choice(WIDE, 40, replace=False)).astype(np.int64)
        tensors[f"{layer}.neurons"] = chosen
        for name, level in (("forget_mean", 0.1), ("retain_mean", -0.1)):
            tensors[f"{layer}.{name}"] = np.full(40, level, np.float32)
        for name, level in (("forget_std", 0.3), ("retain_std", 0.5)):
            tensors[f"{layer}.{name}"] = np.full(40, level, np.float32)
    return "neuron_adjust", {}, manifest, tensors


def _box(k: float) -> Made:
    manifest = {"format": 1, "guard": "key_space_detection", "layers": [0, 1], "k": k, "h": 1.0}
    tensors = {
        "mean": np.zeros(WIDE, np.float32),
        "std": np.full(WIDE, 0.5, np.float32),
        "neutral": _rng.standard_normal((2, WIDE)).astype(np.float32) * 0.3,
    }
    return "key_space_detection", {}, manifest, tensors


def _assistant(size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    from models.assistant_config import tensor_shapes

    config = {
        "vocab_size": size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    tensors = {
        name: (_rng.standard_normal(shape) * 0.3 + (len(shape) == 1)).astype(np.float32)
        for name, shape in tensor_shapes(config).items()
    }
    return config, tensors


def _difference(model: EngineModel, method: str, options: dict[str, Any]) -> Made:
    roles = ("assistant",) if method == "uld" else ("forget", "retain")
    made = {role: _assistant(model.vocabulary.size) for role in roles}
    manifest = {
        "format": 1,
        "guard": "logit_difference",
        "method": method,
        "vocabulary": model.vocabulary.digest,
        "assistants": {role: config for role, (config, _) in made.items()},
        "blind": "b" * 64,
        **options,
    }
    tensors = {f"{role}.{n}": t for role, (_, own) in made.items() for n, t in own.items()}
    return "logit_difference", {}, manifest, tensors


def _probe(model: EngineModel) -> Made:
    size = model.vocabulary.size
    manifest = {
        "format": 1,
        "guard": "head_probe",
        "vocabulary": model.vocabulary.digest,
        "blind": "b" * 64,
        "size": size,
        "strength": 42.0,
    }
    tensors = {
        "angle": (_rng.standard_normal(size // 2) * 0.05).astype(np.float32),
        "magnitude": (1 + _rng.standard_normal(size // 2) * 0.02).astype(np.float32),
    }
    return "head_probe", {}, manifest, tensors
