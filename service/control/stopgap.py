"""The stop-gap: a policy from nothing but what was asked, in force at once."""

import hashlib
import secrets

from guards import embedding_corruption
from guards.policy import GuardSpec, Policy
from guards.registry import build
from models.artifact import ArtifactStore
from service.control.forget_request import ForgetRequest
from service.settings import Settings


def new_id() -> str:
    """An opaque id of a forget request: 128 random bits."""
    return f"fr_{secrets.token_hex(16)}"


def stop_gap(
    request_id: str, asked: ForgetRequest, settings: Settings, artifacts: ArtifactStore
) -> Policy:
    """The policy; its artifact is stored, and holds nothing of what was asked.

    Raises KeyError or TypeError where a guard could not be built: nothing may be accepted then.
    """
    corruption = artifacts.put(
        embedding_corruption.manifest(
            settings.stopgap_function, settings.stopgap_strength, seed=_seed(request_id)
        )
    )
    guards = (
        GuardSpec("embedding_corruption", {"artifact": corruption}),
        GuardSpec("text_filter", {}),
    )
    for spec in guards:
        build(spec)
    return Policy(
        forget_request=request_id,
        aliases=asked.names,
        examples=asked.example_texts,
        guards=guards,
        tenants=frozenset(asked.scope.tenants),
        models=frozenset(asked.scope.models),
    )


def _seed(request_id: str) -> int:
    # The random part is kept nowhere else: without the artifact, nobody can confirm a guessed name
    # by computing the policy's digest, which stands in audit lines.
    blind = secrets.token_bytes(32)
    digest = hashlib.sha256(b"lethe stop-gap seed\0" + request_id.encode() + blind).digest()
    return int.from_bytes(digest[:8])
