"""Finding protected phrases in a text that comes character by character."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from guards.normaliser import NO_GAP, Sign, canonical, joined, sign, touching
from guards.phrases import BROKEN_WEIGHT, MAX_GAP, Letter, Phrase, Turn, with_marks

_FEW = 4  # phrases that a stretch may still become, from which each is looked at in detail
_SHORT = 2  # letters up to which ranges are remembered
_LAST = "\U0010ffff"  # sorts behind every letter


class Writing(NamedTuple):
    """One way of writing a phrase."""

    phrase: Phrase
    turn: Turn


class PhraseList:
    """Phrases sorted by key, so that whatever begins alike stands together.  Immutable."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        found: dict[str, list[Writing]] = {}
        for phrase in phrases:
            for key, turn in phrase.keys().items():
                found.setdefault(key, []).append(Writing(phrase, turn))
        self.keys = sorted(found)
        self.firsts = frozenset(key[0] for key in self.keys)
        self.writings = [tuple(found[key]) for key in self.keys]
        self._short: dict[str, tuple[int, int]] = {}

    def narrowed(self, key: str, low: int, high: int) -> tuple[int, int]:
        """Which of the keys from low to high begin with this one."""
        if len(key) > _SHORT:
            low = bisect_left(self.keys, key, low, high)
            return low, bisect_left(self.keys, key + _LAST, low, high)
        if key not in self._short:  # what most words fail at is looked up, once it was sought
            first = bisect_left(self.keys, key)
            self._short[key] = first, bisect_left(self.keys, key + _LAST, first)
        first, last = self._short[key]
        return max(first, low), min(last, high)


class Range(NamedTuple):
    """Some neighbours in one list."""

    phrases: PhraseList
    low: int
    high: int


class Hit(NamedTuple):
    """A phrase found: characters [start, end) of the text."""

    start: int
    end: int
    policy: str


@dataclass(slots=True)
class Beginning:
    """Letters that are the beginning of some phrase."""

    ranges: list[Range]
    key: str
    letters: list[Letter]
    before: str
    touches: bool
    gap: int = NO_GAP

    def read(self, char: str, units: Iterable[str], start: int, end: int) -> "Beginning | None":
        """With the character read as these letters; None where no phrase goes on like that."""
        key, letters, gap = self.key, list(self.letters), self.gap
        for unit in units:
            key += canonical(unit)
            letters.append(Letter(char, unit, start, end, gap))
            gap = NO_GAP
        ranges = [
            Range(r.phrases, low, high)
            for r in self.ranges
            for low, high in [r.phrases.narrowed(key, r.low, r.high)]
            if low < high
        ]
        longer = Beginning(ranges, key, letters, self.before, self.touches)
        longer.drop_impossible()
        return longer if longer.ranges else None

    def drop_impossible(self) -> None:
        """Look closely where few phrases are left: hold nothing back for want of looking."""
        if sum(r.high - r.low for r in self.ranges) <= _FEW:
            self.ranges = [r for r in self.ranges if self._may_become_any(r)]

    def _may_become_any(self, found: Range) -> bool:
        return any(
            writing.phrase.turned(writing.turn).may_become(self.letters, self.gap)
            for index in range(found.low, found.high)
            for writing in found.phrases.writings[index]
        )

    def completed(self, *, touches: bool) -> list[Hit]:
        """What is complete here, at a boundary; it is then no longer only a beginning.

        touches: the boundary is one between letter and digit only.
        """
        hits: list[Hit] = []
        rest: list[Range] = []
        for phrases, low, high in self.ranges:
            complete = phrases.keys[low] == self.key
            if complete:
                hits.extend(self._hits(phrases.writings[low], touches=touches))
            if low + complete < high:
                rest.append(Range(phrases, low + complete, high))
        self.ranges = rest
        return hits

    def _hits(self, writings: Sequence[Writing], *, touches: bool) -> list[Hit]:
        if touches or self.touches:
            writings = [w for w in writings if w.phrase.weight >= BROKEN_WEIGHT]
        if not writings:
            return []
        start, end = self.letters[0].start, self.letters[-1].end
        return [
            Hit(start, end, phrase.policy)
            for phrase, turn in writings
            if phrase.turned(turn).is_written(self.letters, self.before)
        ]


@dataclass(slots=True)
class Walk:
    """One reading through a text.  ``hold`` is where the earliest live beginning starts."""

    lists: Sequence[PhraseList]
    alive: list[Beginning] = field(default_factory=list)
    _last: str = ""  # the letter just read, as written
    _adjacent: bool = False  # whether nothing has separated it from what comes next
    _gap_size: int = 0

    @property
    def hold(self) -> int | None:
        """Where the earliest stretch starts that may still become a phrase."""
        return min((x.letters[0].start for x in self.alive), default=None)

    @property
    def resting(self) -> bool:
        """Whether one separator stands behind a letter, and nothing is begun."""
        return not self.alive and not self._adjacent and self._gap_size == 1

    @property
    def last(self) -> str:
        """The letter read last, as written; "" before the first."""
        return self._last

    def rest_behind(self, letter: str) -> None:
        """Go on as if at rest behind that letter."""
        self.alive, self._last, self._adjacent, self._gap_size = [], letter, False, 1

    def copy(self) -> "Walk":
        """A walk that goes on from here by itself."""
        alive = [
            Beginning(list(x.ranges), x.key, list(x.letters), x.before, x.touches, x.gap)
            for x in self.alive
        ]
        return Walk(self.lists, alive, self._last, self._adjacent, self._gap_size)

    def read(self, char: str, start: int, end: int) -> list[Hit]:
        """Read the character at [start, end).  Returns what it shows to be complete before it."""
        found = sign(char)
        if found.ignored:
            return []
        if found.marks and not found.letters:
            self._mark(found.marks)
            return []
        if found.letters:
            return self._letter(char, found, start, end)
        return self._separator(char, found, start, end)

    def may_begin_before(self, char: str) -> bool:
        """Whether a phrase could begin with this character, were it the next."""
        return not (self._adjacent and joined(self._last, char))

    def finish(self) -> list[Hit]:
        """The text is over.  Returns what was complete at its end."""
        hits = self._complete(touches=False)
        self.alive = []
        self._last = ""
        return hits

    def _mark(self, marks: str) -> None:
        for beginning in self.alive:
            if self._adjacent and not beginning.gap:
                last = beginning.letters[-1]
                beginning.letters[-1] = last._replace(unit=with_marks(last.unit, marks))

    def _letter(self, char: str, found: Sign, start: int, end: int) -> list[Hit]:
        of_one_word = self._adjacent and joined(self._last, char)
        if not self.alive and (of_one_word or self._begins_nothing(found)):
            self._last, self._adjacent, self._gap_size = char, True, 0
            return []
        touches = self._adjacent and touching(self._last, char)
        hits = [] if of_one_word or not self._adjacent else self._complete(touches=touches)
        alive = self.alive if of_one_word else [*self.alive, self._nothing_yet(touches=touches)]
        readings = [_units(found)]
        if found.glyph:
            readings.append([found.glyph])
        self.alive = [
            longer
            for beginning in alive
            for units in readings
            if (longer := beginning.read(char, units, start, end))
        ]
        self._last, self._adjacent, self._gap_size = char, True, 0
        return hits

    def _separator(self, char: str, found: Sign, start: int, end: int) -> list[Hit]:
        hits = self._complete(touches=False)
        meant: list[Beginning] = []
        if found.leet:  # a symbol such as "@" separates, and may also be meant as a letter
            first = [] if self._adjacent else [self._nothing_yet(touches=False)]
            alive = [*self.alive, *first]
            meant = [x for b in alive if (x := b.read(char, [char], start, end))]
        self._gap_size += 1
        for beginning in self.alive:
            beginning.gap = max(beginning.gap, found.gap)
            beginning.drop_impossible()
        still = [b for b in self.alive if b.ranges and self._gap_size <= MAX_GAP]
        self.alive = still + meant
        self._adjacent = False
        return hits

    def _complete(self, *, touches: bool) -> list[Hit]:
        hits = [
            hit
            for beginning in self.alive
            if not beginning.gap
            for hit in beginning.completed(touches=touches)
        ]
        self.alive = [beginning for beginning in self.alive if beginning.ranges]
        return hits

    def _begins_nothing(self, found: Sign) -> bool:
        first, glyph = canonical(found.letters[0]), canonical(found.glyph)
        return not any(first in x.firsts or glyph in x.firsts for x in self.lists)

    def _nothing_yet(self, *, touches: bool) -> Beginning:
        ranges = [Range(x, 0, len(x.keys)) for x in self.lists]
        return Beginning(ranges, "", [], self._last, touches)


def _units(found: Sign) -> list[str]:
    if len(found.letters) == 1 and not found.marks:
        return [found.letters]
    *others, last = list(found.letters)
    return [*others, with_marks(last, found.marks)]
