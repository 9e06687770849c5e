"""All protected phrases of an epoch, in immutable segments: one more does not rebuild the rest."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain

from ahocorasick_rs import AhoCorasick

from guards.case import Span
from guards.decoding import Decoded, readings
from guards.filter_memory import FilterMemory
from guards.phrase_walk import Hit, PhraseList, Walk
from guards.phrases import Phrase
from guards.policy import Policy
from guards.views import View, views

SMALL = 128  # policies up to which a new segment swallows the one before it
_CONTEXT = 32  # characters looked at around a candidate: for word boundaries and script

Scope = tuple[frozenset[str], frozenset[str]]  # tenants and models; empty means all


def covers(scope: Scope, tenant: str, model: str) -> bool:
    """Whether a request of this tenant for this model is within the scope."""
    tenants, models = scope
    return (not tenants or tenant in tenants) and (not models or model in models)


class Segment:
    """The phrases of some policies, ready to be searched for.  Immutable."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self.policies = policies
        phrases = {
            digest: [Phrase.of(digest, name) for name in policy.aliases]
            for digest, policy in policies.items()
        }
        found: dict[str, list[Phrase]] = {}
        for phrase in chain.from_iterable(phrases.values()):
            found.setdefault(phrase.key, []).append(phrase)
        self._phrases = [tuple(phrases) for phrases in found.values()]
        self._automaton = AhoCorasick(list(found), store_patterns=False) if found else None
        self.output_lists = _output_lists(policies, phrases)

    def candidates(self, view: View) -> Iterator[tuple[tuple[Phrase, ...], int, int]]:
        """Phrases whose letters stand in the view, with the characters [start, end) they span."""
        if self._automaton is None:
            return
        hits = self._automaton.find_matches_as_indexes(view.letters, overlapping=True)
        for index, first, last in hits:
            if view.edges[first] and view.edges[last]:
                ends = (int(view.origins[first]), int(view.origins[last - 1]))
                yield self._phrases[index], min(ends), max(ends) + 1


@dataclass(frozen=True)
class PhraseIndex:
    """Segments, newest last, and the digests of the policies in them that no longer count."""

    segments: tuple[Segment, ...] = ()
    dead: frozenset[str] = frozenset()

    @staticmethod
    def of(policies: Iterable[Policy]) -> "PhraseIndex":
        """One segment over all of them.  Raises ValueError for an alias without letters."""
        return PhraseIndex((Segment({policy.digest: policy for policy in policies}),))

    def changed(self, added: Iterable[Policy], removed: frozenset[str]) -> "PhraseIndex":
        """With some policies more and some less: work in the size of the change."""
        new = {policy.digest: policy for policy in added}
        dead = frozenset((self.dead | removed) - new.keys())
        new = {d: p for d, p in new.items() if d not in self.dead}  # the others only come back
        segments = self.segments
        if new and segments and len(segments[-1].policies) + len(new) <= SMALL:
            new = {d: p for d, p in segments[-1].policies.items() if d not in dead} | new
            dead = frozenset(dead - segments[-1].policies.keys())
            segments = segments[:-1]
        return PhraseIndex((*segments, Segment(new)) if new else segments, dead)

    @property
    def live(self) -> dict[str, Policy]:
        """The policies that count, by digest."""
        return {
            digest: policy
            for segment in self.segments
            for digest, policy in segment.policies.items()
            if digest not in self.dead
        }

    def compacted(self) -> "PhraseIndex":
        """The same in one segment.  Seconds of work for 100,000 policies."""
        return PhraseIndex.of(self.live.values())

    def find(self, text: str, tenant: str, model: str) -> dict[str, list[Span]]:
        """Where the policies in scope are mentioned: digest -> characters of the text.

        What is mentioned in an encoding spans all of the encoded stretch.
        """
        found: dict[str, list[Span]] = {}
        for reading in readings(text):
            for hit in self._hits(reading.text, tenant, model):
                start, end = _origin(reading, hit)
                found.setdefault(hit.policy, []).append(Span(start, end))
        return found

    def _hits(self, text: str, tenant: str, model: str) -> set[Hit]:
        hits: set[Hit] = set()
        for view in views(text):
            for segment in self.segments:
                for phrases, start, end in segment.candidates(view):
                    for phrase in phrases:
                        if self._counts(segment, phrase, tenant, model):
                            hits.update(confirmed(text, phrase, start, end))
        return hits

    def _counts(self, segment: Segment, phrase: Phrase, tenant: str, model: str) -> bool:
        alive = phrase.policy not in self.dead
        return alive and segment.policies[phrase.policy].applies_to(tenant, model)

    def output_lists(self, tenant: str, model: str) -> tuple[PhraseList, ...]:
        """What an answer for this tenant and model is filtered by."""
        return tuple(
            phrases
            for segment in self.segments
            for scope, phrases in segment.output_lists.items()
            if covers(scope, tenant, model)
        )

    def memory(self, lists: Iterable[PhraseList]) -> FilterMemory:
        """What filters with these lists have learnt: one for all of them."""
        return self._memories.setdefault(tuple(map(id, lists)), FilterMemory())

    @cached_property
    def _memories(self) -> dict[tuple[int, ...], FilterMemory]:
        return {}


def confirmed(text: str, phrase: Phrase, start: int, end: int) -> list[Hit]:
    """Where the phrase really is written at [start, end), read as an answer would be."""
    first, last = max(0, start - 1), min(len(text), end + 1)
    if not text[first:last].isascii():  # marks, invisible characters and scripts need more context
        first, last = max(0, start - _CONTEXT), min(len(text), end + _CONTEXT)
    found = [
        Hit(h.start + first, h.end + first, h.policy) for h in _walked(phrase, text[first:last])
    ]
    return [hit for hit in found if start <= hit.start and hit.end <= end]


@lru_cache(maxsize=4096)  # a name that is mentioned a thousand times is looked at once
def _walked(phrase: Phrase, text: str) -> tuple[Hit, ...]:
    walk = Walk([PhraseList([phrase])])
    hits = [hit for i, char in enumerate(text) for hit in walk.read(char, i, i + 1)]
    return (*hits, *walk.finish())


def _origin(reading: Decoded, hit: Hit) -> tuple[int, int]:
    return int(reading.starts[hit.start]), int(reading.ends[hit.end - 1])


def _output_lists(
    policies: Mapping[str, Policy], phrases: Mapping[str, list[Phrase]]
) -> dict[Scope, PhraseList]:
    """What answers are filtered by, for each scope: no tenant's phrases delay another's text."""
    found: dict[Scope, list[Phrase]] = {}
    for digest, policy in policies.items():
        if any(spec.kind == "text_filter" for spec in policy.guards):
            found.setdefault((policy.tenants, policy.models), []).extend(phrases[digest])
    return {scope: PhraseList(found[scope]) for scope in found}
