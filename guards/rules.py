"""What a replica serves: one epoch, with everything that was built from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from guards.case import Case, Match
from guards.examples import ExampleIndex
from guards.needs import Capabilities, Needs
from guards.phrase_index import PhraseIndex
from guards.points import Guard
from guards.policy import Epoch, Policy
from guards.registry import GUARDS
from guards.registry import build as build_guard
from guards.router import Router
from guards.text_filter import TextFilter
from models.artifact import ArtifactStore
from models.encoder import Encoder, EncoderUnavailable

MANY_SEGMENTS = 8


class Lack(NamedTuple):
    """Something that a guard needs and an engine does not offer.  Both in words of our own."""

    guard: str
    need: str

    def __str__(self) -> str:
        return f"'{self.guard}' needs {self.need}, which this engine does not offer"


@dataclass(frozen=True)
class Rules:
    """One epoch, ready to decide.  Immutable; safe for many threads.

    guards: what enforces each policy, by digest.  needs: what all of them need, by kind of guard.
    """

    epoch: int
    router: Router
    guards: Mapping[str, tuple[Guard, ...]]
    needs: Mapping[str, Needs] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        epoch: Epoch,
        encoder: Encoder | None,
        example_threshold: float,
        previous: Self | None = None,
        artifacts: ArtifactStore | None = None,
    ) -> Self:
        """Rules that enforce exactly the epoch's policies, sharing with ``previous`` what stayed.

        artifacts: where detectors lie.  Raises ValueError, KeyError or TypeError for a policy that
        cannot be enforced (one with a detector that cannot be opened, too), ArtifactMissing or
        ArtifactCorrupt, and EncoderUnavailable where a policy has examples or a detector and there
        is no encoder.
        """
        wanted = {policy.digest: policy for policy in epoch.policies}
        if previous is None:
            router = Router(PhraseIndex(), ExampleIndex(example_threshold), {}, encoder)
            previous = cls(epoch.number, router, {})
        added = [policy for digest, policy in wanted.items() if digest not in previous.guards]
        removed = frozenset(previous.guards.keys() - wanted.keys())
        guards = {d: g for d, g in previous.guards.items() if d not in removed}
        guards.update((policy.digest, _guards_of(policy)) for policy in added)
        router = _changed(previous.router, added, removed, encoder, artifacts)
        return cls(epoch.number, router, guards, _needs_of(guards.values()))

    @property
    def fragmented(self) -> bool:
        """Whether ``compacted`` is worth its time."""
        index = self.router.phrases
        return len(index.segments) > MANY_SEGMENTS or 4 * len(index.dead) > len(self.guards) + 16

    def lacking(self, engine: Capabilities) -> tuple[Lack, ...]:
        """What the guards need and that engine cannot do; empty where it can run them all."""
        return tuple(
            Lack(kind, need) for kind, needs in self.needs.items() for need in engine.lacking(needs)
        )

    def names(self, policy: str) -> tuple[str, ...]:
        """What the policy (digest) is about, the subject first.  Raises KeyError for none."""
        for segment in reversed(self.router.phrases.segments):
            if policy in segment.policies:
                return segment.policies[policy].aliases
        raise KeyError(policy)

    def compacted(self) -> Self:
        """The same rules with the index merged: seconds of work at 100,000 policies."""
        router = self.router
        router = replace(
            router,
            phrases=router.phrases.compacted(),
            examples=router.examples.compacted(),
            detectors=router.detectors.compacted(),
        )
        return replace(self, router=router.prepared())

    def decide(self, case: Case) -> Case:
        """Route the prompt and let each matched policy's guards decide, in order.

        Raises EncoderUnavailable where examples or detectors are in scope and cannot be compared.
        """
        for match in self.router.route(case.prompt, case.tenant, case.model):
            case = self._applied(case, match)
        return case

    def escalated(self, case: Case, policy: str) -> Case:
        """The case as if all of the prompt's content had touched the policy (digest).

        For a second attempt after the text filter caught something.  Raises KeyError for a policy
        that is not of this epoch.
        """
        return self._applied(case, Match(policy, 1.0, case.prompt.content, "output"))

    def text_filter(self, tenant: str, model: str) -> TextFilter:
        """A fresh filter for one answer (of one choice)."""
        phrases = self.router.phrases
        lists = phrases.output_lists(tenant, model)
        return TextFilter(lists, phrases.dead, phrases.memory(lists))

    def _applied(self, case: Case, match: Match) -> Case:
        guards = self.guards[match.policy]
        case = case.matched(match)
        for guard in guards:
            case = guard.on_prompt(case, match)
        return case


def _guards_of(policy: Policy) -> tuple[Guard, ...]:
    return tuple(build_guard(spec) for spec in policy.guards)


def _needs_of(guards: Iterable[tuple[Guard, ...]]) -> dict[str, Needs]:
    kinds = {path: kind for kind, path in GUARDS.items()}
    classes = {type(guard) for each in guards for guard in each}
    paths = {f"{each.__module__}:{each.__qualname__}": each for each in classes}
    return {kinds.get(path, path): each.NEEDS for path, each in sorted(paths.items())}


def _changed(
    router: Router,
    added: list[Policy],
    removed: frozenset[str],
    encoder: Encoder | None,
    artifacts: ArtifactStore | None,
) -> Router:
    with_examples = _tracked(router.with_examples, (p for p in added if p.examples), removed)
    with_detectors = _tracked(router.with_detectors, (p for p in added if p.detector), removed)
    if encoder is None and (with_examples or with_detectors):
        raise EncoderUnavailable("a policy has examples or a detector, and there is no encoder")
    examples = router.examples
    if encoder is not None:
        new = [policy for policy in added if policy.examples]
        examples = examples.changed(new, removed, encoder)
    changed = Router(
        router.phrases.changed(added, removed),
        examples,
        with_examples,
        encoder,
        router.detectors.changed(added, removed, artifacts),
        with_detectors,
    )
    return changed.prepared()


def _tracked(
    before: Mapping[str, Policy], added: Iterable[Policy], removed: frozenset[str]
) -> dict[str, Policy]:
    stay = {digest: policy for digest, policy in before.items() if digest not in removed}
    return stay | {policy.digest: policy for policy in added}
