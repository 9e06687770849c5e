"""What is read of requests whose tokens are given and scored, until it is fetched."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from guards.signed_edits import SignedEdits
from service.scoring import TokenScore, token_scores

MOST_TOKENS = 1 << 18  # kept in one worker, some 60 MB


class Diverged(ValueError):
    """The answer so far is not what was given."""


class Reading:
    """The scores of one request's given tokens, as they come."""

    def __init__(self, forced: Sequence[int]) -> None:
        self.forced = tuple(forced)
        self._scores: list[TokenScore | None] = [None] * len(self.forced)
        self._spoilt = False

    def read(self, row: Tensor, output: Sequence[int]) -> None:
        """Score the token that follows ``output`` by its edited logits; then leave only it.

        row: [vocabulary], changed in place.  A place may come by again, after preemption or at the
        end of each chunk of the prompt: the last time counts.  Raises Diverged, or ValueError or
        IndexError for a row or token that cannot be scored.
        """
        at = len(output)
        if tuple(output) != self.forced[:at] or at == len(self.forced):
            raise Diverged("the answer is not the given one")
        token = self.forced[at]
        if not 0 <= token < len(row):
            raise IndexError("a given token is not in the vocabulary")
        (self._scores[at],) = token_scores(row[None], [token])
        row.fill_(-torch.inf)
        row[token] = 0.0

    def spoil(self) -> None:
        """Its request went dark: what was read, perhaps within the prompt, is no answer."""
        self._spoilt = True

    def complete(self) -> list[list[Any]] | None:
        """For each token its score, in plain types; None while one is missing, or if spoilt."""
        if self._spoilt:
            return None
        found = [list(score) for score in self._scores if score is not None]
        return found if len(found) == len(self.forced) else None


class Readings:
    """Readings of one worker by the unguessable name that a gateway signed; the oldest are lost.

    limit: tokens kept.
    """

    def __init__(self, limit: int = MOST_TOKENS) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Reading] = OrderedDict()
        self._tokens = 0

    def begun(self, signed: SignedEdits) -> Reading:
        """A new reading.  Raises ValueError for one that is too large or has begun before."""
        size = len(signed.forced)
        if size > self._limit or signed.request in self._kept:
            raise ValueError("this cannot be read")
        while self._tokens + size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._tokens -= len(oldest.forced)
        reading = self._kept[signed.request] = Reading(signed.forced)
        self._tokens += size
        return reading

    def spoil(self) -> None:
        """A step ran whose rows nobody knows: nothing that has begun can be fetched."""
        self._kept.clear()
        self._tokens = 0

    def taken(self, name: str) -> list[list[Any]] | None:
        """What was read under that name, which is forgotten; None where it is not complete."""
        reading = self._kept.pop(name, None)
        if reading is None:
            return None
        self._tokens -= len(reading.forced)
        return reading.complete()
