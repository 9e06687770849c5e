"""The stop-gap: a policy from nothing but what was asked, in force at once."""

import hashlib
import secrets

from guards import embedding_corruption
from guards.policy import Epoch, GuardSpec, Policy
from guards.registry import build
from guards.rules import Rules
from models.artifact import ArtifactStore
from service.control.forget_request import ForgetRequest
from service.settings import Settings


def new_id() -> str:
    """An opaque id of a forget request: 128 random bits."""
    return f"fr_{secrets.token_hex(16)}"


def first_policy(
    request_id: str,
    asked: ForgetRequest,
    chosen: tuple[GuardSpec, ...] | None,
    settings: Settings,
    artifacts: ArtifactStore,
    corruption: str | None = None,
) -> Policy:
    """The policy that is in force at once: of the guards that were chosen, or the stop-gap.

    The stop-gap's artifact is stored, and holds nothing of what was asked; corruption: digest of
    one that is there already and may be shared.
    Raises KeyError, TypeError or ValueError where a guard could not be built: nothing may be
    accepted then.
    """
    if chosen is None:
        digest = corruption or stop_gap_artifact(request_id, settings, artifacts)
        corrupted = GuardSpec("embedding_corruption", {"artifact": digest})
        chosen = (corrupted, GuardSpec("text_filter"))
    for spec in chosen:
        build(spec)
    return Policy(
        forget_request=request_id,
        aliases=asked.names,
        examples=asked.example_texts,
        guards=chosen,
        tenants=frozenset(asked.scope.tenants),
        models=frozenset(asked.scope.models),
    )


def stop_gap_artifact(seed: str, settings: Settings, artifacts: ArtifactStore) -> str:
    """Store how a stop-gap corrupts, with random numbers of its own; the digest.

    seed: any name.  Raises OSError.
    """
    return artifacts.put(
        embedding_corruption.manifest(
            settings.stopgap_function, settings.stopgap_strength, seed=_seed(seed)
        )
    )


class Unenforceable(ValueError):
    """A name that the router cannot look for.  field: which, as the API calls it."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def check_enforceable(asked: ForgetRequest) -> None:
    """Raise Unenforceable where rules could not be built: no replica could serve them.

    Nobody's examples are encoded for this; any text can be.
    """
    if _can_be_built(asked.names):
        return
    fields = {"subject": asked.subject}
    fields.update((f"aliases[{number}]", alias) for number, alias in enumerate(asked.aliases))
    raise Unenforceable(next((f for f in fields if not _can_be_built((fields[f],))), "subject"))


def _can_be_built(names: tuple[str, ...]) -> bool:
    try:
        Rules.build(Epoch(0, (Policy("", names),)), None, 1.0)
    except ValueError:
        return False
    return True


def _seed(name: str) -> int:
    # The random part is kept nowhere else: without the artifact, nobody can confirm a guessed name
    # by computing the policy's digest, which stands in audit lines.
    blind = secrets.token_bytes(32)
    digest = hashlib.sha256(b"lethe stop-gap seed\0" + name.encode() + blind).digest()
    return int.from_bytes(digest[:8])
