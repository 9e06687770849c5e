"""Folders of a model's weights after an adapter was merged into them, and after rounding."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from evals.weights.rounding import round_linears
from models.artifact import Artifact


def write_copy(
    model: Path, to: Path, *, adapter: Artifact | None = None, bits: int | None = None
) -> Path:
    """A folder with the model's tokenizer and changed weights; left alone where it is there.

    adapter: a LoRA adapter to merge first.  bits: to round the weights to then; None: they stay.
    """
    if to.exists():
        return to
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        merge(loaded, adapter)
    if bits is not None:
        round_linears(loaded, bits)
    making = to.with_name(f".{to.name}")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(model, making, ignore=shutil.ignore_patterns("*.safetensors*"))
    loaded.save_pretrained(making)
    making.rename(to)
    return to


def merge(model: Any, adapter: Artifact) -> None:
    """Add ``(alpha / rank) B A`` to each weight that the adapter is for, in place.

    Source: Hu et al., "LoRA" (2021), section 4.1.  model: a Llama of transformers.
    """
    scale = float(adapter.manifest["alpha"]) / int(adapter.manifest["rank"])
    decoder = model.get_decoder()
    with torch.no_grad():
        for name in sorted(adapter.tensors):
            place, half = name.rsplit(".", 1)
            if half == "A":
                down = torch.tensor(adapter.tensors[name])
                up = torch.tensor(adapter.tensors[f"{place}.B"])
                decoder.get_submodule(place).weight.add_(scale * (up @ down))
