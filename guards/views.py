"""A text as nothing but canonical letters, in each of the ways it may be read.

What is found in a view is a candidate only: a view joins words, and takes every "1" for an "i".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.normaliser import ROT13, SYMBOLS, canonical, sign

_GAP, _NOTHING = " ", "\x01"
_MAX_TABLE = 1 << 16  # characters remembered by a table; rarer ones are looked up each time


@dataclass(frozen=True, slots=True)
class View:
    """Letters, and where each stands in the text.

    origins: [letters].  words: [letters], a number for each word, growing.  edges: [letters + 1],
    whether a phrase may begin or end before that letter.
    """

    letters: str
    origins: NDArray[np.int64]
    words: NDArray[np.int64]
    edges: NDArray[np.bool_]

    def reversed(self) -> "View":
        """Read from the end."""
        return View(self.letters[::-1], self.origins[::-1], self.words[::-1], self.edges[::-1])

    def with_words_reversed(self) -> "View":
        """Each word read from its end.  The origins stay, as those of whole words do."""
        size = len(self.words)
        order = np.lexsort((-np.arange(size), self.words))
        codes = np.frombuffer(self.letters.encode("utf-32-le", "surrogatepass"), "<u4")
        letters = codes[order].tobytes().decode("utf-32-le", "surrogatepass")
        return View(letters, self.origins, self.words, self.edges)


def views(text: str) -> Iterator[View]:
    """Every view of the text.  Linear in its length; never raises."""
    plain = _view(text, _PLAIN)
    yield plain
    yield plain.reversed()
    yield plain.with_words_reversed()
    yield _view(text, _ROT13)
    symbols = not SYMBOLS.isdisjoint(text)
    if symbols:
        yield _view(text, _PLAIN_SYMBOLS)
    if not text.isascii():
        glyphs = _view(text, _GLYPHS)
        if glyphs.letters != plain.letters:
            yield glyphs
        if symbols:
            yield _view(text, _GLYPHS_SYMBOLS)


class _Table(dict[int, str]):
    """Filled as characters are met: code point -> what stands for it in a view."""

    def __init__(self, reading: Callable[[str], str]) -> None:
        super().__init__()
        self._reading = reading

    def __missing__(self, code: int) -> str:
        read = self._reading(chr(code))
        if len(self) < _MAX_TABLE:
            self[code] = read
        return read


def _as_letters(char: str) -> str:
    found = sign(char)
    return canonical(found.letters) or (_GAP if found.gap else _NOTHING)


def _as_glyph(char: str) -> str:
    return canonical(sign(char).glyph) or _as_letters(char)


def _as_rot13(char: str) -> str:
    return (
        canonical(char.lower().translate(ROT13))
        if char.isalpha() and char.isascii()
        else _as_letters(char)
    )


def _with_symbols(reading: Callable[[str], str]) -> Callable[[str], str]:
    return lambda char: canonical(char) if char in SYMBOLS else reading(char)


_PLAIN, _GLYPHS, _ROT13 = _Table(_as_letters), _Table(_as_glyph), _Table(_as_rot13)
_PLAIN_SYMBOLS = _Table(_with_symbols(_as_letters))
_GLYPHS_SYMBOLS = _Table(_with_symbols(_as_glyph))


def _view(text: str, table: _Table) -> View:
    read = text.translate(table)
    places = np.arange(len(text))
    if len(read) != len(text):  # some character stands for several letters
        places = np.repeat(places, [len(table[ord(char)]) for char in text])
    codes = np.frombuffer(read.encode("utf-32-le", "surrogatepass"), "<u4")
    kept = codes > ord(_GAP)
    origins = places[kept]
    letters = codes[kept].tobytes().decode("utf-32-le", "surrogatepass")
    words = np.cumsum(codes == ord(_GAP))[kept]
    return View(letters, origins, words, _edges(text, origins, words))


def _edges(text: str, origins: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.bool_]:
    # More than the true boundaries: what is found is looked at again, character by character.
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")[origins]
    digits = (codes - ord("0")) < 10  # unsigned: wraps around below "0"
    other = (codes >= 0x0E00) | (codes < ord("0"))
    inner = words[1:] != words[:-1]
    inner |= digits[1:] != digits[:-1]
    inner |= other[1:] | other[:-1] | (codes[1:] > 0x7F) & (codes[:-1] < 0x3A)
    edges = np.ones(len(origins) + 1, dtype=np.bool_)
    if len(origins):
        edges[1:-1] = inner
    return edges
