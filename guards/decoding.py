"""What a text may hide: escapes undone, encoded stretches decoded, and that again in the result."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.stream_decoding import Escapes, Placed

MAX_DEPTH = 3
MAX_GROWTH = 4  # all that is decoded, in multiples of the text
MAX_TOTAL = 1 << 20  # and in characters

_ESCAPED = re.compile(
    r"(?:%[0-9a-fA-F]{2}|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,9});"
    r"|\\(?:u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.))+"
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text made from another.  starts, ends: [len(text)], where each character comes from."""

    text: str
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def within(self, outer: "Decoded") -> "Decoded":
        """With the places in what the other one, from which this was made, was made from."""
        return Decoded(self.text, outer.starts[self.starts], outer.ends[self.ends - 1])


def as_written(text: str) -> Decoded:
    """The text itself."""
    return Decoded(text, np.arange(len(text)), np.arange(1, len(text) + 1))


def readings(text: str) -> Iterator[Decoded]:
    """The text, and everything found encoded in it, to a depth of MAX_DEPTH.

    Bounded by MAX_GROWTH and MAX_TOTAL, of which decodings nearer to the text come first.
    """
    left = min(MAX_GROWTH * len(text), MAX_TOTAL)
    level = [as_written(text)]
    for depth in range(MAX_DEPTH + 1):
        inner: list[Decoded] = []
        for reading in level:
            yield reading
            for found in _decodings(reading.text) if depth < MAX_DEPTH else ():
                left -= len(found.text)
                if left < 0:
                    return
                inner.append(found.within(reading))
        level = inner


def _decodings(text: str) -> Iterator[Decoded]:
    if escaped := _unescaped(text):
        yield escaped
    absent = {_TAGS} if text.isascii() else set()
    if not _DIGITS.search(text):
        absent.add(_NUMBERS)
    for pattern, decode, of in _CODES:
        if of not in absent and (found := _stretches(text, pattern, decode)):
            yield found


def _unescaped(text: str) -> Decoded | None:
    done: list[Placed] = []
    last = 0
    for match in _ESCAPED.finditer(text):
        done.extend(Placed(text[i], i, i + 1) for i in range(last, match.start()))
        escapes = Escapes()
        for i in range(*match.span()):
            done.extend(escapes.read(Placed(text[i], i, i + 1)))
        done.extend(escapes.rest())
        last = match.end()
    if not last:
        return None
    done.extend(Placed(text[i], i, i + 1) for i in range(last, len(text)))
    return _joined(done)


def _joined(placed: list[Placed]) -> Decoded | None:
    if not placed:
        return None
    starts = np.fromiter((p.start for p in placed), np.int64, len(placed))
    ends = np.fromiter((p.end for p in placed), np.int64, len(placed))
    return Decoded("".join(p.char for p in placed), starts, ends)


def _stretches(
    text: str, pattern: re.Pattern[str], decode: Callable[[str], bytes]
) -> Decoded | None:
    """All stretches of one code, each decoded by itself, on lines of their own."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    for match in pattern.finditer(text):
        try:
            decoded = decode(match[0]).decode("utf-8", "replace") + "\n"
        except (binascii.Error, ValueError):
            continue
        parts.append(decoded)
        spans.append(match.span())
    if not parts:
        return None
    sizes = [len(part) for part in parts]
    starts = np.repeat(np.array([a for a, _ in spans]), sizes)
    ends = np.repeat(np.array([b for _, b in spans]), sizes)
    return Decoded("".join(parts), starts, ends)


def _from_base64(text: str) -> bytes:
    letters = re.sub(r"[\s=]", "", text).replace("-", "+").replace("_", "/")
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + "=" * (-len(letters) % 4))


def _from_base32(text: str) -> bytes:
    letters = text.rstrip("=")
    letters = letters[
        : len(letters) // 8 * 8 + {2: 2, 3: 2, 4: 4, 5: 5, 6: 5, 7: 7}.get(len(letters) % 8, 0)
    ]
    return base64.b32decode(letters + "=" * (-len(letters) % 8))


def _from_hex(text: str) -> bytes:
    digits = re.sub(r"0[xX]|[^0-9a-fA-F]", "", text)
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def _from_binary(text: str) -> bytes:
    bits = re.sub(r"[^01]", "", text)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))


def _from_decimal(text: str) -> bytes:
    codes = (int(digits) for digits in re.findall(r"\d+", text))
    return "".join(chr(code) if code < 0xD800 else " " for code in codes).encode()


def _from_tags(text: str) -> bytes:
    return bytes(ord(char) - 0xE0000 for char in text)


_DIGITS = re.compile(r"\d{2}")
_LETTERS, _NUMBERS, _TAGS = range(3)  # what a code is made of, so that most texts skip most codes
_CODES: tuple[tuple[re.Pattern[str], Callable[[str], bytes], int], ...] = (
    (
        re.compile(r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{8,})*={0,2}"),
        _from_base64,
        _LETTERS,
    ),
    (re.compile(r"[A-Z2-7]{10,}={0,6}"), _from_base32, _LETTERS),
    (re.compile(r"(?:(?:0[xX])?[0-9a-fA-F]{2}[\s,:;-]{0,2}){4,}"), _from_hex, _LETTERS),
    (re.compile(r"(?:[01]{8}[\s,]{0,2}){3,}"), _from_binary, _NUMBERS),
    (re.compile(r"(?:\b\d{2,5}[\s,;]{1,2}){3,}\d{2,5}\b"), _from_decimal, _NUMBERS),
    (re.compile(r"[\U000E0020-\U000E007E]{3,}"), _from_tags, _TAGS),
)
