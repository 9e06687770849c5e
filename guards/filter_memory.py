"""What a text filter need not look at twice.

A filter that is *at rest* (nothing begun, nothing held, one separator behind a word) goes on in
the same way whenever it reads the same characters.  So what it came to after each of them is
noted, once, for all answers that are filtered by the same phrases.  Ordinary text is then read by
looking up its words; whatever is not noted, and whatever comes near a phrase, is read in full.
"""

from typing import NamedTuple

MOST = 1 << 17  # noted readings; about 20 MB
LONGEST = 48  # characters of one


class Came(NamedTuple):
    """What reading came to.  hold: characters that may leave; None: all.  last: the last letter.

    rest: whether the filter is at rest again.
    """

    hold: int | None
    rest: bool
    last: str


class FilterMemory:
    """By where the filter rested and what it read since.  Safe for several threads.

    It belongs to one set of phrases: with others, other readings hold.  Nothing that completed a
    phrase is ever noted.
    """

    def __init__(self) -> None:
        self._came: dict[tuple[int, str], dict[str, Came]] = {}
        self._count = 0

    def since(self, separators: int, script: str) -> dict[str, Came]:
        """What is known from a rest after so many separators and a letter of that script."""
        return self._came.setdefault((separators, script), {})

    def note(self, since: dict[str, Came], read: str, came: Came) -> None:
        """Remember; no more than there is room for."""
        if self._count < MOST and read not in since:
            since[read] = came
            self._count += 1
