"""A protected phrase, and when a stretch of letters counts as it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from guards.normaliser import BLANK_GAP, LEET, NO_GAP, ROT13, canonical, is_unspaced, script, sign

Turn = Literal["plain", "reversed", "words reversed", "rot13", "rot13 of ASCII"]

MAX_GAP = 24  # separators in a row; after more of them, letters no longer belong together
# In letters, of which one of a script without spaces weighs as much as three.
TURNED_WEIGHT = 8  # from which a phrase is sought backwards and in rot13 too
SPELLED_WEIGHT = 4  # from which it may be spelled out: "V-o-r-n"
BROKEN_WEIGHT = 6  # from which its words may be broken by marks, or touch a digit: "Vor*n"
SCATTERED_WEIGHT = 12  # from which blanks may stand anywhere: "Vo rn Castel lane"


@lru_cache(maxsize=4096)
def _shared(places: frozenset[int]) -> frozenset[int]:
    """The same set for equal ones: names of one shape are many, and a set takes 216 bytes."""
    return places


class Letter(NamedTuple):
    """One letter of a text, in one reading.

    char: as written.  unit: folded, with the vowel signs that follow it.  start, end: where the
    character stands in the text.  gap: which sort of separator comes before it.
    """

    char: str
    unit: str
    start: int
    end: int
    gap: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """A name as letters.

    policy: whose.  units: folded letters.  breaks: where words begin.  weight: how telling it is.
    foreign: units whose characters are not ASCII, which rot13 leaves alone.
    """

    policy: str
    units: tuple[str, ...]
    breaks: frozenset[int]
    weight: int
    foreign: frozenset[int]

    @staticmethod
    def of(policy: str, name: str) -> "Phrase":
        """The name's phrase.  Raises ValueError for a name without letters or digits."""
        units: list[str] = []
        breaks: set[int] = set()
        foreign: set[int] = set()
        gap = NO_GAP
        for char in name:
            found = sign(char)
            gap = max(gap, found.gap)
            if found.letters and units and gap:
                breaks.add(len(units))
            gap = NO_GAP if found.letters else gap
            if not char.isascii():
                foreign.update(range(len(units), len(units) + len(found.letters)))
            units.extend(found.letters)
            if found.marks and units:
                units[-1] = with_marks(units[-1], found.marks)
        if not units:
            raise ValueError("a name without a letter or digit cannot be found in a text")
        weight = sum(3 if is_unspaced(unit[0]) else 1 for unit in units)
        return Phrase(
            policy, tuple(units), _shared(frozenset(breaks)), weight, _shared(frozenset(foreign))
        )

    @property
    def key(self) -> str:
        """What is searched for: canonical letters, without marks."""
        return canonical(self._letters)

    @property
    def _letters(self) -> str:
        return "".join([unit[0] for unit in self.units])

    def keys(self) -> dict[str, Turn]:
        """The ways of writing it that are sought, by the key of each: ``turned(turn).key``.

        Of a short name, only the plain one: "Leon" written backwards is an ordinary word.
        """
        letters = self._letters
        plain = canonical(letters)
        found: dict[str, Turn] = {plain: "plain"}
        if self.weight >= TURNED_WEIGHT:
            cuts = [0, *sorted(self.breaks), len(letters)]
            words = [plain[a:b][::-1] for a, b in pairwise(cuts)]
            found.setdefault(plain[::-1], "reversed")
            found.setdefault("".join(words), "words reversed")
            found.setdefault(canonical(letters.translate(ROT13)), "rot13")
            if self.foreign:
                found.setdefault(self.turned("rot13 of ASCII").key, "rot13 of ASCII")
        return found

    def turned(self, turn: Turn) -> "Phrase":
        """The phrase as it reads when written in that way."""
        if turn == "plain":
            return self
        if turn == "reversed":
            size = len(self.units)
            breaks = frozenset(size - b for b in self.breaks)
            return replace(self, units=self.units[::-1], breaks=breaks)
        if turn == "words reversed":
            cuts = [0, *sorted(self.breaks), len(self.units)]
            words = (self.units[a:b][::-1] for a, b in pairwise(cuts))
            return replace(self, units=tuple(unit for word in words for unit in word))
        kept = self.foreign if turn == "rot13 of ASCII" else ()
        turned = (u if i in kept else u.translate(ROT13) for i, u in enumerate(self.units))
        return replace(self, units=tuple(turned))

    def may_become(self, letters: Sequence[Letter], gap: int = NO_GAP) -> bool:
        """Whether these letters (at least one), then that gap, may still be its beginning."""
        if len(letters) > len(self.units):
            return False
        settled = letters if gap else letters[:-1]  # vowel signs may still follow the last letter
        if not all(_means(a, u) for a, u in zip(settled, self.units, strict=False)):
            return False
        last = len(letters) - 1
        if not gap and not _means(letters[last], self.units[last][: len(letters[last].unit)]):
            return False
        breaks = {i: letter.gap for i, letter in enumerate(letters) if i and letter.gap}
        if gap and len(letters) < len(self.units):
            breaks[len(letters)] = gap
        return self._breaks_fit(breaks, len(letters) + bool(gap))

    def is_written(self, letters: Sequence[Letter], before: str) -> bool:
        """Whether these letters are the phrase.  before: the letter before them, or ""."""
        return (
            len(letters) == len(self.units)
            and all(_means(a, u) for a, u in zip(letters, self.units, strict=True))
            and self.may_become(letters)
            and self._enough_is_plain(letters)
            and not self._is_foreign(letters, before)
        )

    def _breaks_fit(self, breaks: dict[int, int], size: int) -> bool:
        inside = [gap for place, gap in breaks.items() if place not in self.breaks]
        if not inside or self.weight >= SCATTERED_WEIGHT:
            return True
        if self.weight >= BROKEN_WEIGHT and BLANK_GAP not in inside:
            return True
        spelled = all(place in breaks for place in range(1, min(size, len(self.units))))
        return spelled and self.weight >= SPELLED_WEIGHT

    def _enough_is_plain(self, letters: Sequence[Letter]) -> bool:
        plain = sum(letter.unit == unit for letter, unit in zip(letters, self.units, strict=True))
        if plain == len(letters):
            return True
        # A capital I may stand for l, though not where all is in capitals: BALIO is not Ballo.
        capital_i = any(
            x.char == "I" and u == "l" for x, u in zip(letters, self.units, strict=True)
        )
        cased = not capital_i or any(letter.char.islower() for letter in letters)
        return cased and plain >= 2 and plain * 4 >= len(letters)

    def _is_foreign(self, letters: Sequence[Letter], before: str) -> bool:
        # A word of look-alikes only, in running text of their own script, is a word of that script.
        used = {script(letter.char) for letter in letters if letter.char.isalpha()}
        own = {script(unit[0]) for unit in self.units if unit.isalpha()}
        return len(used) == 1 and not used & own and bool(before) and script(before) in used


def with_marks(unit: str, marks: str) -> str:
    """The unit with vowel signs; letters of scripts that have none ignore them."""
    return unit + marks if ord(unit[0]) >= 0x0590 else unit


def _means(letter: Letter, unit: str) -> bool:
    return (
        letter.unit == unit
        or unit in LEET.get(letter.unit, ())
        or (letter.char == "I" and unit == "l")
    )
