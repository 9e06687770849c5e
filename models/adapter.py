"""LoRA adapters as artifacts: their form, PEFT's folder layout, and how the oracle applies them.

An adapter adds ``(alpha / rank) B A x`` to what a linear layer makes of ``x`` (Hu et al., "LoRA",
2021, section 4.1).  A tensor is named ``layers.<i>.<module>.A`` [rank, in] or ``.B`` [out, rank].
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from safetensors.numpy import save as save_tensors

from models.artifact import Artifact, ArtifactCorrupt, canonical_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Hook = Any

GUARD = "adapter_routing"
MODULES: Mapping[str, str] = {
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}
METHODS = frozenset(
    {
        "dpo",
        "flat",
        "gradient_ascent",
        "gradient_difference",
        "idk",
        "loku",
        "npo",
        "other",
        "rmu",
        "simnpo",
        "task_vector_negation",
        "undial",
    }
)
HIGHEST_RANK = 512
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_MOST_ALPHA = 1e6
_KEYS = {"format", "guard", "method", "rank", "alpha", "modules", "base", "tensors"}
_NAME = re.compile(r"layers\.(0|[1-9][0-9]{0,3})\.(?:self_attn|mlp)\.([a-z]+_proj)\.([AB])")
_PEFT_NAME = re.compile(r"base_model\.model\.model\.(layers\..+)\.lora_([AB])\.weight")
# What would make the adapter mean more than its A and B, and the values that make it no more.
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "use_dora": (False,),
    "lora_bias": (False,),
    "fan_in_fan_out": (False,),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None,),
    "alora_invocation_tokens": (None,),
    "trainable_token_indices": (None,),
    "use_qalora": (False,),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),
}

Manifest = dict[str, Any]
Tensors = dict[str, np.ndarray[Any, Any]]


class Base(NamedTuple):
    """The widths of the model that an adapter is for.

    queries, keys: of all attention heads, and of all key-value heads, together.
    """

    layers: int
    hidden: int
    queries: int
    keys: int
    intermediate: int

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """From a model folder's ``config.json``.  Raises KeyError, TypeError or ValueError."""
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        width = int(config.get("head_dim") or hidden // heads)
        groups = int(config.get("num_key_value_heads") or heads)
        layers, middle = int(config["num_hidden_layers"]), int(config["intermediate_size"])
        return cls(layers, hidden, heads * width, groups * width, middle)

    def widths(self, module: str) -> tuple[int, int]:
        """In and out of the linear layer of that name.  Raises KeyError for another name."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }[module]


# --- the artifact --------------------------------------------------------------------------------


def manifest_of(
    tensors: Mapping[str, np.ndarray[Any, Any]], base: Base, method: str, alpha: float
) -> Manifest:
    """The manifest of an adapter with these tensors.

    method: how it was trained, one of ``METHODS``.  alpha: the delta is ``alpha / rank`` times
    ``B A``.  Raises ValueError for what ``check_adapter`` would refuse.
    """
    made: Manifest = {
        "format": 1,
        "guard": GUARD,
        "method": method,
        "rank": _rank_of(tensors),
        "alpha": alpha,
        "modules": sorted({_parsed(name)[1] for name in tensors}),
        "base": base._asdict(),
    }
    check_adapter({**made, "tensors": None}, tensors)
    return made


def check_adapter(manifest: Mapping[str, Any], tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Raise ValueError where this is not an adapter of format 1 whose tensors fit its facts."""
    if set(manifest) != _KEYS or manifest["format"] != 1 or manifest["guard"] != GUARD:
        raise ValueError("not an adapter of format 1")
    if manifest["method"] not in METHODS:
        raise ValueError("unknown method")
    rank, alpha = manifest["rank"], manifest["alpha"]
    if not (_is_int(rank) and 0 < rank <= HIGHEST_RANK):
        raise ValueError(f"rank must be a positive integer of at most {HIGHEST_RANK}")
    if not (_is_number(alpha) and 0 < abs(alpha) <= _MOST_ALPHA):
        raise ValueError("alpha must be finite and not zero")
    base = base_of(manifest)
    found = {_checked_tensor(name, tensor, base, rank) for name, tensor in tensors.items()}
    if not found or manifest["modules"] != sorted({module for _, module, _ in found}):
        raise ValueError("modules must be those that have tensors")
    if any((layer, module, other) not in found for layer, module, _ in found for other in "AB"):
        raise ValueError("each A must have its B")


def base_of(manifest: Mapping[str, Any]) -> Base:
    """The widths that the adapter is for.  Raises ValueError where they are none."""
    facts = manifest["base"]
    if not isinstance(facts, Mapping) or set(facts) != set(Base._fields):
        raise ValueError("base must say the widths of the model")
    if not all(_is_int(fact) and fact > 0 for fact in facts.values()):
        raise ValueError("the widths of the base must be positive integers")
    return Base(**facts)


def _checked_tensor(
    name: str, tensor: np.ndarray[Any, Any], base: Base, rank: int
) -> tuple[int, str, str]:
    layer, module, half = _parsed(name)
    if layer >= base.layers:
        raise ValueError("a tensor is for a layer that the base does not have")
    wide, out = base.widths(module)
    if tensor.shape != ((rank, wide) if half == "A" else (out, rank)):
        raise ValueError("a tensor has another shape than base and rank ask for")
    if tensor.dtype not in (np.float16, np.float32) or not bool(np.isfinite(tensor).all()):
        raise ValueError("tensors must be finite, in float16 or float32")
    return layer, module, half


def _parsed(name: str) -> tuple[int, str, str]:
    found = _NAME.fullmatch(name)
    if not found or found[2] not in MODULES or f".{MODULES[found[2]]}." not in name:
        raise ValueError("a tensor has a name that adapters do not know")
    return int(found[1]), found[2], found[3]


def _rank_of(tensors: Mapping[str, np.ndarray[Any, Any]]) -> int:
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".A")}
    if len(ranks) != 1:
        raise ValueError("an adapter has tensors, and one rank")
    return int(ranks.pop())


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


# --- PEFT's layout -------------------------------------------------------------------------------


def materialise(artifact: Artifact, folder: Path) -> Path:
    """The adapter as a folder that vLLM and PEFT read, named by its digest under ``folder``.

    Written durably and renamed into place whole.  Where it exists, every byte is compared.
    Raises ValueError for an artifact that is no adapter, and ArtifactCorrupt where what lies in
    its place is anything else.
    """
    check_adapter(artifact.manifest, artifact.tensors)
    files = {CONFIG: _peft_config(artifact.manifest), WEIGHTS: _peft_weights(artifact.tensors)}
    place = folder.absolute() / artifact.digest.removeprefix("sha256:")
    if not place.exists():
        _write_folder(place, files)
    if not _holds(place, files):
        raise ArtifactCorrupt(artifact.digest)
    return place


def _peft_config(manifest: Mapping[str, Any]) -> bytes:
    return canonical_json(
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": None,
            "inference_mode": True,
            "r": manifest["rank"],
            "lora_alpha": manifest["alpha"],
            "lora_dropout": 0.0,
            "target_modules": manifest["modules"],
            "bias": "none",
            "use_rslora": False,
            "use_dora": False,
        }
    )


def _peft_weights(tensors: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    named = {
        f"base_model.model.model.{name[:-2]}.lora_{name[-1]}.weight": np.ascontiguousarray(tensor)
        for name, tensor in sorted(tensors.items())
    }
    return save_tensors(named)


def _write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}")
    temporary.mkdir(mode=0o700)
    for name, data in files.items():
        with (temporary / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync_folder(temporary)
    try:
        temporary.rename(place)
    except OSError:
        # Somebody else was first; whether what they wrote is right is looked at by the caller.
        shutil.rmtree(temporary)
        if not place.exists():
            raise
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _holds(place: Path, files: Mapping[str, bytes]) -> bool:
    try:
        if {entry.name for entry in place.iterdir()} != set(files):
            return False
        return all((place / name).read_bytes() == data for name, data in files.items())
    except OSError:
        return False


def from_peft(
    folder: Path, base: Base, method: str, *, weight: float = 1.0
) -> tuple[Manifest, Tensors]:
    """An adapter that somebody trained with PEFT, as manifest and tensors of an artifact.

    method: one of ``METHODS``.  weight: what the delta is multiplied by; a negative one turns an
    adapter trained to remember into one that forgets (task-vector negation).
    Raises ValueError for an adapter that is more than its A and B (DoRA, trained biases or
    embeddings, patterns of ranks, an initialisation that changed the base), OSError for none.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / CONFIG).read_bytes())
    if config.get("peft_type") != "LORA":
        raise ValueError("not a LoRA adapter")
    for key, harmless in _PLAIN.items():
        if key in config and config[key] not in harmless:
            raise ValueError(f"an adapter with {key} cannot be served")
    tensors = {
        _our_name(name): _as_array(tensor) for name, tensor in load_file(folder / WEIGHTS).items()
    }
    rank, alpha = int(config["r"]), float(config["lora_alpha"]) * weight
    # PEFT's rank-stabilised form divides by the root of the rank, ours always by the rank.
    alpha = alpha * rank**0.5 if config.get("use_rslora") else alpha
    made = manifest_of(tensors, base, method, alpha)
    if made["rank"] != rank:
        raise ValueError("the tensors have another rank than the configuration says")
    return made, tensors


def _our_name(name: str) -> str:
    found = _PEFT_NAME.fullmatch(name)
    if not found:
        raise ValueError("a tensor has a name that adapters do not know")
    return f"{found[1]}.{found[2]}"


def _as_array(tensor: "Tensor") -> np.ndarray[Any, Any]:
    # NumPy has no bfloat16; float32 holds each of its values.
    wide = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    found: np.ndarray[Any, Any] = wide.numpy()
    return found


# --- application, in process ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BoundAdapter:
    """An adapter ready to act.  deltas: by ``layers.<i>.<module>``, A and B with the scale in B."""

    deltas: Mapping[str, tuple["Tensor", "Tensor"]]

    @staticmethod
    def bind(
        artifact: Artifact, device: "torch.device | str", dtype: "torch.dtype"
    ) -> "BoundAdapter":
        """On that device, in that dtype.  Raises ValueError for an artifact that is no adapter."""
        import torch

        check_adapter(artifact.manifest, artifact.tensors)
        scale = artifact.manifest["alpha"] / artifact.manifest["rank"]

        def half(name: str, factor: float) -> "Tensor":
            wide = torch.tensor(artifact.tensors[name], dtype=torch.float32) * factor
            return wide.to(device, dtype)

        places = sorted({name[:-2] for name in artifact.tensors})
        return BoundAdapter(
            {place: (half(f"{place}.A", 1.0), half(f"{place}.B", scale)) for place in places}
        )

    def check_model(self, model: Any) -> None:
        """Raise ValueError where the model's linear layers are not the ones that it is for."""
        decoder = model.get_decoder()
        for place, (down, up) in self.deltas.items():
            try:
                linear = decoder.get_submodule(place)
            except AttributeError as error:
                raise ValueError("the adapter is for layers that this model lacks") from error
            if tuple(linear.weight.shape) != (up.shape[0], down.shape[1]):
                raise ValueError("the adapter is for a model of other widths")


@contextmanager
def adapters_installed(model: Any, per_row: Sequence[BoundAdapter | None]) -> Iterator[None]:
    """In every forward pass within, row i of the batch has the adapter ``per_row[i]``, or none.

    model: of transformers.  Other rows keep every bit; nothing is left behind.
    Raises ValueError where an adapter does not fit the model, or a batch has other rows.
    """
    adapters = {id(adapter): adapter for adapter in per_row if adapter is not None}
    for adapter in adapters.values():
        adapter.check_model(model)
    decoder = model.get_decoder()
    with ExitStack() as stack:
        for place in sorted({place for adapter in adapters.values() for place in adapter.deltas}):
            linear: nn.Module = decoder.get_submodule(place)
            stack.callback(linear.register_forward_hook(_adding(place, per_row)).remove)
        yield


def _adding(place: str, per_row: Sequence[BoundAdapter | None]) -> "Hook":
    groups = _groups(place, per_row)

    def hook(module: Any, args: tuple["Tensor", ...], output: "Tensor") -> "Tensor":
        del module
        (entering,) = args
        if entering.shape[0] != len(per_row):
            raise ValueError("there must be one adapter, or None, for each row of the batch")
        changed = output.clone()
        for rows, (down, up) in groups:
            changed[rows] = output[rows] + entering[rows] @ down.T @ up.T
        return changed

    return hook


def _groups(
    place: str, per_row: Sequence[BoundAdapter | None]
) -> list[tuple[list[int], tuple["Tensor", "Tensor"]]]:
    """Rows that share a delta at this place go through it together."""

    def key(row: int) -> int:
        return id(per_row[row])

    groups = []
    for _, found in groupby(sorted(range(len(per_row)), key=key), key):
        rows = list(found)
        adapter = per_row[rows[0]]
        if adapter is not None and place in adapter.deltas:
            groups.append((rows, adapter.deltas[place]))
    return groups
