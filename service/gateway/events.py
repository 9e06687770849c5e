"""Server-sent events, read in whatever pieces the network delivers."""

LARGEST = 1 << 24


class EventTooLarge(ValueError):
    """An event that does not end."""


class EventReader:
    """Cuts a byte stream into the data of its events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that is complete now.  Raises EventTooLarge."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LARGEST:
            raise EventTooLarge
        return [event for line in lines if (event := self._line(line.removesuffix(b"\r")))]

    def _line(self, line: bytes) -> bytes:
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            return b""
        event, self._data = b"\n".join(self._data), []
        return event
