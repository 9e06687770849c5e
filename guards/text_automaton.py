"""Finding phrases in a text that comes as bytes, cut anywhere: one automaton for a whole list.

A text *contains* a phrase when its folded characters occur in the folded text with a word boundary
on each side where the phrase has a word character.  A boundary is the text's start or end, or any
character that is not a word character.

To wait for the boundary on the right is to let the last word be written in full.  A *closed* phrase
does not wait: it is complete at its last character, whatever follows.  That costs nothing where no
word goes on from there.  Whether a phrase is closed hangs on its last word alone, so that all
phrases that a text ends with at one place are closed, or none is.

Folding goes character by character (``folded``), so that it does not matter how a text is cut:
NFKC, case fold, without diacritics, invisible characters dropped, quotes and dashes of one sort.
A run of white space counts as one blank.  Word characters are letters, digits and their marks;
not those of scripts that are written without spaces, in which a phrase is found anywhere.
Bytes that are no UTF-8 count as U+FFFD, like a decoder that replaces, which is a boundary.

After Aho and Corasick, "Efficient string matching" (1975), over an alphabet in which the first
character of a word is another symbol than the same character inside a word: a match that begins
inside a word then has no path in the trie.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from codecs import utf_8_decode
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.normaliser import fold, is_unspaced

BLANK, OTHER_BREAK = 0, 1  # symbols: white space; a character that is in no phrase and no word
PAGE = 256  # characters in one page of the table
OUTSIDE, INSIDE = 0, 1  # nodes at which nothing is matched: before a word, in a word
NOTHING = -1  # in the table: a character that folds to nothing; below it, to several symbols
WAITS, CLOSED = 1, 2  # how a phrase ends: with a boundary, if in a word; at its last character

_CODES = 0x110000
_REPLACED = "\ufffd"
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("‘’‛ʼʹʻˈ′`´＇", "'"),
        **dict.fromkeys("“”„‟″«»＂", '"'),
        **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
    }
)

Array = NDArray[Any]


class State(NamedTuple):
    """Where a text stands.

    node: the longest beginning of a phrase that it ends with.  rest: bytes of a character that is
    not complete yet.  spent: what is matched in whole at ``node`` does not count when its boundary
    comes.
    """

    node: int = OUTSIDE
    rest: bytes = b""
    spent: bool = False


class TextAutomaton:
    """All phrases of one list.  Immutable; its arrays are what ``tensors`` returns.

    Symbols: 0 and 1 as above; other characters that are no word characters, below ``breaks``; from
    there two for each word character: inside a word (``breaks`` itself: any that is in no phrase),
    and, one more, as its first.
    Nodes are numbered level by level, the children of one in order of their symbols.
    """

    start = State()

    def __init__(self, phrases: Iterable[str], lexicon: Iterable[str] | None = None) -> None:
        """Compile.

        lexicon: known words (all of those in each entry).  A phrase is closed if its last word has
        a digit, or if none of them begins with that and is longer.  None: no phrase is closed.

        Raises ValueError for a phrase of which folding leaves nothing.
        """
        self._take(_compiled(phrases, lexicon))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> "TextAutomaton":
        """What ``tensors`` was called on.  Raises ValueError where they are no automaton."""
        made = cls.__new__(cls)
        made._take(checked(tensors))  # noqa: SLF001 - its own
        return made

    def tensors(self) -> dict[str, Array]:
        """Flat arrays, to be read only.

        sizes: int32 [2], ``breaks`` and the number of symbols.  pages: int32 [4352], for each 256
        characters their row in table: int32 [n, 256], a symbol, -1 for none, or -2 - i for those of
        spelling i: spellings int32 [m], spelled int32 [spellings + 1], where each begins.
        By node: symbols int32, its last; children int32 [nodes + 1], where its children begin;
        fails int32, the longest other node that it ends with; whole uint8, whether it is a whole
        phrase; ends uint8, whether it ends with one: 0, ``WAITS`` or ``CLOSED`` (in a word only);
        depths int32; near float32, see ``progress``.
        reach: int32 [1], how many symbols that are no blanks the longest phrase has.
        """
        return dict(self._arrays)

    def _take(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = dict(arrays)
        self.breaks = int(arrays["sizes"][0])
        self.alphabet = int(arrays["sizes"][1])
        self.nodes = len(arrays["symbols"])
        self.reach = int(arrays["reach"][0])
        # Views that give Python's own numbers: much faster one by one than an array's.
        self._symbols = _view(arrays["symbols"])
        self._children = _view(arrays["children"])
        self._fails = _view(arrays["fails"])
        self._ends = _view(arrays["ends"])
        self._spells: dict[str, tuple[int, ...]] = {}

    # --- a text, bytes by bytes ------------------------------------------------------------------

    def advance(self, state: State, data: bytes) -> State:
        """The state after these bytes."""
        return self.read(state, data)[0]

    def found(self, before: State, data: bytes) -> bool:
        """Whether these bytes complete a phrase: its last character, or the boundary after it."""
        return self.read(before, data)[1]

    def ending(self, state: State) -> bool:
        """Whether the text contains a phrase that is complete only if it ends here."""
        return not state.spent and self.is_pending(state.node)

    def read(self, state: State, data: bytes) -> tuple[State, bool]:
        """The state after these bytes, and whether they completed a phrase."""
        text, used = utf_8_decode(state.rest + data, "replace", False)  # noqa: FBT003 - not final
        rest = (state.rest + data)[used:]
        node, spent, complete = state.node, state.spent, False
        for char in text:
            for symbol in self._spells.get(char) or self.spelling(char):
                complete |= not spent and symbol < self.breaks and self.is_pending(node)
                node, spent = self.step(node, symbol), False
                complete |= self.is_complete(node)
        return State(node, rest, spent), complete

    def matched(self, state: State) -> int:
        """How many symbols of a phrase the text ends with; 0: of none."""
        return int(self._arrays["depths"][state.node])

    def progress(self, state: State) -> float:
        """The matched share of the phrase that is nearest to completion; 1: only the boundary
        after it may be missing.
        """
        return float(self._arrays["near"][state.node])

    # --- symbol by symbol ------------------------------------------------------------------------

    def spelling(self, char: str) -> tuple[int, ...]:
        """The symbols of a character, as inside a word."""
        page = self._arrays["pages"][ord(char) // PAGE]
        value = int(self._arrays["table"][page, ord(char) % PAGE])
        if value < NOTHING:
            first, last = self._arrays["spelled"][NOTHING - 1 - value :][:2]
            found = tuple(int(symbol) for symbol in self._arrays["spellings"][first:last])
        else:
            found = () if value == NOTHING else (value,)
        if len(self._spells) < 1 << 16:
            self._spells[char] = found
        return found

    def step(self, node: int, symbol: int) -> int:
        """The node after one more symbol, given as inside a word."""
        last = self._symbols[node]
        if symbol == BLANK == last:
            return node
        if symbol >= self.breaks and last < self.breaks:
            symbol += 1
        while True:
            first, end = self._children[node], self._children[node + 1]
            child = bisect_left(self._symbols, symbol, first, end)
            if child < end and self._symbols[child] == symbol:
                return child
            if node == OUTSIDE:
                return INSIDE if symbol >= self.breaks else OUTSIDE
            node = self._fails[node]

    def in_word(self, node: int) -> bool:
        """Whether the character before is a word character."""
        return self._symbols[node] >= self.breaks

    def is_pending(self, node: int) -> bool:
        """Whether a phrase is complete there if a boundary follows."""
        return self._ends[node] == WAITS and self._symbols[node] >= self.breaks

    def is_complete(self, node: int) -> bool:
        """Whether a phrase is complete there that needs no boundary."""
        ends = self._ends[node]
        return ends == CLOSED or (ends != 0 and self._symbols[node] < self.breaks)

    def wholes(self) -> frozenset[int]:
        """Nodes at which a phrase is matched from its beginning to its last character."""
        return frozenset(np.flatnonzero(self._arrays["whole"]).tolist())

    def chain(self, node: int) -> list[int]:
        """The node and all others that it ends with, longest first; none of nothing matched."""
        found = []
        while node > INSIDE:
            found.append(node)
            node = self._fails[node]
        return found


def _view(array: Array) -> Sequence[int]:
    contiguous: Any = np.ascontiguousarray(array)
    return memoryview(contiguous)


# --- compiling -----------------------------------------------------------------------------------


def _compiled(phrases: Iterable[str], lexicon: Iterable[str] | None) -> dict[str, Array]:
    texts = sorted({_one_blank(_folded(phrase)) for phrase in phrases})
    known = (
        None if lexicon is None else sorted({w for each in lexicon for w in _words(_folded(each))})
    )
    if "" in texts or any(_REPLACED in text for text in texts):
        raise ValueError("a phrase without characters cannot be found in a text")
    alphabet = sorted(set("".join(texts)) - {" "})
    plain = [char for char in alphabet if not is_word(char)]
    words = [char for char in alphabet if is_word(char)]
    breaks = 2 + len(plain)
    symbols = {" ": BLANK}
    symbols |= {char: 2 + index for index, char in enumerate(plain)}
    symbols |= {char: breaks + 2 + 2 * index for index, char in enumerate(words)}
    encoded = {_encoded(text, symbols, breaks): _end_of(text, known) for text in texts}
    return {
        **_table(symbols, breaks),
        **_trie(encoded, breaks),
        "sizes": np.array([breaks, breaks + 2 + 2 * len(words)], np.int32),
    }


# --- folding -------------------------------------------------------------------------------------


def folded(char: str) -> str:
    """What a character stands for; "" for an invisible one, blanks for white space."""
    char = char.translate(_ALIKE)
    letters = fold(char)
    if letters.strip():
        # Composed again: a syllable or a voiced kana is a letter of its own.
        return unicodedata.normalize("NFC", letters)
    if not letters or char.isspace():
        return letters[:1]
    signs = unicodedata.normalize("NFKC", char).translate(_ALIKE)
    signs = "".join(sign for sign in signs if fold(sign) == " ")
    return signs if signs.strip() else char


def is_word(char: str) -> bool:
    """Whether a folded character is one of a word that ends at a boundary."""
    return unicodedata.category(char)[0] in "LNM" and not is_unspaced(char)


def _folded(text: str) -> str:
    return "".join(map(folded, text))


def _words(text: str) -> list[str]:
    """text: folded."""
    return "".join(char if is_word(char) else " " for char in text).split()


def _end_of(phrase: str, known: Sequence[str] | None) -> int:
    """How a folded phrase ends.  known: words, sorted; None: none is asked for."""
    if known is None or not is_word(phrase[-1]):
        return WAITS
    last = _words(phrase)[-1]
    longer = bisect_right(known, last)
    goes_on = longer < len(known) and known[longer].startswith(last)
    has_digit = any(unicodedata.category(char)[0] == "N" for char in last)
    return CLOSED if has_digit or not goes_on else WAITS


def _one_blank(text: str) -> str:
    return " ".join(part for part in text.split() if part)


def _encoded(text: str, symbols: Mapping[str, int], breaks: int) -> tuple[int, ...]:
    found: list[int] = []
    for char in text:
        symbol = symbols[char]
        first = symbol >= breaks and (not found or found[-1] < breaks)
        found.append(symbol + first)
    return tuple(found)


class _Unicode(NamedTuple):
    """What every character folds to.

    single: by character, the one that it folds to, or -1.  word: whether that is of a word.
    several: apart, those that fold to more than one.
    """

    single: NDArray[np.int32]
    word: NDArray[np.bool_]
    several: dict[int, str]


@lru_cache(maxsize=1)
def _unicode() -> _Unicode:
    found = _Unicode(np.arange(_CODES, dtype=np.int32), np.zeros(_CODES, np.bool_), {})
    for code in range(_CODES):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Cn", "Co", "Cs"):
            continue
        if not (category == "Lo" and _stands_for_itself(char)):
            text = folded(char)
            if len(text) > 1:
                found.several[code] = text
            found.single[code] = ord(text) if len(text) == 1 else -1
            char = text
        found.word[code] = len(char) == 1 and is_word(char)
    return found


def _stands_for_itself(char: str) -> bool:
    # Ideographs and syllables: most of all characters, and nothing about them folds.
    vast = "\u3400" <= char <= "\ud7a3" or char >= "\U00020000"
    return vast and not unicodedata.decomposition(char)


class _Unnamed(NamedTuple):
    """The table of no phrases, with ``_WORD`` for any word character; and who folds to whom.

    codes: all characters, sorted by ``targets``, what each folds to.
    """

    rows: NDArray[np.int32]
    pages: NDArray[np.int32]
    targets: NDArray[np.int32]
    codes: NDArray[np.int32]


_WORD = 2


@lru_cache(maxsize=1)
def _unnamed() -> _Unnamed:
    single, word, _ = _unicode()
    table = np.where(word, _WORD, np.where(single < 0, NOTHING, OTHER_BREAK))
    rows, pages = np.unique(table.reshape(-1, PAGE), axis=0, return_inverse=True)
    codes = np.argsort(single, kind="stable")
    return _Unnamed(
        rows.astype(np.int32),
        pages.reshape(-1).astype(np.int32),
        single[codes],
        codes.astype(np.int32),
    )


def _table(symbols: Mapping[str, int], breaks: int) -> dict[str, Array]:
    known = _unnamed()
    values: dict[int, int] = {}
    for char, symbol in symbols.items():
        first, last = np.searchsorted(known.targets, (ord(char), ord(char) + 1))
        values |= dict.fromkeys(known.codes[first:last].tolist(), symbol)
    spellings: dict[tuple[int, ...], int] = {}
    for code, text in _unicode().several.items():
        others = (breaks if is_word(char) else OTHER_BREAK for char in text)
        spelling = tuple(symbols.get(c, other) for c, other in zip(text, others, strict=True))
        values[code] = NOTHING - 1 - spellings.setdefault(spelling, len(spellings))
    codes = np.array(list(values), np.int32)
    named = np.unique(codes // PAGE)  # every other page is as it is without phrases
    rows = np.concatenate([known.rows, known.rows[known.pages[named]]])
    rows[rows == _WORD] = breaks
    pages = known.pages.copy()
    pages[named] = len(known.rows) + np.arange(len(named), dtype=np.int32)
    rows[pages[codes // PAGE], codes % PAGE] = list(values.values())
    return {
        "pages": pages,
        "table": rows,
        "spellings": np.array([s for each in spellings for s in each], np.int32),
        "spelled": np.cumsum([0, *map(len, spellings)]).astype(np.int32),
    }


# --- the trie ------------------------------------------------------------------------------------


def _trie(phrases: Mapping[tuple[int, ...], int], breaks: int) -> dict[str, Array]:
    """phrases: symbols of each, and how it ends."""
    nodes = _Nodes([1, breaks], [0, 0], [0, 0])
    level: list[tuple[int, list[tuple[int, ...]]]] = [(OUTSIDE, list(phrases)), (INSIDE, [])]
    children: list[int] = []
    own: list[int] = []
    while level:
        following: list[tuple[int, list[tuple[int, ...]]]] = []
        for node, passing in level:
            depth = nodes.depths[node]
            own.append(max((phrases[p] for p in passing if len(p) == depth), default=0))
            children.append(len(nodes.symbols))
            branches: dict[int, list[tuple[int, ...]]] = {}
            for phrase in passing:
                if len(phrase) > depth:
                    branches.setdefault(phrase[depth], []).append(phrase)
            following += [(nodes.add(s, node), branches[s]) for s in sorted(branches)]
        level = following
    children.append(len(nodes.symbols))
    fails = _fails(nodes, children)
    return {
        "symbols": np.array(nodes.symbols, np.int32),
        "children": np.array(children, np.int32),
        "fails": np.array(fails, np.int32),
        "depths": np.array(nodes.depths, np.int32),
        "whole": (np.array(own) > 0).astype(np.uint8),
        "ends": _inherited(own, fails).astype(np.uint8),
        "near": _inherited(_shares(nodes, own), fails).astype(np.float32),
        "reach": np.array([max(sum(s != BLANK for s in p) for p in (*phrases, ()))], np.int32),
    }


class _Nodes(NamedTuple):
    symbols: list[int]
    parents: list[int]
    depths: list[int]

    def add(self, symbol: int, parent: int) -> int:
        self.symbols.append(symbol)
        self.parents.append(parent)
        self.depths.append(self.depths[parent] + 1)
        return len(self.symbols) - 1


def _fails(nodes: _Nodes, children: Sequence[int]) -> list[int]:
    fails = [OUTSIDE] * len(nodes.symbols)
    for node in range(INSIDE + 1, len(nodes.symbols)):
        symbol, shorter = nodes.symbols[node], nodes.parents[node]
        while shorter != OUTSIDE:
            shorter = fails[shorter]
            child = bisect_left(nodes.symbols, symbol, children[shorter], children[shorter + 1])
            if child < children[shorter + 1] and nodes.symbols[child] == symbol:
                fails[node] = child
                break
    return fails


def _shares(nodes: _Nodes, own: Sequence[int]) -> list[float]:
    far = len(nodes.symbols)
    missing = [0 if ends else far for ends in own]
    for node in range(len(own) - 1, INSIDE, -1):
        parent = nodes.parents[node]
        missing[parent] = min(missing[parent], missing[node] + 1)
    return [d / (d + m) if d else 0.0 for d, m in zip(nodes.depths, missing, strict=True)]


def _inherited(values: Sequence[float], fails: Sequence[int]) -> Array:
    """The greatest value of a node and of all that it ends with."""
    found = list(values)
    for node, shorter in enumerate(fails):  # the shorter one has the smaller number
        found[node] = max(found[node], found[shorter])
    return np.array(found)


# --- reading -------------------------------------------------------------------------------------

NAMES = frozenset(
    {"sizes", "pages", "table", "spellings", "spelled", "symbols", "children", "fails", "ends"}
    | {"whole", "depths", "near", "reach"}
)
_TYPES = {"whole": np.uint8, "ends": np.uint8, "near": np.float32}


def checked(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Those of an automaton among the tensors.

    Raises ValueError where one is missing, or where walking them could leave them or never end.
    """
    arrays = {name: tensors[name] for name in NAMES if name in tensors}
    if len(arrays) != len(NAMES):
        raise ValueError("a text automaton's tensors are missing")
    for name, array in arrays.items():
        if array.dtype != _TYPES.get(name, np.int32) or array.ndim != 1 + (name == "table"):
            raise ValueError("a text automaton's tensors have other types or shapes")
    if not (_characters_fit(arrays) and _nodes_fit(arrays)):
        raise ValueError("a text automaton's tensors do not fit together")
    return arrays


def _characters_fit(arrays: Mapping[str, Array]) -> bool:
    pages, table, sizes = arrays["pages"], arrays["table"], arrays["sizes"]
    spellings, spelled = arrays["spellings"], arrays["spelled"]
    return (
        sizes.shape == (2,)
        and 2 <= sizes[0] < sizes[1]
        and pages.shape == (_CODES // PAGE,)
        and table.shape[1] == PAGE
        and _within(pages, 0, len(table))
        and _within(table, NOTHING - len(spelled) + 1, int(sizes[1]) - 1)
        and _within(spellings, 0, int(sizes[1]) - 1)
        and _ascends(spelled, 0, len(spellings))
    )


def _nodes_fit(arrays: Mapping[str, Array]) -> bool:
    symbols, fails, near = arrays["symbols"], arrays["fails"], arrays["near"]
    count = len(symbols)
    ends, depths, whole = arrays["ends"], arrays["depths"], arrays["whole"]
    return (
        count >= 2
        and {a.shape for a in (fails, ends, depths, near, whole)} == {(count,)}
        and arrays["children"].shape == (count + 1,)
        and arrays["reach"].shape == (1,)
        and symbols[OUTSIDE] == OTHER_BREAK
        and symbols[INSIDE] == arrays["sizes"][0]
        and _within(symbols, 0, int(arrays["sizes"][1]))
        and _ascends(arrays["children"], 2, count)
        and fails[OUTSIDE] == OUTSIDE
        and bool((fails[1:] < np.arange(1, count)).all())
        and _within(fails, 0, count)
        and _within(ends, 0, CLOSED + 1)
        and bool((symbols[ends == CLOSED] >= arrays["sizes"][0]).all())
        and bool(np.isfinite(near).all())
    )


def _within(values: Array, low: int, high: int) -> bool:
    return not len(values) or bool(values.min() >= low and values.max() < high)


def _ascends(values: Array, first: int, last: int) -> bool:
    return (
        len(values) > 0
        and values[0] == first
        and values[-1] == last
        and bool((np.diff(values) >= 0).all())
    )
