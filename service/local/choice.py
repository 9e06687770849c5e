"""One choice of an answer: a stream of token ids as text, and why it ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from models.local_engine import Sampling
from models.local_engine.text import IncrementalText, StopStrings


@dataclass(frozen=True, slots=True)
class Delta:
    """What one token adds.  finish_reason: "stop" or "length" on the last one.

    stop_reason: the stop string, or the id out of ``stop_token_ids``, that ended the choice.
    """

    text: str
    token: int
    finish_reason: str | None = None
    stop_reason: str | int | None = None


@dataclass(frozen=True)
class Choice:
    """One choice to be generated.  ends: ids that end it (the model's own and the given ones)."""

    tokens: Iterator[int]
    text: IncrementalText
    stops: StopStrings
    sampling: Sampling
    ends: frozenset[int]
    include_stop: bool = False

    def deltas(self) -> Iterator[Delta]:
        """One for each token; the last one says why."""
        for count, token in enumerate(self.tokens, start=1):
            delta = self._delta(token, count)
            yield delta
            if delta.finish_reason is not None:
                return

    def _delta(self, token: int, count: int) -> Delta:
        is_end = token in self.ends
        new = "" if is_end and not self.include_stop else self.text.push(token)
        out, stop = self.stops.push(new, search=count > self.sampling.min_tokens)
        if stop is not None:
            return Delta(out, token, "stop", stop)
        if is_end:
            given = token in self.sampling.stop_token_ids
            return Delta(out + self.stops.flush(), token, "stop", token if given else None)
        if count == self.sampling.max_tokens:
            return Delta(out + self.stops.flush(), token, "length")
        return Delta(out, token)
