"""The frozen value that one request's way through the guards is, and what it is made of."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np

Evidence = Literal["alias", "example", "detector", "output"]


class Span(NamedTuple):
    """A half-open range: of characters in a rendered prompt, or of token positions."""

    start: int
    end: int


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt, exactly as the engine will run it.

    ids: token ids.  offsets: for each id its character range in ``text``.
    content: the character ranges that came from the client (messages, tool schemas, ...); the rest
    is the chat template's.
    """

    text: str
    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    content: tuple[Span, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the ids as little-endian int32: what the engine checks."""
        return digest_of_ids(self.ids)

    def positions(self, spans: Iterable[Span]) -> tuple[Span, ...]:
        """Token ranges whose characters overlap the spans: sorted, merged, half-open."""
        found = (self._tokens_of(span) for span in spans if span.end > span.start)
        return merged(span for span in found if span.end > span.start)

    def _tokens_of(self, span: Span) -> Span:
        # Offsets never decrease, so both ends can be found by bisection.
        first = bisect_right(self._ends, span.start)
        last = bisect_left(self._starts, span.end)
        return Span(first, last)

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.offsets]

    @cached_property
    def _ends(self) -> list[int]:
        return [end for _, end in self.offsets]


def digest_of_ids(ids: Iterable[int]) -> str:
    """SHA-256 (hex) over token ids as little-endian int32."""
    return hashlib.sha256(np.fromiter(ids, dtype="<i4").tobytes()).hexdigest()


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted, with overlapping and touching spans joined."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(Span(*span))
    return tuple(joined)


@dataclass(frozen=True, slots=True)
class Match:
    """A policy that a text touches.  policy: its digest.  spans: characters of the prompt."""

    policy: str
    score: float
    spans: tuple[Span, ...]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Edit:
    """What one guard wants done in the engine: data that names, never quotes.

    artifact: digest of the artifact that says how.  positions: half-open token ranges of the
    prompt, sorted and disjoint.
    """

    guard: str
    artifact: str
    positions: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A plan: have the answer rewritten before any of it leaves.

    policies: digests of those whose subjects must not be in it; names are looked up later, so that
    a Case quotes none.  variants: how many edited answers to choose from.  fallback: what is said
    where no good one can be had.
    """

    policies: tuple[str, ...]
    variants: int
    fallback: str

    def with_also(self, other: "Rewrite") -> "Rewrite":
        """Both plans as one: all subjects, the larger number of variants, this one's fallback."""
        policies = tuple(dict.fromkeys((*self.policies, *other.policies)))
        return replace(self, policies=policies, variants=max(self.variants, other.variants))


@dataclass(frozen=True)
class Case:
    """One request on its way through the guards.  Every step returns a new one.

    answer: what is said without asking the engine; it makes everything else idle.  instructions:
    what is to be put in front of the prompt.  rewrite: what is to be done with the answer.
    """

    id: str
    tenant: str
    model: str
    epoch: int
    prompt: Prompt
    matches: tuple[Match, ...] = ()
    edits: tuple[Edit, ...] = field(default=())
    answer: str | None = None
    instructions: tuple[str, ...] = ()
    rewrite: Rewrite | None = None

    def matched(self, *matches: Match) -> "Case":
        """With these matches added."""
        return replace(self, matches=self.matches + matches)

    def edited(self, edit: Edit) -> "Case":
        """With this edit added.  Two edits of one artifact become one over all their positions."""
        same = [e for e in self.edits if (e.guard, e.artifact) == (edit.guard, edit.artifact)]
        if not same:
            return replace(self, edits=(*self.edits, edit))
        positions = merged(chain(edit.positions, *(e.positions for e in same)))
        joined = replace(edit, positions=positions)
        return replace(self, edits=tuple(joined if e in same else e for e in self.edits))

    def answered(self, text: str) -> "Case":
        """With this as the answer; the first one stays."""
        return self if self.answer is not None else replace(self, answer=text)

    def instructed(self, text: str) -> "Case":
        """With this instruction added; the same one only once."""
        if text in self.instructions:
            return self
        return replace(self, instructions=(*self.instructions, text))

    def to_be_rewritten(self, plan: Rewrite) -> "Case":
        """With this plan, joined with one that is there already."""
        return replace(self, rewrite=self.rewrite.with_also(plan) if self.rewrite else plan)

    @property
    def acts(self) -> tuple[str, ...]:
        """Kinds of the guards that do something here.  An answer makes all else idle."""
        if self.answer is not None:
            return ("refusal",)
        instructed = ("in_context_instruction",) * bool(self.instructions)
        rewritten = ("agent_rewrite",) * bool(self.rewrite)
        return (*instructed, *(edit.guard for edit in self.edits), *rewritten)

    def undecided(self, prompt: Prompt) -> "Case":
        """The same request with this prompt, and nothing decided yet."""
        return Case(self.id, self.tenant, self.model, self.epoch, prompt)
