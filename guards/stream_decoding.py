"""Undoing encodings in a text that comes character by character, keeping each character's place.

Each decoder reads placed characters and returns those that are then complete; ``pending`` is where
the first one starts that is not.
"""

import html
import re
from typing import NamedTuple

OPENERS = frozenset("%&\\")
_PART = re.compile(
    r"%[0-9a-fA-F]{0,2}"
    r"|&(#([0-9]{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z][A-Za-z0-9]{0,9})?;?"
    r"|\\(u[0-9a-fA-F]{0,4}|u\{[0-9a-fA-F]{0,6}\}?|U[0-9a-fA-F]{0,8}|x[0-9a-fA-F]{0,2})?"
    r"|\\[nrtbf\"'/\\]"
)
_BYTE = re.compile(r"(?:%|\\x)([0-9a-fA-F]{2})")
_CODE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|U([0-9a-fA-F]{8}))")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Placed(NamedTuple):
    """A character that stands for [start, end) of the text.  decoded: it is not written so."""

    char: str
    start: int
    end: int
    decoded: bool = False


class Utf8:
    """Characters from single bytes; what is not UTF-8 is read as Latin-1, or else as a blank."""

    def __init__(self, *, latin: bool) -> None:
        self._latin = latin
        self._bytes: list[tuple[int, int, int]] = []

    @property
    def pending(self) -> int | None:
        return self._bytes[0][1] if self._bytes else None

    def read(self, byte: int, start: int, end: int) -> list[Placed]:
        if not self._bytes and _length(byte) == 1:
            return [self._single(byte, start, end)]
        done = self.rest() if self._bytes and not 0x80 <= byte < 0xC0 else []
        self._bytes.append((byte, start, end))
        data = bytes(value for value, _, _ in self._bytes)
        if len(data) < _length(data[0]):
            return done
        try:
            char = data.decode()
        except UnicodeDecodeError:
            return done + self.rest()
        whole = Placed(char, self._bytes[0][1], end, decoded=True)
        self._bytes = []
        return [*done, whole]

    def rest(self) -> list[Placed]:
        left, self._bytes = self._bytes, []
        return [self._single(*byte) for byte in left]

    def _single(self, byte: int, start: int, end: int) -> Placed:
        char = chr(byte) if byte < 0x80 or self._latin else " "
        return Placed(char, start, end, decoded=True)


class Surrogates:
    """Characters beyond the BMP from the two halves that JSON and UTF-16 write them in."""

    def __init__(self) -> None:
        self._high: Placed | None = None

    @property
    def pending(self) -> int | None:
        return self._high.start if self._high else None

    def read(self, placed: Placed) -> list[Placed]:
        high, self._high = self._high, None
        if high and "\udc00" <= placed.char <= "\udfff":
            code = 0x10000 + (ord(high.char) - 0xD800) * 0x400 + ord(placed.char) - 0xDC00
            decoded = high.decoded or placed.decoded
            return [Placed(chr(code), high.start, placed.end, decoded)]
        before = [high] if high else []
        if "\ud800" <= placed.char <= "\udbff":
            self._high = placed
            return before
        return [*before, placed]

    def rest(self) -> list[Placed]:
        high, self._high = self._high, None
        return [high] if high else []


class Escapes:
    """One level of percent escapes, HTML entities and backslash escapes."""

    def __init__(self) -> None:
        self._open: list[Placed] = []
        self._utf8 = Utf8(latin=True)
        self._surrogates = Surrogates()

    @property
    def pending(self) -> int | None:
        parts = (self._utf8.pending, self._surrogates.pending)
        starts = [start for start in parts if start is not None]
        return min([*starts, *(placed.start for placed in self._open[:1])], default=None)

    def read(self, placed: Placed) -> list[Placed]:
        if not self._open and placed.char not in OPENERS:
            return self._literal(placed)
        self._open.append(placed)
        text = "".join(part.char for part in self._open)
        if not _PART.fullmatch(text):
            # Only the newest character can open another escape: the others did not end this one.
            return [*self._given_up(), *self.read(placed)]
        return self._closed(text)

    def rest(self) -> list[Placed]:
        left, self._open = self._open, []
        plain = [p for placed in left for p in self._literal(placed)]
        last = [p for placed in self._utf8.rest() for p in self._surrogates.read(placed)]
        return [*plain, *last, *self._surrogates.rest()]

    def _given_up(self) -> list[Placed]:
        *left, _ = self._open
        self._open = []
        return [p for placed in left for p in self._literal(placed)]

    def _literal(self, placed: Placed) -> list[Placed]:
        return [p for x in (*self._utf8.rest(), placed) for p in self._surrogates.read(x)]

    def _closed(self, text: str) -> list[Placed]:
        start, end = self._open[0].start, self._open[-1].end
        if byte := _BYTE.fullmatch(text):
            self._open = []
            done = self._utf8.read(int(byte[1], 16), start, end)
            return [p for placed in done for p in self._surrogates.read(placed)]
        decoded = _decoded(text)
        if decoded is None:
            return []
        self._open = []
        return [
            p for char in decoded for p in self._literal(Placed(char, start, end, decoded=True))
        ]


class Base64:
    """Bytes from a stretch of the base64 alphabet, its first character being a group's first."""

    alphabet = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
    _values = {
        c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    } | {"+": 62, "-": 62, "/": 63, "_": 63}

    def __init__(self) -> None:
        self.utf8 = Utf8(latin=False)
        self._bits = 0
        self._size = 0
        self._start = 0

    def first_bytes(self) -> range:
        """What the byte may be that is not complete yet; empty where there is none."""
        free = 8 - self._size
        return range(self._bits << free, (self._bits + 1) << free) if self._size else range(0)

    @property
    def pending(self) -> int | None:
        if self.utf8.pending is not None:
            return self.utf8.pending
        return self._start if self._size else None

    def read(self, char: str, index: int) -> list[Placed]:
        size = self._size + 6
        bits = self._bits << 6 | self._values[char]
        if size < 8:
            self._start, self._size, self._bits = index, size, bits
            return []
        start = self._start if self._size else index
        self._size = size - 8
        self._bits = bits & ((1 << self._size) - 1)
        self._start = index
        return self.utf8.read(bits >> self._size, start, index + 1)


class Hex:
    """Bytes from pairs of hexadecimal digits."""

    alphabet = frozenset("0123456789abcdefABCDEF")
    joints = frozenset(" ,:;-\n\r\t")  # what may stand between two pairs

    def __init__(self) -> None:
        self.utf8 = Utf8(latin=False)
        self._digit = ""
        self._start = 0

    def first_bytes(self) -> range:
        """What the byte may be that is not complete yet; empty where there is none."""
        high = int(self._digit, 16) << 4 if self._digit else 0
        return range(high, high + 16) if self._digit else range(0)

    @property
    def pending(self) -> int | None:
        if self.utf8.pending is not None:
            return self.utf8.pending
        return self._start if self._digit else None

    def read(self, char: str, index: int) -> list[Placed]:
        if not self._digit:
            self._digit, self._start = char, index
            return []
        byte, self._digit = int(self._digit + char, 16), ""
        return self.utf8.read(byte, self._start, index + 1)

    def goes_on(self, char: str) -> bool:
        """Whether the stretch goes on with this, which is not a digit."""
        if self._digit == "0" and char in "xX":
            self._digit = ""
            return True
        return not self._digit and char in self.joints


def _length(first: int) -> int:
    if first < 0xC2 or first > 0xF4:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _decoded(text: str) -> str | None:
    if text[0] == "&":
        if text[-1] != ";":
            return None
        return html.unescape(text)
    if code := _CODE.fullmatch(text):
        value = int(next(group for group in code.groups() if group), 16)
        return chr(value) if value < 0x110000 else " "
    if len(text) == 2 and text[0] == "\\" and text[1] not in "uUx":
        return _SIMPLE.get(text[1], text[1])
    return None
