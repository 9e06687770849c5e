"""The filter on what a model writes: nothing leaves that could still become a protected phrase."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from guards.case import Case, Match
from guards.normaliser import canonical, sign
from guards.phrase_walk import Hit, PhraseList, Walk
from guards.points import OnText
from guards.stream_decoding import OPENERS, Base64, Escapes, Hex, Placed, Surrogates

ESCAPE_LEVELS = 3
MIN_ENCODED = 8  # characters of base64 or hexadecimal from which a hit in them counts


@dataclass(frozen=True)
class TextFilterGuard(OnText):
    """Filter the policy's aliases out of every answer.  It leaves the prompt alone."""

    def on_prompt(self, case: Case, match: Match) -> Case:
        """The case, unchanged."""
        return case


@dataclass(frozen=True, slots=True)
class Catch:
    """A protected phrase in an answer.  start: where it begins in the raw text."""

    policy: str
    start: int


class TextFilter:
    """One answer's filter: push deltas, release what is safe.  Not for use by several threads.

    However the text is cut into deltas, the joined releases and ``caught`` are the same, since
    every reading goes character by character.
    """

    def __init__(self, lists: Sequence[PhraseList], dead: Set[str] = frozenset()) -> None:
        """lists: the phrases.  dead: policies in them that no longer count."""
        self._dead = dead
        self.caught: Catch | None = None
        self._lists = [x for x in lists if x.keys]
        self._held = ""
        self._released = 0  # characters released, which is where ``_held`` begins
        self._read = 0
        self._surrogates = Surrogates()
        self._walk = Walk(self._lists)
        self._escapes = _EscapeLayer(ESCAPE_LEVELS)
        firsts = frozenset[str]().union(*(x.firsts for x in self._lists))
        self._stretches = (
            _Stretch(Base64, self._lists, firsts),
            _Stretch(Hex, self._lists, firsts),
        )

    def push(self, delta: str) -> str:
        """The text that may be released now; empty once something was caught."""
        if self.caught:
            return ""
        if not self._lists:
            return delta
        self._held += delta
        for char in delta:
            index = self._read
            self._read += 1
            placed = self._surrogates.read(Placed(char, index, index + 1))
            hits = self._counted(hit for p in placed for hit in self._hits(p))
            if hits:
                return self._catch(hits)
        return self._release(self._hold())

    def finish(self) -> str:
        """The rest, at the end of the answer."""
        if self.caught:
            return ""
        hits = [hit for placed in self._surrogates.rest() for hit in self._hits(placed)]
        hits += self._escapes.finish()
        hits += self._walk.finish()
        hits += [hit for stretch in self._stretches for hit in stretch.finish()]
        hits = self._counted(hits)
        return self._catch(hits) if hits else self._release(self._read)

    def _counted(self, hits: Iterable[Hit]) -> list[Hit]:
        return [hit for hit in hits if hit.policy not in self._dead]

    def _hits(self, placed: Placed) -> list[Hit]:
        hits = self._escapes.read(placed, self._walk)  # first, since it may copy the walk so far
        hits += self._walk.read(placed.char, placed.start, placed.end)
        for stretch in self._stretches:
            hits += stretch.read(placed)
        return hits

    def _hold(self) -> int:
        holds = [self._surrogates.pending, self._walk.hold, self._escapes.hold]
        holds += [stretch.hold for stretch in self._stretches]
        return min((hold for hold in holds if hold is not None), default=self._read)

    def _release(self, end: int) -> str:
        size = end - self._released
        self._released = end
        safe, self._held = self._held[:size], self._held[size:]
        return safe

    def _catch(self, hits: Iterable[Hit]) -> str:
        first = min(hits)
        self.caught = Catch(first.policy, first.start)
        return self._release(first.start)


class _EscapeLayer:
    """A reading with one level of escapes undone, and a layer above it for what that uncovers.

    It costs next to nothing until the first escape: until then it reads what the layer below does.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._escapes = Escapes()
        self._decoded = False
        self._walk: Walk | None = None
        self._above: _EscapeLayer | None = None

    @property
    def hold(self) -> int | None:
        """Where the earliest thing starts that may still become a phrase."""
        holds = [self._escapes.pending]
        if self._walk:
            holds.append(self._walk.hold)
        if self._above:
            holds.append(self._above.hold)
        return min((hold for hold in holds if hold is not None), default=None)

    def read(self, placed: Placed, below: Walk) -> list[Hit]:
        """Read on.  below: the walk over the same text as written, before it reads this."""
        if not self._walk:
            if placed.char not in OPENERS:
                return []
            self._walk = below.copy()
        hits = self._follow(self._escapes.read(placed))
        if not self._decoded and self._escapes.pending is None:
            self._walk = None  # it was no escape: this still reads what the layer below does
        return hits

    def finish(self) -> list[Hit]:
        """The text is over."""
        hits = self._follow(self._escapes.rest())
        hits += self._above.finish() if self._above else []
        return hits + (self._walk.finish() if self._walk else [])

    def _follow(self, decoded: Iterable[Placed]) -> list[Hit]:
        hits: list[Hit] = []
        for placed in decoded:
            if placed.decoded and not self._decoded:
                self._decoded = True
                self._above = _EscapeLayer(self._levels - 1) if self._levels > 1 else None
            if self._walk:
                hits += self._above.read(placed, self._walk) if self._above else []
                hits += self._walk.read(placed.char, placed.start, placed.end)
        return hits


class _Stretch:
    """A reading of encoded stretches: each is a text by itself."""

    def __init__(
        self, code: type[Base64] | type[Hex], lists: Sequence[PhraseList], firsts: frozenset[str]
    ) -> None:
        self._code = code
        self._lists = lists
        self._firsts = firsts
        self._decoder: Base64 | Hex | None = None
        self._inside_word = False
        self._walk = Walk(lists)

    @property
    def hold(self) -> int | None:
        """Where the earliest thing starts that may still become a phrase."""
        if not self._decoder:
            return None
        holds = [self._walk.hold]
        pending = self._decoder.pending
        if pending is not None and (
            self._decoder.utf8.pending is not None
            or any(self._may_begin(byte) for byte in self._decoder.first_bytes())
        ):
            holds.append(pending)
        return min((hold for hold in holds if hold is not None), default=None)

    def read(self, placed: Placed) -> list[Hit]:
        """Read on; what ends a stretch also ends the text within."""
        inside_word, self._inside_word = self._inside_word, placed.char.isalnum()
        if placed.char in self._code.alphabet:
            if not self._decoder:
                if inside_word:
                    return []
                self._decoder, self._walk = self._code(), Walk(self._lists)
            return self._counted(self._walked(self._decoder.read(placed.char, placed.start)))
        if not self._decoder or (
            isinstance(self._decoder, Hex) and self._decoder.goes_on(placed.char)
        ):
            return []
        return self.finish()

    def finish(self) -> list[Hit]:
        """The stretch is over."""
        if not self._decoder:
            return []
        hits = self._walked(self._decoder.utf8.rest()) + self._walk.finish()
        self._decoder = None
        return self._counted(hits)

    def _walked(self, decoded: Iterable[Placed]) -> list[Hit]:
        return [hit for p in decoded for hit in self._walk.read(p.char, p.start, p.end)]

    def _counted(self, hits: Iterable[Hit]) -> list[Hit]:
        return [hit for hit in hits if hit.end - hit.start >= MIN_ENCODED]

    def _may_begin(self, byte: int) -> bool:
        if byte >= 0x80:
            return 0xC2 <= byte <= 0xF4
        found = sign(chr(byte))
        letters = canonical(found.letters or (chr(byte) if found.leet else ""))
        return letters in self._firsts and self._walk.may_begin_before(chr(byte))
