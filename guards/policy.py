"""A policy: the immutable enforcement of one forget request, and the epoch that lists them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from models.artifact import canonical_json, digest_of


@dataclass(frozen=True)
class GuardSpec:
    """One mechanism of a policy.  kind: a name in ``guards.registry``; options: its fields."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Policy:
    """What enforces one forget request.

    aliases: the names it goes by, the subject first.  examples: texts like those to be matched.
    tenants, models: where it applies; empty means everywhere.  detector: digest of the artifact
    that tells prompts about the subject from others; None: names and examples alone.
    certificate: digest of the artifact that says how well it forgets; None: a stop-gap.
    """

    forget_request: str
    aliases: tuple[str, ...]
    examples: tuple[str, ...] = ()
    guards: tuple[GuardSpec, ...] = ()
    tenants: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    detector: str | None = None
    certificate: str | None = None

    def applies_to(self, tenant: str, model: str) -> bool:
        """Whether a request of this tenant for this model is in the policy's scope."""
        return (not self.tenants or tenant in self.tenants) and (
            not self.models or model in self.models
        )

    def to_json(self) -> dict[str, Any]:
        """The manifest: everything that the digest is taken over."""
        later = {"detector": self.detector, "certificate": self.certificate}
        return {
            "format": 1,
            "forget_request": self.forget_request,
            "aliases": list(self.aliases),
            "examples": list(self.examples),
            "guards": [{"kind": g.kind, "options": dict(g.options)} for g in self.guards],
            "tenants": sorted(self.tenants),
            "models": sorted(self.models),
            # Absent where there is none: the digests of stop-gaps stay what they were.
            **{k: v for k, v in later.items() if v is not None},
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Policy":
        """Read a manifest.  Raises KeyError or ValueError on one that is not of format 1."""
        if value["format"] != 1:
            raise ValueError("unknown policy format")
        return Policy(
            forget_request=value["forget_request"],
            aliases=tuple(value["aliases"]),
            examples=tuple(value["examples"]),
            guards=tuple(GuardSpec(g["kind"], g["options"]) for g in value["guards"]),
            tenants=frozenset(value["tenants"]),
            models=frozenset(value["models"]),
            detector=value.get("detector"),
            certificate=value.get("certificate"),
        )

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical manifest."""
        return digest_of(canonical_json(self.to_json()))


@dataclass(frozen=True)
class Epoch:
    """A numbered list of active policies: what a replica serves is always exactly one."""

    number: int
    policies: tuple[Policy, ...] = ()
