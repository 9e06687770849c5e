"""LoRA adapters in vLLM 0.32: which one a request gets, and a fault of its CPU operators made good.

vLLM loads an adapter when the first request for it is scheduled, in each worker, from the folder
that the request names.  It raises there for one that it cannot load, which ends the server for
everyone; so everything that could fail is looked at here, at admission.
``vllm`` is imported inside functions, so that this module can be read where vLLM is absent.
"""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from guards.adapter_routing import NAME, chosen
from guards.case import Edit
from models.adapter import MODULES, Base, base_of, materialise
from service.admission import CheckedArtifacts, Refused

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as its highest rank."""

_MASKED = "_lethe_masked"


def engine_arguments(at_once: int, rank: int, kept: int) -> tuple[str, ...]:
    """What vLLM's command line needs.

    at_once: adapters in one batch; requests for further ones wait.  rank: the highest served.
    kept: adapters held in the host's memory, at least ``at_once``.  Raises ValueError otherwise.
    """
    if not 1 <= at_once <= kept:
        raise ValueError("as many adapters must be kept as are served at once, and at least one")
    return (
        "--enable-lora",
        *("--max-loras", str(at_once)),
        *("--max-lora-rank", str(_allowed(rank))),
        *("--max-cpu-loras", str(kept)),
        # Embeddings and output head stay vLLM's own: our artifacts never touch them.
        *("--lora-target-modules", *MODULES),
    )


def _allowed(rank: int) -> int:
    found = next((allowed for allowed in RANKS if rank <= allowed), None)
    if rank < 1 or found is None:
        raise ValueError(f"adapters have a rank of 1 to {RANKS[-1]}")
    return found


class Adapters:
    """Makes vLLM's adapter of a request.  Safe from several threads.

    folder: where adapters are laid out for the workers, who must see it under the same path.  What
    is in it must stay for as long as an engine runs.  base: the served model.  rank: the highest
    that the engine was started for.
    """

    def __init__(self, artifacts: CheckedArtifacts, folder: Path, base: Base, rank: int) -> None:
        self._artifacts = artifacts
        self._folder = folder
        self._base = base
        self._rank = rank
        self._ready: dict[str, Path] = {}
        self._lock = Lock()

    @staticmethod
    def of_model(artifacts: CheckedArtifacts, folder: Path, model: Path, rank: int) -> "Adapters":
        """For the model in that folder.  Raises OSError, KeyError, TypeError or ValueError."""
        base = Base.of_config(json.loads((model / "config.json").read_bytes()))
        return Adapters(artifacts, folder, base, rank)

    def request(self, edits: tuple[Edit, ...]) -> Any:
        """The ``LoRARequest`` that these edits ask for, or None.  Raises Refused.

        Of several edits the first says it.
        """
        edit = chosen(edits)
        if edit is None:
            return None
        from vllm.lora.request import LoRARequest

        path = self.prepare(edit.artifact)
        return LoRARequest(edit.artifact, adapter_id(edit.artifact), str(path))

    def prepare(self, digest: str) -> Path:
        """Lay the adapter out where workers find it.  Raises Refused where it cannot be served.

        To be called ahead of the first use: it may write as much as the adapter is large.
        """
        with self._lock:
            path = self._ready.get(digest)
            if path is None or not path.is_dir():
                path = self._laid_out(digest)
                self._ready[digest] = path
            return path

    def _laid_out(self, digest: str) -> Path:
        artifact = self._artifacts.get(NAME, digest).artifact
        if artifact.manifest["rank"] > self._rank:
            raise Refused("an adapter's rank is higher than this engine serves")
        if base_of(artifact.manifest) != self._base:
            raise Refused("an adapter is for another model")
        try:
            if any(self._clash(entry.name, digest) for entry in self._folder.glob("[0-9a-f]*")):
                raise Refused("two adapters cannot be told apart")
            return materialise(artifact, self._folder)
        except Refused:
            raise
        except (OSError, ValueError) as error:
            raise Refused("an adapter cannot be laid out") from error

    @staticmethod
    def _clash(name: str, digest: str) -> bool:
        other = f"sha256:{name}"
        return other != digest and adapter_id(other) == adapter_id(digest)


def adapter_id(digest: str) -> int:
    """The number that vLLM knows an adapter by: from 2**30 to 2**31 - 1, by its digest alone.

    It fits vLLM's 32 bits and stays clear of 1, 2, ..., which vLLM warms up with.
    """
    return int(digest.removeprefix("sha256:")[:8], 16) % 2**30 + 2**30


def spare_rows_without_adapter() -> None:
    """Make vLLM's CPU operators leave rows alone that have no adapter.  In each worker, at start.

    They mark such a row by the index -1 and then look up slot -1, the last, so that its adapter
    is applied to everyone's rows (pull request 48421 of vLLM).  CUDA kernels skip these rows.
    """
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for name in ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice"):
        masked = _masked(getattr(lora_ops, name))
        setattr(lora_ops, name, masked)
        setattr(punica_cpu, name, masked)


def _masked(operator: Callable[..., None]) -> Callable[..., None]:
    if hasattr(operator, _MASKED):
        return operator

    @wraps(operator)
    def masked(
        inputs: Tensor, weights: Tensor, output: Tensor, indices: Tensor, *rest: Any, **named: Any
    ) -> None:
        rows = torch.nonzero(indices >= 0).flatten()
        if len(rows) == len(indices):
            operator(inputs, weights, output, indices, *rest, **named)
        elif len(rows):
            part = output[rows]
            operator(inputs[rows], weights, part, indices[rows], *rest, **named)
            output[rows] = part

    setattr(masked, _MASKED, True)
    return masked
