"""One choice of an answer on its way out: every channel through a filter, nothing unscanned."""

from collections.abc import Callable
from typing import NamedTuple

from guards.text_filter import Catch, TextFilter
from service.gateway.pieces import CONTENT, Channel, Piece

NewFilter = Callable[[], TextFilter]


class Release(NamedTuple):
    """Text that may leave.  Of the channel ``name``: the whole name of a tool."""

    channel: Channel
    text: str


class _Scanned:
    """One channel: what was said, and how much of it has left.

    Its first ``floor`` characters were said before, found clean then, and stay.  Its first
    ``opening`` characters leave together with the next one, or at the end: a catch among them
    leaves nothing that an answer to another question would have to go on from.
    """

    def __init__(self, new_filter: NewFilter, opening: int = 0) -> None:
        self._filter = new_filter()
        self._opening = opening
        self._said: list[str] = []
        self._passed = 0  # characters that the filter let pass
        self._held = ""  # of these, what waits for the opening to be over
        self._floor = 0
        self.released = 0
        self.ended = False

    @property
    def caught(self) -> Catch | None:
        return self._filter.caught

    @property
    def said(self) -> str:
        """All of it, cut off where something was caught."""
        said = "".join(self._said)
        caught = self.caught
        if caught is None:
            return said
        return said[: max(0 if self._dropped else caught.start, self._floor)]

    def push(self, text: str) -> str:
        self._said.append(text)
        return self._let_out(self._filter.push(text))

    def finish(self) -> str:
        if self.ended:
            return ""
        self.ended = True
        return self._let_out(self._filter.finish())

    def seed(self, text: str, released: int) -> str:
        """Begin with clean text, of which so much has left; the rest leaves now."""
        self._said.append(text)
        self._passed = len(self._filter.push(text))
        self._floor = self.released = len(text)
        self._opening = 0
        return text[released:]

    def rest(self) -> str:
        """What was said, is clean and has not left: after a catch."""
        text = self.said[self.released :]
        self.released += len(text)
        return text

    def _let_out(self, text: str) -> str:
        self._passed += len(text)
        self._held += text
        new = self._passed - self.released
        opening = self._passed <= self._opening and not self.ended
        if opening or new <= 0 or self._dropped:
            return ""
        out, self._held, self.released = self._held[-new:], "", self._passed
        return out

    @property
    def _dropped(self) -> bool:
        return self.caught is not None and self.caught.start <= self._opening


class Choice:
    """The state of one choice.  Two runs that say the same release the same, however cut.

    opening: characters of content that are held until there are more, or the end.
    """

    def __init__(self, new_filter: NewFilter, opening: int = 0) -> None:
        self._new_filter = new_filter
        self._opening = opening
        self._channels: dict[Channel, _Scanned] = {}
        self._names: dict[int, str] = {}
        self.caught: Catch | None = None
        self._caught_in: Channel | None = None
        self.finish: str | None = None
        self.scanned = self.left = 0  # bytes
        self.held = 0  # characters that only the end let out

    @property
    def done(self) -> bool:
        """Whether nothing of what the engine still says about it is of use."""
        return self.finish is not None or self.caught is not None

    @property
    def said(self) -> str:
        """Its content, cut off where something was caught."""
        scanned = self._channels.get(CONTENT)
        return scanned.said if scanned else ""

    @property
    def only_content(self) -> bool:
        """Whether nothing but content was said."""
        return not self._names and set(self._channels) <= {CONTENT}

    @property
    def silent(self) -> bool:
        """Whether nothing clean was said at all: a run that left nothing can be run again."""
        caught = self._caught_in
        named = {caught.call} if caught is not None and caught.kind == "name" else set()
        said = (c.said for channel, c in self._channels.items() if channel != caught or not named)
        return set(self._names) <= named and not any(said)

    def push(self, piece: Piece) -> list[Release]:
        """What may leave now."""
        out: list[Release] = []
        for channel, text in piece.texts:
            if self.caught is None:
                out += self._say(channel, text)
        if piece.finish is not None and self.caught is None:
            out += self._finish_names()
            for channel, scanned in self._channels.items():
                if self.caught is None:
                    held = self._out(channel, scanned.finish())
                    self.held += sum(len(release.text) for release in held)
                    out += held
            if self.caught is None:
                self.finish = piece.finish
        return self._counted(out)

    def texts(self) -> list[str]:
        """Every clean text in it."""
        return [scanned.said for scanned in self._channels.values()]

    def anew(self) -> "Choice":
        """A choice in its place that begins again; nothing of this one has left."""
        fresh = Choice(self._new_filter, self._opening)
        fresh.scanned = self.scanned
        return fresh

    def end_here(self, finish: str = "stop") -> list[Release]:
        """End at the clean text before the catch, the way an ordinary answer ends."""
        out: list[Release] = []
        for channel, scanned in self._channels.items():
            if channel == self._caught_in:
                out += [Release(channel, text)] if (text := scanned.rest()) else []
            elif scanned.caught is None and channel.kind != "name":
                out += [Release(channel, text)] if (text := scanned.finish()) else []
        self.finish = finish
        return self._counted([r for r in out if r.channel.kind != "name"])

    def restarted(self) -> tuple["Choice", list[Release]]:
        """A choice that goes on after the clean content, through a fresh filter.

        The filter sees the old text too, so a phrase across the seam is seen.
        """
        fresh = self.anew()
        fresh.left = self.left
        if not self.said:
            return fresh, []
        old = self._channels[CONTENT]
        scanned = fresh._channel(CONTENT)  # noqa: SLF001  (another of this class)
        text = scanned.seed(old.said, old.released)
        if scanned.caught is not None:
            fresh._note(CONTENT)  # noqa: SLF001
        return fresh, fresh._counted([Release(CONTENT, text)] if text else [])  # noqa: SLF001

    def _say(self, channel: Channel, text: str) -> list[Release]:
        if channel.kind == "name":
            self._names[channel.call] = self._names.get(channel.call, "") + text
            self.scanned += len(text.encode())
            return []
        out = self._finish_names() if channel.kind == "arguments" else []
        if self.caught is None:
            self.scanned += len(text.encode())
            out += self._out(channel, self._channel(channel).push(text))
        return out

    def _finish_names(self) -> list[Release]:
        """A tool's name leaves whole, before its arguments."""
        out: list[Release] = []
        for call, name in self._names.items():
            channel = Channel("name", call)
            if channel in self._channels or self.caught is not None:
                continue
            scanned = self._channel(channel)
            text = scanned.push(name) + scanned.finish()
            whole = self._out(channel, text)
            out += whole if scanned.caught is None else []
        return out

    def _out(self, channel: Channel, text: str) -> list[Release]:
        if self._channels[channel].caught is not None:
            self._note(channel)
        return [Release(channel, text)] if text else []

    def _note(self, channel: Channel) -> None:
        self.caught, self._caught_in = self._channels[channel].caught, channel

    def _channel(self, channel: Channel) -> _Scanned:
        if channel not in self._channels:
            opening = self._opening if channel == CONTENT else 0
            self._channels[channel] = _Scanned(self._new_filter, opening)
        return self._channels[channel]

    def _counted(self, out: list[Release]) -> list[Release]:
        self.left += sum(len(release.text.encode()) for release in out)
        return out
