"""Text from a stream of token ids: UTF-8 that is split over tokens, and stop strings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

_CONTEXT = 6  # tokens of the prompt that may decide about the first token's leading space
_INCOMPLETE = "\ufffd"


class IncrementalText:
    """Decodes token by token; what it returned, joined, is what decoding all at once returns.

    An incomplete character is held back until its last byte is there; one that never completes
    is dropped, as vLLM does.
    """

    def __init__(
        self, tokenizer: Any, prompt_ids: Sequence[int], *, skip_special_tokens: bool = True
    ) -> None:
        self._tokenizer = tokenizer
        self._skip = skip_special_tokens
        self._ids = list(prompt_ids[-_CONTEXT:])
        self._from, self._done = 0, len(self._ids)

    def push(self, token: int) -> str:
        """The text that this token completes; empty while a character is incomplete."""
        self._ids.append(token)
        old = self._decoded(self._ids[self._from : self._done])
        new = self._decoded(self._ids[self._from :])
        if len(new) <= len(old) or new.endswith(_INCOMPLETE):
            return ""
        self._from, self._done = self._done, len(self._ids)
        return new[len(old) :]

    def _decoded(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids,
            skip_special_tokens=self._skip,
            clean_up_tokenization_spaces=False,
        )
        return text


class Stopped(NamedTuple):
    """Text that may go out, and the stop string that ended it (None: it goes on)."""

    text: str
    stop: str | None


class StopStrings:
    """Ends a text at the first stop string to be completed.

    Holds back as many characters as could still be the start of one, as vLLM does.
    include: whether the stop string itself belongs to the text.
    """

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        self._stops = [stop for stop in stops if stop]
        self._include = include
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        self._keep = 0 if include else longest
        self._text = ""
        self._sent = 0

    def push(self, text: str, *, search: bool = True) -> Stopped:
        """Add text; what may go out now.  search: whether a stop string may end in this text."""
        old = len(self._text)
        self._text += text
        found = (
            (start + len(stop), start, stop)
            for stop in (self._stops if text and search else ())
            if (start := self._text.find(stop, max(old - len(stop) + 1, 0))) >= 0
        )
        ended = min(found, key=lambda each: each[0], default=None)
        if ended is None:
            return Stopped(self._out(len(self._text) - self._keep), None)
        end, start, stop = ended
        return Stopped(self._out(end if self._include else start), stop)

    def flush(self) -> str:
        """The rest, once the reply has ended in another way."""
        return self._out(len(self._text))

    def _out(self, until: int) -> str:
        text = self._text[self._sent : max(until, self._sent)]
        self._sent = max(until, self._sent)
        return text
