"""Which parts of a text are left out when it is looked at again without them.

Source: Kumar et al. (2023), "Certifying LLM Safety against Adversarial Prompting": a filter that
also looks at a prompt's erased subsequences finds whatever it would have found without what an
attacker added.  Words and marks are what is erased.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Mode = Literal["off", "suffix", "random", "greedy"]
MOST_ERASED = 64
MOST_LOOKS = 256

_PIECE = re.compile(r"\w+|[^\w\s]")

Score = Callable[[Sequence[str]], Sequence[float]]
"""The logits of some texts."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """How a text in the uncertain band is looked at again.

    mode: ``suffix`` leaves out the last 1, 2, ... pieces; ``random`` pieces drawn anywhere;
    ``greedy`` at each step the piece without which the text is most about the subject.
    most: pieces left out at most.  looks: texts encoded at most.  low: the band begins at this
    logit (it ends at the threshold); None: every text below the threshold is looked at again.
    """

    mode: Mode = "suffix"
    most: int = 4
    looks: int = 16
    low: float | None = -1.0

    def __post_init__(self) -> None:
        """Raise ValueError for what is out of range."""
        if self.mode not in get_args(Mode):
            raise ValueError("unknown way to erase")
        if not (0 <= self.most <= MOST_ERASED and 0 <= self.looks <= MOST_LOOKS):
            raise ValueError("too much to be erased")
        if self.low is not None and not abs(self.low) < 1e6:
            raise ValueError("the band begins nowhere")

    @property
    def radius(self) -> int:
        """Certified: so many pieces appended to a text that is found do not hide it.

        For every text of a band without lower end; else for those whose score with the suffix is
        still within the band.  0: nothing is certified.
        """
        return min(self.most, self.looks) if self.mode == "suffix" else 0

    def uncertain(self, logit: float, threshold: float) -> bool:
        """Whether a text with this logit is to be looked at again."""
        return self.mode != "off" and logit < threshold and (self.low is None or logit >= self.low)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return {**asdict(self), "radius": self.radius}

    @staticmethod
    def of(value: Any) -> "Erasure":
        """Read it from a manifest.  Raises ValueError."""
        if not isinstance(value, Mapping) or set(value) != {
            "mode",
            "most",
            "looks",
            "low",
            "radius",
        }:
            raise ValueError("no way to erase")
        rest = {name: value[name] for name in ("mode", "most", "looks", "low")}
        numbers = [rest["most"], rest["looks"]]
        if not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
            raise ValueError("no way to erase")
        if not (rest["low"] is None or isinstance(rest["low"], float)):
            raise ValueError("no way to erase")
        return Erasure(**rest)


def highest(text: str, first: float, threshold: float, erasure: Erasure, score: Score) -> float:
    """The highest logit among the text's own (``first``) and those of its erased parts.

    Stops as soon as the threshold is reached.  Outside the uncertain band it is ``first``.
    """
    if not erasure.uncertain(first, threshold):
        return first
    if erasure.mode == "greedy":
        return _greedily(text, first, threshold, erasure, score)
    best = first
    for erased in variants(text, erasure):
        best = max(best, score([erased])[0])
        if best >= threshold:
            break
    return best


def variants(text: str, erasure: Erasure) -> Iterator[str]:
    """The texts of the modes ``suffix`` and ``random``, ``looks`` of them at most."""
    pieces = [match.span() for match in _PIECE.finditer(text)]
    most = min(erasure.most, len(pieces) - 1)
    if erasure.mode == "suffix":
        for count in range(1, min(most, erasure.looks) + 1):
            yield text[: pieces[-count - 1][1]]
    elif erasure.mode == "random" and most > 0:
        # Seeded by the text: the same prompt is always judged alike.
        dice = random.Random(text)
        for _ in range(erasure.looks):
            left_out = dice.sample(range(len(pieces)), dice.randint(1, most))
            yield without(text, pieces, left_out)


def without(text: str, pieces: Sequence[tuple[int, int]], left_out: Sequence[int]) -> str:
    """The text without some of its pieces (by number)."""
    kept, place = [], 0
    for start, end in sorted(pieces[index] for index in left_out):
        kept.append(text[place:start])
        place = end
    return "".join([*kept, text[place:]])


def _greedily(text: str, first: float, threshold: float, erasure: Erasure, score: Score) -> float:
    best, looks = first, erasure.looks
    for _ in range(erasure.most):
        pieces = [match.span() for match in _PIECE.finditer(text)]
        # The latest pieces first: what an attacker adds is most often added at the end.
        tried = list(range(len(pieces)))[::-1][:looks]
        if not tried or len(pieces) < 2:
            break
        shorter = [without(text, pieces, [index]) for index in tried]
        logits = score(shorter)
        looks -= len(tried)
        top = max(range(len(shorter)), key=lambda index: logits[index])
        best, text = max(best, logits[top]), shorter[top]
        if best >= threshold:
            break
    return best
