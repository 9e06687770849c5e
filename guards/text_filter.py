"""The filter on what a model writes: nothing leaves that could still become a protected phrase."""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from guards.case import Case, Match
from guards.filter_memory import LONGEST, Came, FilterMemory
from guards.normaliser import canonical, script, sign
from guards.phrase_walk import Hit, PhraseList, Walk
from guards.points import OnText
from guards.stream_decoding import OPENERS, Base64, Escapes, Hex, Placed, Surrogates

ESCAPE_LEVELS = 3
MIN_ENCODED = 8  # characters of base64 or hexadecimal from which a hit in them counts

# Where a filter is likely to be at rest again.  A guess that is wrong costs time, and no more.
_STRIDE = re.compile(r"[^\s.,;:!?]*[\s.,;:!?]")


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

    def __init__(
        self,
        lists: Sequence[PhraseList],
        dead: Set[str] = frozenset(),
        memory: FilterMemory | None = None,
    ) -> None:
        """lists: the phrases.  dead: policies in them that no longer count.

        memory: of other filters with exactly these lists; None: one of its own.
        """
        self._dead = dead
        self.caught: Catch | None = None
        self._lists = [x for x in lists if x.keys]
        self._held = ""
        self._released = 0  # characters released, which is where ``_held`` begins
        self._read = 0  # characters that the readings below have read
        self._surrogates = Surrogates()
        self._walk = Walk(self._lists)
        self._escapes = _EscapeLayer(ESCAPE_LEVELS)
        firsts = frozenset[str]().union(*(x.firsts for x in self._lists))
        self._stretches = (
            _Stretch(Base64, self._lists, firsts),
            _Stretch(Hex, self._lists, firsts),
        )
        self._memory = FilterMemory() if memory is None else memory
        self._known = self._memory.since(0, "")
        # What follows the last rest.  Either the readings have read it, or they still rest and
        # ``_came`` says what they would have come to.
        self._unit = ""
        self._came: Came | None = Came(None, rest=True, last="")
        self._noting = True

    def push(self, delta: str) -> str:
        """The text that may be released now; empty once something was caught."""
        if self.caught:
            return ""
        if not self._lists:
            return delta
        self._held += delta
        while delta:
            delta = self._skim(delta) if self._came is not None else delta
            if delta:
                hits, delta = self._read_on(delta)
                if hits:
                    return self._catch(hits)
        return self._release(self._hold())

    def _skim(self, delta: str) -> str:
        """Read from rest what is known; what has to be read in full, from the last rest on."""
        text = self._unit + delta
        start = end = 0
        came: Came | None = None
        while stride := _STRIDE.match(text, end):
            came = self._known.get(text[start : stride.end()])
            if came is None:
                break
            end = stride.end()
            if came.rest:
                self._rest(end - start, came.last)
                start = end
        else:
            came = self._known.get(text[start:]) if start < len(text) else _AT_REST
        self._came = came
        self._unit = text[start:] if came is not None else ""
        return "" if came is not None else text[start:]

    def _rest(self, size: int, last: str) -> None:
        """As if the readings had read so many characters, and were at rest behind them."""
        self._read += size
        self._walk.rest_behind(last)
        self._known = self._memory.since(1, _script(last))

    def _read_on(self, text: str) -> tuple[list[Hit], str]:
        """Read in full until there is a hit or a rest; the hits that count, and what is left."""
        for number, char in enumerate(text, start=1):
            index = self._read
            self._read += 1
            placed = self._surrogates.read(Placed(char, index, index + 1))
            hits = [hit for p in placed for hit in self._hits(p)]
            counted = self._counted(hits)
            if counted:
                return counted, ""
            resting = self._resting
            self._noting = self._noting and not hits and len(self._unit) < LONGEST
            if self._noting:
                self._unit += char
                begun = self._read - len(self._unit)
                hold = self._earliest()
                came = Came(None if hold is None else hold - begun, resting, self._walk.last)
                self._memory.note(self._known, self._unit, came)
            if resting:
                self._unit, self._came, self._noting = "", _AT_REST, True
                self._known = self._memory.since(1, _script(self._walk.last))
                return [], text[number:]
        return [], ""

    @property
    def _resting(self) -> bool:
        """Whether all that the readings may come to hangs on what they read from here on."""
        return (
            self._walk.resting
            and self._escapes.resting
            and self._surrogates.pending is None
            and not any(stretch.open for stretch in self._stretches)
        )

    def finish(self) -> str:
        """The rest, at the end of the answer."""
        if self.caught:
            return ""
        if self._came is not None and self._unit:
            # Never noted what completes a phrase, so nothing is caught before the end.
            unread, self._unit, self._came = self._unit, "", None
            self._noting = False
            for char in unread:
                for placed in self._surrogates.read(Placed(char, self._read, self._read + 1)):
                    self._hits(placed)
                self._read += 1
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
        """Up to where text may leave."""
        if self._came is not None:
            hold = self._came.hold
            return self._read + (len(self._unit) if hold is None else hold)
        hold = self._earliest()
        return self._read if hold is None else hold

    def _earliest(self) -> int | None:
        """Where the earliest thing starts that may still become a phrase."""
        holds = [self._surrogates.pending, self._walk.hold, self._escapes.hold]
        holds += [stretch.hold for stretch in self._stretches]
        return min((hold for hold in holds if hold is not None), default=None)

    def _release(self, end: int) -> str:
        size = end - self._released
        self._released = end
        safe, self._held = self._held[:size], self._held[size:]
        return safe

    def _catch(self, hits: Iterable[Hit]) -> str:
        first = min(hits)
        self.caught = Catch(first.policy, first.start)
        return self._release(first.start)


_AT_REST = Came(None, rest=True, last="")


def _script(letter: str) -> str:
    """All of a letter that what follows a separator can hang on."""
    return script(letter) if letter.isalpha() else ""


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

    @property
    def resting(self) -> bool:
        """Whether it reads what the layer below does."""
        return self._walk is None and not self._decoded

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

    @property
    def open(self) -> bool:
        """Whether a stretch has begun."""
        return self._decoder is not None

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
