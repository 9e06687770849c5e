"""Which of all the policies does a prompt touch?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from typing import Self

from guards.case import Evidence, Match, Prompt, Span, merged
from guards.detector import DetectorIndex, passages_of
from guards.examples import MAX_WINDOW_CHARS, ExampleIndex, windows_of
from guards.phrase_index import PhraseIndex, Scope, covers
from guards.policy import Policy
from models.encoder import Encoder, EncoderUnavailable


@dataclass(frozen=True)
class Router:
    """The detector over all policies.  Immutable; safe for many threads.

    with_examples: the policies that have examples, by digest; with_detectors: a detector.
    """

    phrases: PhraseIndex
    examples: ExampleIndex
    with_examples: Mapping[str, Policy]
    encoder: Encoder | None
    detectors: DetectorIndex = field(default_factory=DetectorIndex)
    with_detectors: Mapping[str, Policy] = field(default_factory=dict)

    def route(self, prompt: Prompt, tenant: str, model: str) -> tuple[Match, ...]:
        """The policies in scope that the prompt touches, each once, by digest.

        Aliases are sought in the whole prompt; examples and detectors only where there are any in
        scope.  The first evidence stands: alias, then example, then detector.  Raises
        EncoderUnavailable where there is no encoder to compare with.
        """
        found = {
            policy: Match(policy, 1.0, merged(spans), "alias")
            for policy, spans in self.phrases.find(prompt.text, tenant, model).items()
        }
        for match in chain(
            self._alike(prompt, tenant, model), self._detected(prompt, tenant, model)
        ):
            found.setdefault(match.policy, match)
        return tuple(found[policy] for policy in sorted(found))

    def prepared(self) -> Self:
        """The same, with all that the first request would else wait for."""
        self._example_scopes, self._detector_scopes  # noqa: B018 - computed when first read
        self.detectors.prepare()
        return self

    @cached_property
    def _example_scopes(self) -> frozenset[Scope]:
        return _scopes(self.with_examples)

    @cached_property
    def _detector_scopes(self) -> frozenset[Scope]:
        return _scopes(self.with_detectors)

    def _alike(self, prompt: Prompt, tenant: str, model: str) -> Iterable[Match]:
        compared = any(covers(scope, tenant, model) for scope in self._example_scopes)
        windows = windows_of(prompt.text, prompt.content) if compared else ()
        if not windows:
            return []
        if self.encoder is None:
            raise EncoderUnavailable("a policy has examples, and there is no encoder")
        likenesses = self.examples.like(prompt.text, windows, self.encoder)
        found = (
            (policy, score, (span,))
            for policy, score, span in likenesses
            if self.with_examples[policy].applies_to(tenant, model)
        )
        return _matches(found, "example")

    def _detected(self, prompt: Prompt, tenant: str, model: str) -> Iterable[Match]:
        compared = any(covers(scope, tenant, model) for scope in self._detector_scopes)
        windows = windows_of(prompt.text, prompt.content) if compared else ()
        if not windows:
            return []
        if self.encoder is None:
            raise EncoderUnavailable("a policy has a detector, and there is no encoder")
        passages = passages_of(prompt.text, windows, prompt.content, MAX_WINDOW_CHARS)
        in_scope = partial(Policy.applies_to, tenant=tenant, model=model)
        return _matches(self.detectors.found(passages, in_scope, self.encoder), "detector")


def _scopes(policies: Mapping[str, Policy]) -> frozenset[Scope]:
    return frozenset((policy.tenants, policy.models) for policy in policies.values())


def _matches(
    found: Iterable[tuple[str, float, tuple[Span, ...]]], evidence: Evidence
) -> list[Match]:
    """One match for each policy: its highest score, and all of its spans."""
    spans: dict[str, list[Span]] = {}
    scores: dict[str, float] = {}
    for policy, score, places in found:
        spans.setdefault(policy, []).extend(places)
        scores[policy] = max(score, scores.get(policy, 0.0))
    return [Match(policy, scores[policy], merged(spans[policy]), evidence) for policy in spans]
