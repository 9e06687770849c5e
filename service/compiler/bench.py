"""What every step of a compilation works with: the request, the model, the encoder, the store."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.policy import Policy
from models.artifact import ArtifactStore
from models.encoder import Encoder
from service.compiler.material import Material
from service.control.forget_request import ForgetRequest
from service.settings import Settings

if TYPE_CHECKING:
    from service.compiler.served import Served


@dataclass(frozen=True)
class Bench:
    """One request's compilation.  Models are loaded when first asked for, once a process.

    first: the policy in force while it is compiled; names and scope are taken from it.
    seed: of everything that is drawn; a function of the request's id.
    """

    settings: Settings
    asked: ForgetRequest
    request_id: str
    first: Policy
    artifacts: ArtifactStore
    seed: int

    @staticmethod
    def open(
        settings: Settings, asked: ForgetRequest, request_id: str, created_policy: Policy
    ) -> "Bench":
        """Nothing is loaded yet.  Raises ValueError or OSError where the store has no key."""
        seed = int.from_bytes(hashlib.sha256(f"lethe compile {request_id}".encode()).digest()[:6])
        store = settings.artifact_store()
        return Bench(settings, asked, request_id, created_policy, store, seed)

    @cached_property
    def material(self) -> Material:
        """What the requester gave."""
        return Material.of(self.asked)

    @property
    def served(self) -> "Served":
        """The served model, in this process.  Raises OSError where it cannot be read."""
        return _served(self.settings)

    @property
    def encoder(self) -> Encoder:
        """The sentence encoder that gateways have too.  Raises EncoderUnavailable."""
        return _encoder(self.settings.encoder_folder)

    def put(self, manifest: dict[str, Any], tensors: dict[str, Any] | None = None) -> str:
        """Store an artifact sealed: it holds something of what was asked.  Its digest."""
        return self.artifacts.put(manifest, tensors, sealed=True)


@lru_cache(maxsize=2)
def _served(settings: Settings) -> "Served":
    # Not with the module: transformers takes seconds, and a client of the values needs none of it.
    from service.compiler.served import Served

    return Served.load(settings.model, settings.artifact_store(), settings.max_model_len)


@lru_cache(maxsize=2)
def _encoder(folder: Path) -> Encoder:
    return Encoder.load(folder)
