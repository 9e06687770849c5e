"""Ban every token that would complete a phrase, however the text is cut into tokens.

Source: GUARD (arXiv 2505.13312): its token-level constraint, an infinite penalty on a token that
completes a forbidden phrase, and in place of its beam search a soft look-ahead (``approach``).
Matched is the text (``guards.text_automaton``), so no other segmentation of a phrase gets past.

A token completes a phrase that began at a node of the automaton where the token's text begins with
what is missing there.  These tokens are listed, offline, for each node alone.  What is banned at a
node is the union over all that the node ends with, which few nodes do; tokens with a whole phrase
inside are listed once; and what ends a word, which completes a phrase that waits for a boundary,
is one mask.

Where no known word goes on from the last word of a phrase, it is *closed*: it is complete at its
last character, so that this one is never written (``compiled``, ``lexicon``).
"""

import secrets
from bisect import bisect_left
from codecs import utf_8_decode
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.case import Case, Edit, Match
from guards.needs import Needs
from guards.points import DeviceTokens, EngineModel, History, OnLogits
from guards.tensor_checks import is_number, manifest_of, require
from guards.text_automaton import BLANK, INSIDE, NAMES, OUTSIDE, State, TextAutomaton, checked
from guards.vocabulary import Led, Vocabulary
from models.artifact import Artifact

if TYPE_CHECKING:
    from torch import Tensor

    from guards.ban_kernel import Tables

NAME = "token_filter"
CANDIDATES = 32  # likeliest tokens that the soft look-ahead looks at
_KEYS = {"vocabulary", "approach", "blind"}
_TABLES = frozenset({"own_starts", "own_tokens", "inner", "inner_inside", "closing", "counts"})
_BIAS = frozenset({"bias_tokens", "bias"})
_BYTES = frozenset({"closing", "counts"})
_MOST_NATS = 1e6
_MOST_KEPT = 4_000_000  # token ids in the sets that are remembered
_PROBES = 64
_LAST = "\U0010ffff"  # sorts behind every symbol

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class TokenFilter(OnLogits):
    """Let no answer contain a phrase of the artifact.

    artifact: digest of an artifact made of ``compiled``, sealed.
    """

    NEEDS = Needs(points=frozenset({"logits"}), history=True)

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit that names no position: it is about whatever will be generated."""
        del match
        return case.edited(Edit(NAME, self.artifact, ()))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not a token filter of format 1."""
        value = manifest_of(artifact, NAME, _KEYS)
        require(isinstance(value["vocabulary"], str), "vocabulary must be a digest")
        require(isinstance(value["blind"], str), "blind must be text")
        approach = value["approach"]
        require(is_number(approach) and 0 <= approach <= _MOST_NATS, "approach out of range")
        tensors = artifact.tensors
        require(
            set(tensors) in (NAMES | _TABLES, NAMES | _TABLES | _BIAS),
            "other tensors than those of a token filter",
        )
        checked(tensors)
        for name in set(tensors) - NAMES:
            kind = np.uint8 if name in _BYTES else np.float32 if name == "bias" else np.int32
            require(
                tensors[name].dtype == kind and tensors[name].ndim == 1,
                "a tensor is of another type or shape",
            )
        _check_tables(tensors)

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> "BoundFilter":
        """Ready to act.  Raises ValueError where the artifact is not for this vocabulary."""
        if artifact.manifest["vocabulary"] != model.vocabulary.digest:
            raise ValueError("made for another vocabulary")
        if len(artifact.tensors["closing"]) != model.vocabulary.size:
            raise ValueError("made for another output layer")
        return BoundFilter(artifact, model)


def _check_tables(tensors: Mapping[str, NDArray[Any]]) -> None:
    size, starts = len(tensors["closing"]), tensors["own_starts"]
    fits = (
        len(tensors["counts"]) == size
        and len(starts) == len(tensors["symbols"]) + 1
        and starts[0] == 0
        and starts[-1] == len(tensors["own_tokens"])
        and (np.diff(starts) >= 0).all()
    )
    require(fits, "the tables of a token filter do not fit together")
    for name in ("own_tokens", "inner", "inner_inside", "bias_tokens"):
        tokens = tensors.get(name, np.zeros(0, np.int32))
        require(((tokens >= 0) & (tokens < size)).all(), "a token id out of range")
        rising = name == "own_tokens" or (np.diff(tokens) > 0).all()
        require(rising, "token ids must increase")
    if "bias" in tensors:
        bias = tensors["bias"]
        require(bias.shape == tensors["bias_tokens"].shape, "each bias is of one token")
        require((bias >= 0).all(), "a bias is at least 0")  # false for what is no number, too


# --- offline -------------------------------------------------------------------------------------


def compiled(
    phrases: Iterable[str],
    vocabulary: Vocabulary,
    *,
    lexicon: Collection[str] | None = None,
    approach: float = 0.0,
    bias_tokens: Sequence[int] | NDArray[np.int32] = (),
    bias: Sequence[float] | NDArray[np.float32] = (),
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Manifest and tensors of a filter, to be stored sealed: they tell the phrases.

    lexicon: known words.  A phrase whose last word has a digit, or from whose last word no longer
    one of these goes on, is complete at its last character; the others, and without a lexicon all,
    only where that word ends.
    approach: nats to take from a token that completes a phrase but for its end, and in proportion
    from one that brings a phrase nearer; looked at are the ``CANDIDATES`` likeliest tokens.
    bias_tokens, bias: [n], nats to take from the logit of each, at every step; infinite: banned.
    Raises ValueError for a phrase of nothing, or for what ``check`` would refuse.

    Tensors, besides the automaton's: own_tokens int32 [k], and own_starts int32 [nodes + 1], where
    those of each node begin.  inner, inner_inside: int32, tokens with a whole phrase inside, before
    a word and in one.  By token, uint8 [size]: closing, whether a phrase that waits for a boundary
    is complete before it; counts, symbols that it adds for certain, blanks not counted, up to 255.
    """
    automaton = TextAutomaton(phrases, lexicon)
    manifest = {
        "format": 1,
        "guard": NAME,
        "vocabulary": vocabulary.digest,
        "approach": float(approach),
        "blind": secrets.token_hex(32),
    }
    tensors = {**automaton.tensors(), **_tables(automaton, vocabulary)}
    if len(bias_tokens):
        tensors["bias_tokens"] = np.asarray(bias_tokens, np.int32)
        tensors["bias"] = np.asarray(bias, np.float32)
    TokenFilter.check(Artifact("", {**manifest, "tensors": None}, tensors))
    return manifest, tensors


def _tables(automaton: TextAutomaton, vocabulary: Vocabulary) -> dict[str, NDArray[Any]]:
    texts = [_written(automaton, piece) for piece in vocabulary.pieces]
    closing = np.ones(vocabulary.size, np.uint8)
    counts = np.zeros(vocabulary.size, np.uint8)
    for token, piece in enumerate(vocabulary.pieces):
        if piece:
            closing[token] = texts[token] != "" and ord(texts[token][0]) < automaton.breaks
            counts[token] = _certain(automaton, piece, texts[token])
    closing[sorted(vocabulary.ends)] = 1
    before = [
        token
        for token, piece in enumerate(vocabulary.pieces)
        if automaton.found(State(OUTSIDE), piece)
    ]
    inside = [t for t in before if automaton.found(State(INSIDE), vocabulary.pieces[t])]
    return {
        **_own(automaton, texts),
        "inner": np.array(before, np.int32),
        "inner_inside": np.array(inside, np.int32),
        "closing": closing,
        "counts": counts,
    }


def _written(automaton: TextAutomaton, piece: bytes) -> str:
    """A token's symbols as characters, as it stands before a word: of whole characters only."""
    found: list[int] = []
    for char in utf_8_decode(piece, "replace", False)[0]:  # noqa: FBT003 - not final
        for symbol in automaton.spelling(char):
            if symbol == BLANK and found and found[-1] == BLANK:
                continue
            first = symbol >= automaton.breaks and (not found or found[-1] < automaton.breaks)
            found.append(symbol + first)
    return "".join(map(chr, found))


def _certain(automaton: TextAutomaton, piece: bytes, text: str) -> int:
    if not piece.isascii():
        # Bytes at its edges may belong to characters of its neighbours.
        text = _written(automaton, piece.decode(errors="ignore").encode())
    return min(255, sum(ord(symbol) != BLANK for symbol in text))


class _Sorted(NamedTuple):
    """The vocabulary's texts in order, and the token of each."""

    texts: list[str]
    tokens: NDArray[np.int32]

    @staticmethod
    def of(texts: Iterable[str]) -> "_Sorted":
        order = sorted((text, token) for token, text in enumerate(texts) if text)
        tokens = np.array([token for _, token in order], np.int32)
        return _Sorted([text for text, _ in order], tokens)

    def between(self, low: str, high: str) -> NDArray[np.int32]:
        first = bisect_left(self.texts, low)
        return self.tokens[first : bisect_left(self.texts, high, first)]


def _own(automaton: TextAutomaton, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """For each node, the tokens that complete a phrase that began with what is matched there."""
    breaks = automaton.breaks
    blank = chr(BLANK)
    # A token reads differently inside a word, and blanks after a blank are none.
    inside = _Sorted.of(
        chr(ord(text[0]) - 1) + text[1:] if text and ord(text[0]) >= breaks else text
        for text in texts
    )
    after_blank = _Sorted.of(text.removeprefix(blank) for text in texts)
    after_sign = _Sorted.of(texts)
    longest = max(map(len, texts), default=0)
    found: dict[int, list[NDArray[np.int32]]] = {}
    for nodes, whole, phrase in _paths(automaton):
        waits = automaton.is_pending(whole)
        for node, at in zip(nodes, range(1, len(phrase)), strict=True):
            missing = phrase[at:]
            if len(missing) > longest:
                continue
            last = ord(phrase[at - 1])
            table = inside if last >= breaks else after_blank if last == BLANK else after_sign
            # Where the phrase waits for its word's end, the token has to go on with what ends it.
            low, high = (chr(0), chr(breaks)) if waits else ("", _LAST)
            tokens = table.between(missing + low, missing + high)
            if len(tokens):
                found.setdefault(node, []).append(tokens)
    own = [
        np.unique(np.concatenate(found[node])) if node in found else np.zeros(0, np.int32)
        for node in range(automaton.nodes)
    ]
    return {
        "own_starts": np.cumsum([0, *map(len, own)]).astype(np.int32),
        "own_tokens": np.concatenate(own).astype(np.int32),
    }


def _paths(automaton: TextAutomaton) -> Iterable[tuple[list[int], int, str]]:
    """Each phrase as characters, the nodes on the way to its last, and the node of that."""
    tensors = automaton.tensors()
    children, symbols = tensors["children"].tolist(), tensors["symbols"].tolist()
    wholes = automaton.wholes()
    stack: list[tuple[int, list[int], str]] = [(OUTSIDE, [], "")]
    while stack:
        node, passed, text = stack.pop()
        if node in wholes:
            yield passed, node, text
        way = [*passed, node] if node != OUTSIDE else []
        stack += [
            (child, way, text + chr(symbols[child]))
            for child in range(children[node], children[node + 1])
        ]


# --- at run time ---------------------------------------------------------------------------------


class Banned(NamedTuple):
    """What is banned at one state.  tokens: ids.  closing: whatever is in that mask, too."""

    tokens: Tokens
    closing: bool


class _Group(NamedTuple):
    """Tokens that may continue a character, as one artifact sees them.

    longer: those that have anything after it.  inner, inner_inside: those with a phrase in that,
    before a word and in one.
    """

    led: Led
    longer: Tokens
    inner: Tokens
    inner_inside: Tokens

    @staticmethod
    def of(led: Led, found: TextAutomaton) -> "_Group":
        def where(holds: Callable[[bytes], bool]) -> Tokens:
            return led.tokens[np.array([holds(rest) for rest in led.rests], np.bool_)]

        return _Group(
            led,
            where(bool),
            where(lambda rest: found.found(State(OUTSIDE), rest)),
            where(lambda rest: found.found(State(INSIDE), rest)),
        )


class BannedTokens:
    """Which tokens would complete a phrase: the part of the filter that knows no logits."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], vocabulary: Vocabulary) -> None:
        self.automaton = TextAutomaton.from_tensors(tensors)
        self.pieces = vocabulary.padded
        self.closing: NDArray[np.bool_] = tensors["closing"].astype(np.bool_)
        self._own_starts: Any = tensors["own_starts"]
        self._own_tokens: NDArray[np.int32] = tensors["own_tokens"]
        self._inner = tensors["inner"].astype(np.int64)
        self._inner_inside = tensors["inner_inside"].astype(np.int64)
        self._groups = tuple(_Group.of(led, self.automaton) for led in vocabulary.led)
        self._strays = vocabulary.strays
        self._kept: OrderedDict[State, Banned] = OrderedDict()
        self._held = 0

    def at(self, state: State) -> Banned:
        """What is banned there."""
        found = self._kept.get(state)
        if found is None:
            found = self._after_part(state) if state.rest else self._after_whole(state)
            self._keep(state, found)
        return found

    def _keep(self, state: State, found: Banned) -> None:
        self._kept[state] = found
        self._held += len(found.tokens) + 1
        while self._held > _MOST_KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest.tokens) + 1

    def _after_whole(self, state: State) -> Banned:
        automaton = self.automaton
        lists = [self._inner_inside if automaton.in_word(state.node) else self._inner]
        for node in automaton.chain(state.node):
            first, last = self._own_starts[node], self._own_starts[node + 1]
            if first < last:
                lists.append(self._own_tokens[first:last].astype(np.int64))
        tokens = lists[0] if len(lists) == 1 else np.unique(np.concatenate(lists))
        return Banned(tokens, automaton.ending(state))

    def _after_part(self, state: State) -> Banned:
        """Where bytes of a character wait for the others: all else makes of them a boundary."""
        automaton = self.automaton
        if automaton.ending(state):
            banned = ~self._strays
        else:
            banned = np.zeros(len(self.pieces), np.bool_)
            banned[self._inner] = True
            banned &= ~self._strays
        for group in self._groups:
            banned[self._of_group(group, state)] = True
        return Banned(np.flatnonzero(banned), closing=False)

    def _of_group(self, group: _Group, state: State) -> Tokens:
        automaton = self.automaton
        after, complete = automaton.read(state, group.led.lead)
        if complete:
            return group.led.tokens
        if after.rest:  # what follows makes a boundary of it
            return group.longer if automaton.ending(after) else group.inner
        if after.node in (OUTSIDE, INSIDE):
            return group.inner if after.node == OUTSIDE else group.inner_inside
        held = [automaton.found(after, rest) for rest in group.led.rests]
        return group.led.tokens[np.array(held, np.bool_)]


@dataclass(slots=True)
class _Trail:
    """Where one request stood.

    length: of its output.  tail: the last of these tokens, enough to settle the state.  certain:
    how many symbols they add for certain.
    """

    length: int
    tail: list[int]
    certain: int
    state: State = field(default_factory=State)


class States:
    """The state of each request, worked out from as few tokens as settle it.

    A control token ends what the prompt had; in the output it adds nothing to the text.
    """

    def __init__(
        self, automaton: TextAutomaton, pieces: Sequence[bytes], counts: NDArray[np.uint8]
    ) -> None:
        self._automaton = automaton
        self._pieces = pieces
        self._counts = counts.tolist()
        self._trails: dict[str, _Trail] = {}

    def of(self, history: History) -> State:
        """The state after prompt and output."""
        trail = self._trails.get(history.key)
        if trail is None or not self._grown(trail, history.output):
            trail = self._trails[history.key] = self._read(history)
        return trail.state

    def forget(self, key: str) -> None:
        """Drop what is kept of a request."""
        self._trails.pop(key, None)

    def _grown(self, trail: _Trail, output: Sequence[int]) -> bool:
        """Bring the trail up to the output if that is the one it knows, or one token longer."""
        start = trail.length - len(trail.tail)
        if not 0 <= len(output) - trail.length <= 1:
            return False
        if list(output[start : trail.length]) != trail.tail:
            return False
        if len(output) > trail.length:
            token = int(output[-1])
            trail.state = self._automaton.advance(trail.state, self._pieces[token])
            trail.length += 1
            trail.tail.append(token)
            trail.certain += self._counts[token]
            while trail.certain - self._counts[trail.tail[0]] > self._automaton.reach:
                trail.certain -= self._counts[trail.tail.pop(0)]
        return True

    def _read(self, history: History) -> _Trail:
        output = [int(token) for token in history.output]
        first, certain = self._settling(output, 0)
        state = State()
        if first == 0:
            start, _ = self._settling(history.prompt, certain, stop=True)
            prompt = b"".join([self._pieces[token] for token in history.prompt[start:]])
            state = self._automaton.advance(state, prompt)
            # What the prompt has in whole is no reason to ban anything.
            state = state._replace(spent=self._automaton.is_pending(state.node))
        state = self._automaton.advance(state, b"".join([self._pieces[t] for t in output[first:]]))
        return _Trail(len(output), output[first:], certain, state)

    def _settling(
        self, tokens: Sequence[int], certain: int, *, stop: bool = False
    ) -> tuple[int, int]:
        """From where on the tokens settle the state, and how many symbols these add for certain.

        One symbol more than any phrase has: then what came before them, and bytes cut from a
        character at their beginning, cannot be part of what is matched at their end.
        """
        at = len(tokens)
        while at > 0 and certain <= self._automaton.reach:
            if stop and not self._pieces[tokens[at - 1]]:
                break
            at -= 1
            certain += self._counts[tokens[at]]
        return at, certain


class BoundFilter:
    """A token filter in one engine."""

    def __init__(self, artifact: Artifact, model: EngineModel) -> None:
        import torch

        tensors = artifact.tensors
        self.banned = BannedTokens(tensors, model.vocabulary)
        self.states = States(self.banned.automaton, self.banned.pieces, tensors["counts"])
        self._approach = float(artifact.manifest["approach"])
        device = model.device
        self._closing = torch.from_numpy(self.banned.closing).to(device)
        self._ends = torch.tensor(sorted(model.vocabulary.ends), dtype=torch.long, device=device)
        size = model.vocabulary.size
        self._probes = torch.arange(0, size, max(1, size // _PROBES), device=device)
        self._bias: tuple[Tensor, Tensor] | None = None
        self._tables: Tables | None = None
        if model.tokens_on_device and not self._approach:
            from guards import ban_kernel

            self._tables = ban_kernel.Tables.of(artifact, model.vocabulary, device)
        if "bias" in tensors:
            tokens = torch.from_numpy(tensors["bias_tokens"].astype(np.int64)).to(device)
            self._bias = tokens, torch.tensor(tensors["bias"]).to(device)

    def apply(self, logits: "Tensor", histories: Sequence[History]) -> None:
        """See ``LogitsEdit``.  A row in which nothing is left keeps the tokens that end a reply."""
        ends = logits[:, self._ends]
        states = [self.states.of(history) for history in histories]
        self._ban(logits, states)
        if self._bias:
            tokens, nats = self._bias
            logits[:, tokens] -= nats
        if self._approach:
            self._lower(logits, states)
        self._leave_ends(logits, ends)

    @property
    def on_device(self) -> bool:
        """Whether the kernel is ready; it has no look-ahead."""
        return self._tables is not None

    def apply_on_device(self, logits: "Tensor", tokens: DeviceTokens) -> None:
        """See ``OnDevice``: the same bans, by ``guards.ban_kernel``."""
        from guards.ban_kernel import launch

        if self._tables is None:
            raise ValueError("there are no tables on the device")
        ids, prompt_lengths, slots, lengths = tokens
        launch(logits, ids, slots, prompt_lengths, lengths, self._tables)

    def forget(self, key: str) -> None:
        """Drop what was kept of a request."""
        self.states.forget(key)

    def _ban(self, logits: "Tensor", states: Sequence[State]) -> None:
        import torch

        all_banned = [self.banned.at(state) for state in states]
        counts = [len(banned.tokens) for banned in all_banned]
        if any(counts):
            rows = torch.from_numpy(np.repeat(np.arange(len(states)), counts))
            tokens = torch.from_numpy(np.concatenate([banned.tokens for banned in all_banned]))
            at = (rows.to(logits.device), tokens.to(logits.device))
            logits.index_put_(at, logits.new_tensor(-torch.inf))
        for row, banned in enumerate(all_banned):
            if banned.closing:
                logits[row].masked_fill_(self._closing, -torch.inf)

    def _lower(self, logits: "Tensor", states: Sequence[State]) -> None:
        """In place of beams: a token that brings a phrase nearer is less likely."""
        best, tokens = logits.topk(min(CANDIDATES, logits.shape[1]), dim=1)
        nearer = np.zeros(tuple(tokens.shape), np.float32)
        for row, candidates in enumerate(tokens.tolist()):
            for column, token in enumerate(candidates):
                nearer[row, column] = self._nearer(states[row], self.banned.pieces[token])
        taken = logits.new_tensor(nearer) * self._approach
        logits.scatter_(1, tokens, best - taken)

    def _nearer(self, state: State, piece: bytes) -> float:
        automaton = self.banned.automaton
        progress = automaton.progress(automaton.advance(state, piece))
        return progress if progress > automaton.progress(state) else 0.0

    def _leave_ends(self, logits: "Tensor", ends: "Tensor") -> None:
        import torch

        # Nearly always one of a few tokens is left, and the rest need not be looked at.
        empty = ~torch.isfinite(logits[:, self._probes]).any(dim=1)
        if not bool(empty.any()):
            return
        for row in torch.nonzero(empty).flatten().tolist():
            if not bool(torch.isfinite(logits[row]).any()):
                logits[row, self._ends] = ends[row]
