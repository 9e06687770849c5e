"""Which of all the policies does a prompt touch?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from guards.case import Match, Prompt, Span, merged
from guards.examples import ExampleIndex, windows_of
from guards.phrase_index import PhraseIndex, Scope, covers
from guards.policy import Policy
from models.encoder import Encoder, EncoderUnavailable


@dataclass(frozen=True)
class Router:
    """The detector over all policies.  Immutable; safe for many threads.

    with_examples: the policies that have examples, by digest.
    """

    phrases: PhraseIndex
    examples: ExampleIndex
    with_examples: Mapping[str, Policy]
    encoder: Encoder | None

    def route(self, prompt: Prompt, tenant: str, model: str) -> tuple[Match, ...]:
        """The policies in scope that the prompt touches, each once, by digest.

        Aliases are sought in the whole prompt; examples only where there are any in scope.
        Raises EncoderUnavailable where those cannot be compared.
        """
        found = {
            policy: Match(policy, 1.0, merged(spans), "alias")
            for policy, spans in self.phrases.find(prompt.text, tenant, model).items()
        }
        for match in self._alike(prompt, tenant, model):
            found.setdefault(match.policy, match)
        return tuple(found[policy] for policy in sorted(found))

    @cached_property
    def _scopes(self) -> frozenset[Scope]:
        return frozenset((p.tenants, p.models) for p in self.with_examples.values())

    def _alike(self, prompt: Prompt, tenant: str, model: str) -> Iterable[Match]:
        compared = any(covers(scope, tenant, model) for scope in self._scopes)
        windows = windows_of(prompt.text, prompt.content) if compared else ()
        if not windows:
            return []
        if self.encoder is None:
            raise EncoderUnavailable("a policy has examples, and there is no encoder")
        spans: dict[str, list[Span]] = {}
        scores: dict[str, float] = {}
        for policy, score, span in self.examples.like(prompt.text, windows, self.encoder):
            if not self.with_examples[policy].applies_to(tenant, model):
                continue
            spans.setdefault(policy, []).append(span)
            scores[policy] = max(score, scores.get(policy, 0.0))
        return [Match(p, scores[p], merged(spans[p]), "example") for p in spans]
