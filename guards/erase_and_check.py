"""Look again, with parts erased, at what is almost about a policy's subject.

Source: Kumar et al. (2023), "Certifying LLM Safety against Adversarial Prompting".  An attacker
appends or scatters words until a detector's score falls below its threshold.  With them erased,
the score is what it was.

What is certified.  In the mode ``suffix``: a text that is found is still found with up to
``Erasure.radius`` words and marks appended, as long as they begin with a word or mark of their own,
the text and they are judged as one window, and the score with them is still in the uncertain band
(whose lower end may be taken away, at the price of looking again at every text that comes near).
The modes ``random`` and ``greedy`` certify nothing; they find words that stand elsewhere, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from models.erasures import Erasure, Score, highest

T = TypeVar("T")

MOST_LOOKS = 32  # texts encoded for one prompt, whatever its policies allow


@dataclass(frozen=True, slots=True)
class Suspect(Generic[T]):
    """A text below a detector's threshold.  subject: whatever the caller knows it by.

    score: the same detector's logits of other texts.
    """

    subject: T
    text: str
    logit: float
    threshold: float
    erasure: Erasure
    score: Score


def checked(suspects: Sequence[Suspect[T]], looks: int = MOST_LOOKS) -> Iterator[tuple[T, float]]:
    """Those that reach their threshold with parts erased, with the logit they reach.

    The nearest to their threshold come first; ``looks`` texts are encoded for all of them.
    """
    for suspect in sorted(suspects, key=lambda each: each.threshold - each.logit):
        if looks <= 0:
            return
        counted = _Counted(suspect.score)
        erasure = replace(suspect.erasure, looks=min(suspect.erasure.looks, looks))
        reached = highest(suspect.text, suspect.logit, suspect.threshold, erasure, counted)
        looks -= counted.texts
        if reached >= suspect.threshold:
            yield suspect.subject, reached


class _Counted:
    """A score that counts what it is asked."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.texts = 0

    def __call__(self, texts: Sequence[str]) -> Sequence[float]:
        self.texts += len(texts)
        return self._score(texts)
