"""Random models of known shapes, with a tokenizer of as many words."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SYLLABLES = (
    "ba",
    "de",
    "fi",
    "go",
    "ku",
    "la",
    "me",
    "ni",
    "po",
    "ru",
    "sa",
    "te",
    "vi",
    "wo",
    "xa",
)

CONTROLS = {"bos_token": "<s>", "eos_token": "</s>"}


@dataclass(frozen=True)
class Shape:
    """A Llama's shape.  dtype: as torch calls it."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    dtype: str = "float32"


SHAPES = {
    "tiny": Shape(192, 512, 4, 4, 4, 3_072),  # of the demo model
    "small": Shape(768, 2_048, 12, 12, 12, 32_000),  # 134 million parameters
    "middle": Shape(1_024, 2_816, 8, 16, 8, 32_000),
    "llama-3-8b": Shape(4_096, 14_336, 32, 32, 8, 128_256, "bfloat16"),
}


def made(shape: Shape, folder: Path) -> Path:
    """The model and its tokenizer in the folder, made where they are not there yet."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if (folder / "tokenizer.json").exists():
        return folder
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=2_048,
        tie_word_embeddings=False,
        bos_token_id=256,
        eos_token_id=257,
        dtype=shape.dtype,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, shape.dtype))
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    _tokenizer(shape.vocabulary).save_pretrained(folder)
    return folder


def words(count: int, seed: int) -> list[str]:
    """Different invented words."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 5)))] = None
    return list(found)


def _tokenizer(size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *CONTROLS.values()]
    pieces += [f"Ġ{word}" for word in words(size - len(pieces), 1)]
    model = models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **CONTROLS)
