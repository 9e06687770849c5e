"""A text that no engine said, in the pieces in which an engine would have said it."""

import re
from collections.abc import Iterator, Sequence

from models.chat_prompt import PromptRenderer
from service.gateway.pieces import CONTENT, Piece
from service.gateway.schema import Generation

_WORDS = re.compile(r"\s*\S+|\s+\Z")


def spoken(
    index: int, text: str, generation: Generation, room: int, renderer: PromptRenderer
) -> Iterator[Piece]:
    """The text as choice ``index``, word by word, ended by a stop string or after room tokens."""
    text = _stopped(
        text, generation.stop, keep=bool(generation.passed.get("include_stop_str_in_output"))
    )
    rendered = renderer.plain(text)
    finish = "stop"
    if len(rendered.ids) > room:
        text, finish = text[: rendered.offsets[room - 1][1] if room > 0 else 0], "length"
    for word in _WORDS.findall(text):
        yield Piece(index, ((CONTENT, word),), None)
    yield Piece(index, (), finish)


def _stopped(text: str, stops: Sequence[str], *, keep: bool) -> str:
    found = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return text
    # The one that is complete first, when it is read from the left; of several, the longest.
    at, stop = min(found, key=lambda each: (each[0] + len(each[1]), each[0]))
    return text[: at + len(stop)] if keep else text[:at]
