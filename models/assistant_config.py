"""What an assistant model is made of, as an artifact says it; needs no torch to be checked."""

import math
from collections.abc import Mapping
from typing import Any

_COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
_KEYS = {*_COUNTS, "rms_norm_eps", "tie_word_embeddings", "rope_parameters"}
_ROPES = {
    "default": {"rope_type", "rope_theta"},
    "llama3": {
        "rope_type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    },
}
_MOST = 1 << 24


def check_config(config: object) -> None:
    """Raise ValueError where it is not the configuration of a Llama without biases.

    Exactly the keys of transformers' LlamaConfig that decide about shapes, norms and positions.
    """
    if not isinstance(config, Mapping) or set(config) != _KEYS:
        raise ValueError("an assistant's configuration has other keys")
    if not all(_is_count(config[name]) for name in _COUNTS):
        raise ValueError("sizes of an assistant must be positive integers")
    if config["num_attention_heads"] % config["num_key_value_heads"] or config["head_dim"] % 2:
        raise ValueError("heads of an assistant do not divide")
    if not _is_positive(config["rms_norm_eps"]) or not config["rms_norm_eps"] < 1:
        raise ValueError("rms_norm_eps must be between 0 and 1")
    if not isinstance(config["tie_word_embeddings"], bool):
        raise ValueError("tie_word_embeddings must be true or false")
    _check_rope(config["rope_parameters"])


def tensor_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model by its name in transformers; a tied head has none of its own."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        shapes |= {
            f"model.layers.{layer}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (hidden,),
                "post_attention_layernorm": (hidden,),
                "self_attn.q_proj": (queries, hidden),
                "self_attn.k_proj": (keys, hidden),
                "self_attn.v_proj": (keys, hidden),
                "self_attn.o_proj": (hidden, queries),
                "mlp.gate_proj": (wide, hidden),
                "mlp.up_proj": (wide, hidden),
                "mlp.down_proj": (hidden, wide),
            }.items()
        }
    return shapes


def _check_rope(rope: object) -> None:
    if not isinstance(rope, Mapping) or not isinstance(rope.get("rope_type"), str):
        raise ValueError("rope_parameters must name their type")
    if set(rope) != _ROPES.get(rope["rope_type"]):
        raise ValueError("positions of this kind are not known")
    if not all(_is_positive(value) for name, value in rope.items() if name != "rope_type"):
        raise ValueError("rope_parameters must be positive numbers")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST


def _is_positive(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and value > 0
