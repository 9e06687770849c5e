"""Finds the subject's names in what a model writes, token by token, as soon as they can be told.

Corrupting a prompt alone fails once the answer names the subject: from there the model goes on from
memory.  So a guard follows the aliases into the answer.  A token is *covered* when the text, read
up to the token's end, ends inside an alias, or when an alias ends within the token.

A name cannot be known from its first letter, and need not be complete to be known.  A beginning of
an alias *tells* from the first of these on, and every longer one with it:

- where a word of the alias ends, after at least ``WORD_LETTERS`` letters: "Vorn" of "Vorn Ade";
- more than half of its letters, at least ``LEAST_LETTERS``: "Castel" of "Castellane";
- all of it.

A letter of a script written without spaces counts as three, and ends no word.  Where a token shows
that the word goes on otherwise ("Vornado"), the beginning does not tell.

Source: none; it closes the gap that embedding-corrupted prompts (Liu et al., 2024) leave open.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from guards.normaliser import is_unspaced
from guards.text_automaton import BLANK, NAMES, TextAutomaton, folded, is_word
from guards.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD_LETTERS = 4
LEAST_LETTERS = 3
_UNSPACED_LETTERS = 3
_MOST_KNOWN = 1 << 14  # tokens whose symbols are kept
_utf_8 = getincrementaldecoder("utf-8")
_OWN = frozenset({"inside", "over"})


def alias_tensors(aliases: Iterable[str]) -> "dict[str, NDArray[Any]]":
    """The tensors by which ``AliasFollower`` knows the aliases.

    Those of a ``TextAutomaton``, and for each of its nodes, uint8 [nodes]: ``inside``, whether a
    text that ends there ends inside an alias, and ``over``, whether it names one if the word ends.
    They hold the aliases, so that an artifact with them must be sealed.
    Raises ValueError where there is no alias, or one without letters.
    """
    texts = sorted({" ".join("".join(map(folded, alias)).split()) for alias in aliases})
    if not texts or not all(_letters(text) for text in texts):
        raise ValueError("aliases must be at least one, with letters or digits")
    automaton = TextAutomaton(texts)
    inside, over = np.zeros((2, automaton.nodes), np.uint8)
    for text in texts:
        first = _telling(text)
        for index, node in enumerate(_path(automaton, text)):
            inside[node] |= index >= first
            over[node] |= index >= first and _word_ends(text, index)
    tensors = automaton.tensors()
    # A text that ends with an alias ends with it whatever longer beginning it ends with too; what
    # a node fails to has a smaller number.
    for node, shorter in enumerate(tensors["fails"]):
        inside[node] |= inside[shorter]
        over[node] |= over[shorter]
    return {**tensors, "inside": inside, "over": over}


def check_alias_tensors(tensors: "Mapping[str, NDArray[Any]]") -> None:
    """Raise ValueError where they are not what ``alias_tensors`` returns."""
    if set(tensors) != NAMES | _OWN:
        raise ValueError("an alias follower has other tensors")
    nodes = TextAutomaton.from_tensors(tensors).nodes
    for name in _OWN:
        flags = tensors[name]
        if flags.dtype != np.uint8 or flags.shape != (nodes,) or (flags > 1).any():
            raise ValueError("an alias follower's flags do not fit its nodes")


class _Point(NamedTuple):
    """Where a text stands.  rest: bytes of a character that is not complete yet."""

    node: int
    rest: bytes


class _Piece(NamedTuple):
    """What a token adds.  symbols: of the characters that lie in it from first byte to last.

    length: how many of them are no blanks.  whole: whether there are no other bytes.
    """

    data: bytes
    symbols: tuple[int, ...]
    length: int
    whole: bool


class AliasFollower:
    """A ``Follower``.  Safe from several threads; it keeps nothing of any request."""

    def __init__(self, tensors: "Mapping[str, NDArray[Any]]", vocabulary: Vocabulary) -> None:
        self._automaton = TextAutomaton.from_tensors(tensors)
        self._inside = tensors["inside"].tobytes()
        self._over = tensors["over"].tobytes()
        self._pieces = vocabulary.pieces
        self._known: dict[int, _Piece] = {}

    def covers(self, history: "NDArray[np.int64]", first: int) -> "NDArray[np.bool_]":
        """For each of the tokens ``history[first:]``, whether it names the subject.

        history: [tokens], of which only as many before ``first`` are read as an alias can reach
        back.  Tokens without text (control tokens) are never covered and separate nothing.
        """
        point = _Point(self._automaton.start.node, b"")
        for token in history[self._start(history, first) : first].tolist():
            point, _ = self._read(point, token)
        covered = np.zeros(len(history) - first, np.bool_)
        for index, token in enumerate(history[first:].tolist()):
            point, covered[index] = self._read(point, token)
        return covered

    def _start(self, history: "NDArray[np.int64]", first: int) -> int:
        """From where the text must be read to be at the right node before ``history[first]``.

        Begun in the middle of a word, or of a character, a text differs from what it is by nothing
        after its first whole letter: one more than the longest alias has makes it forgotten.
        """
        missing = self._automaton.reach + 1
        start = first
        while start > 0 and missing > 0:
            start -= 1
            missing -= self._piece(int(history[start])).length
        return start

    def _read(self, point: _Point, token: int) -> tuple[_Point, bool]:
        """Where the text stands after the token, and whether the token is covered."""
        piece = self._piece(token)
        if not piece.data:
            return point, False
        symbols, rest = piece.symbols, b""
        if point.rest or not piece.whole:
            decoder = _utf_8("replace")
            symbols = self._spelled(decoder.decode(point.rest + piece.data))
            rest, _ = decoder.getstate()
        node, named = self._walk(point.node, symbols)
        return _Point(node, rest), named or self._inside[node] != 0

    def _walk(self, node: int, symbols: Sequence[int]) -> tuple[int, bool]:
        """The node after the symbols, and whether what tells was over within them."""
        automaton = self._automaton
        named = own = False
        for symbol in symbols:
            named |= own and symbol < automaton.breaks and self._over[node] != 0
            node, own = automaton.step(node, symbol), True
            named |= automaton.is_complete(node)
        return node, named

    def _piece(self, token: int) -> _Piece:
        known = self._known.get(token)
        if known is None:
            data = self._pieces[token] if 0 <= token < len(self._pieces) else b""
            text = data.decode("utf-8", "ignore")
            symbols = self._spelled(text)
            length = sum(symbol != BLANK for symbol in symbols)
            known = _Piece(data, symbols, length, text.encode() == data)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[token] = known
        return known

    def _spelled(self, text: str) -> tuple[int, ...]:
        return tuple(symbol for char in text for symbol in self._automaton.spelling(char))


# --- what tells ----------------------------------------------------------------------------------


def _telling(text: str) -> int:
    """Index of the character at which the shortest beginning that tells ends.  text: folded."""
    total = _letters(text)
    for index in range(len(text)):
        letters = _letters(text[: index + 1])
        most = 2 * letters > total and letters >= LEAST_LETTERS
        if most or (_word_ends(text, index) and letters >= WORD_LETTERS):
            return index
    return len(text) - 1


def _word_ends(text: str, index: int) -> bool:
    following = text[index + 1 : index + 2]
    return is_word(text[index]) and not (following and is_word(following))


def _letters(text: str) -> int:
    return sum(_UNSPACED_LETTERS if is_unspaced(c) else int(is_word(c)) for c in text)


def _path(automaton: TextAutomaton, text: str) -> Iterator[int]:
    """The node after each character of a phrase."""
    node = automaton.start.node
    for char in text:
        for symbol in automaton.spelling(char):
            node = automaton.step(node, symbol)
        yield node
