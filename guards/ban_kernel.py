"""The token filter as one kernel, for a runner that keeps the token history on the device.

Each row is one program.  It goes back from the row's last token to where the state is settled,
walks the automaton forward over the bytes, and bans what ``guards.token_filter`` bans on the host.
It keeps nothing, so preemption, reused slots and rejected drafts need no care.

All walking is done for a vector of texts at once: of one text for the history, of many for the
tokens that may continue a character which the history has left unfinished.

Importing this module imports Triton.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np
import triton
import triton.language as tl

from guards.text_automaton import CLOSED, NAMES, WAITS
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BLOCK = 256
_WAITS, _CLOSED = tl.constexpr(WAITS), tl.constexpr(CLOSED)


Function = TypeVar("Function", bound=Callable[..., Any])


def _jit(function: Function) -> Function:
    return cast("Function", triton.jit(function))


class Drafts(NamedTuple):
    """Draft tokens, which are not in the history yet.

    tokens: [rows], the last token that each row sees; rows of one request follow each other.
    behind: [rows], how many of the tokens that it sees are drafts.
    """

    tokens: "Tensor"
    behind: "Tensor"


@dataclass(frozen=True, eq=False)
class Tables:
    """A token filter's artifact on a device."""

    tensors: "Mapping[str, Tensor]"
    breaks: int
    reach: int
    size: int
    longest: int

    @staticmethod
    def of(artifact: Artifact, vocabulary: Vocabulary, device: "torch.device") -> "Tables":
        """artifact: a token filter's, checked.

        Raises ValueError where it is not for this vocabulary, or has a look-ahead, which only the
        host can do.
        """
        import torch

        if artifact.manifest["vocabulary"] != vocabulary.digest:
            raise ValueError("made for another vocabulary")
        if artifact.manifest["approach"]:
            raise ValueError("the look-ahead is not for this kernel")
        strays = np.flatnonzero(vocabulary.strays)
        none = {"bias_tokens": np.zeros(0, np.int32), "bias": np.zeros(0, np.float32)}
        arrays = {
            **none,
            **artifact.tensors,
            "pieces": np.frombuffer(b"".join(vocabulary.padded), np.uint8),
            "starts": vocabulary.starts,
            "stray": vocabulary.strays.astype(np.uint8),
            "strays": strays.astype(np.int32),
            "stops": np.array(sorted(vocabulary.ends), np.int32),
        }
        kept = {
            name: torch.from_numpy(np.append(array, array.dtype.type(0)) if _flat(array) else array)
            for name, array in arrays.items()
            if name not in NAMES - _WALKED
        }
        return Tables(
            {name: tensor.to(device) for name, tensor in kept.items()},
            int(artifact.tensors["sizes"][0]),
            int(artifact.tensors["reach"][0]),
            vocabulary.size,
            int(np.diff(vocabulary.starts)[strays].max(initial=0)),
        )

    def count(self, name: str) -> int:
        """How many entries a list has."""
        return len(self.tensors[name]) - 1


_WALKED = frozenset(
    {"symbols", "children", "fails", "ends", "pages", "table", "spellings", "spelled"}
)


def _flat(array: Any) -> bool:
    # One entry more than there are, so that no list is empty: an address is needed.
    return bool(array.ndim == 1)


def launch(
    logits: "Tensor",
    ids: "Tensor",
    slots: "Tensor",
    prompt_lens: "Tensor",
    lengths: "Tensor",
    tables: Tables,
    drafts: Drafts | None = None,
) -> None:
    """Ban in place, as ``BoundFilter.apply`` does; nothing waits for the device.

    logits: [rows, vocabulary], float32, rows contiguous in themselves.  ids: [slots, longest]
    int32, the history.  slots: [rows], whose history each row has; below 0: leave it alone.
    prompt_lens: [slots], tokens of the prompt.  lengths: [rows], how many tokens the row sees.
    """
    t, count = tables.tensors, tables.count
    if not len(slots):
        return
    drafted = drafts or Drafts(slots, slots)
    _ban[(len(slots),)](  # type: ignore[index]
        (logits, logits.stride(0), tables.size),
        (ids, ids.stride(0), slots, prompt_lens, lengths, drafted.tokens, drafted.behind),
        (t["starts"], t["pieces"], t["counts"], tables.reach),
        (*(t[name] for name in _AUTOMATON), tables.breaks),
        (t["own_starts"], t["own_tokens"]),
        (t["inner"], count("inner"), t["inner_inside"], count("inner_inside")),
        (t["closing"], t["stray"], t["strays"], count("strays"), tables.longest),
        (t["bias_tokens"], t["bias"], count("bias_tokens"), t["stops"], count("stops")),
        has_drafts=drafts is not None,
        block=_BLOCK,
        stops_block=max(2, triton.next_power_of_2(count("stops"))),
    )


_AUTOMATON = ("symbols", "children", "fails", "ends", "pages", "table", "spellings", "spelled")


# --- on the device -------------------------------------------------------------------------------


@_jit
def _step(node: "Any", symbol: "Any", live: "Any", automaton: "Any") -> "Any":
    """``TextAutomaton.step`` where live."""
    symbols, children, fails, _, _, _, _, _, breaks = automaton
    last = tl.load(symbols + node)
    symbol = tl.where((symbol >= breaks) & (last < breaks), symbol + 1, symbol)
    going = live & ((symbol != 0) | (last != 0))
    while tl.max(going.to(tl.int32), 0) > 0:
        low = tl.load(children + node)
        end = tl.load(children + node + 1)
        high = end
        open_ = going & (low < high)
        while tl.max(open_.to(tl.int32), 0) > 0:
            middle = (low + high) // 2
            less = tl.load(symbols + middle, mask=open_, other=0) < symbol
            low = tl.where(open_ & less, middle + 1, low)
            high = tl.where(open_ & (less == 0), middle, high)
            open_ = open_ & (low < high)
        hit = going & (low < end) & (tl.load(symbols + low, mask=low < end, other=-1) == symbol)
        lost = going & (hit == 0) & (node == 0)
        onwards = going & (hit == 0) & (lost == 0)
        shorter = tl.load(fails + node)
        node = tl.where(hit, low, node)
        node = tl.where(lost & (symbol >= breaks), 1, node)
        node = tl.where(onwards, shorter, node)
        going = onwards
    return node


@_jit
def _pending(node: "Any", automaton: "Any") -> "Any":
    symbols, _, _, ends, _, _, _, _, breaks = automaton
    return (tl.load(ends + node) == _WAITS) & (tl.load(symbols + node) >= breaks)


@_jit
def _complete(node: "Any", automaton: "Any") -> "Any":
    symbols, _, _, ends, _, _, _, _, breaks = automaton
    end = tl.load(ends + node)
    return (end == _CLOSED) | (end != 0) & (tl.load(symbols + node) < breaks)


@_jit
def _char(
    node: "Any", spent: "Any", complete: "Any", code: "Any", live: "Any", automaton: "Any"
) -> "Any":
    """One more character where live."""
    _, _, _, _, pages, table, spellings, spelled, breaks = automaton
    page = tl.load(pages + code // 256, mask=live, other=0)
    value = tl.load(table + page * 256 + code % 256, mask=live, other=-1)
    several = live & (value < -1)
    first = tl.load(spelled - 2 - value, mask=several, other=0)
    count = tl.load(spelled - 1 - value, mask=several, other=0) - first
    count = tl.where(live & (value >= 0), 1, count)
    most = tl.max(count, 0)
    at = most * 0
    while at < most:
        now = live & (at < count)
        spelling = tl.load(spellings + first + at, mask=now & several, other=0)
        symbol = tl.where(several, spelling, value)
        closed = now & (spent == 0) & (symbol < breaks) & _pending(node, automaton)
        node = _step(node, symbol, now, automaton)
        spent = tl.where(now, 0, spent)
        whole = now & _complete(node, automaton)
        complete = tl.where(closed | whole, 1, complete)
        at += 1
    return node, spent, complete


@_jit
def _byte(state: "Any", byte: "Any", live: "Any", automaton: "Any") -> "Any":
    """One more byte where live.

    state: node; whether what is complete there is spent; whether a phrase was completed; and the
    unfinished character: its code so far, how many bytes it lacks, from where to where the next may
    be.
    """
    node, spent, complete, code, lacks, low, high = state
    broken = live & (lacks > 0) & ((byte < low) | (byte > high))
    closed = broken & (spent == 0) & _pending(node, automaton)
    complete = tl.where(closed, 1, complete)
    node = tl.where(broken, 0, node)
    spent = tl.where(broken, 0, spent)
    goes_on = live & (lacks > 0) & (broken == 0)
    fresh = live & (goes_on == 0)
    code = tl.where(goes_on, code * 64 + byte % 64, code)
    lacks = tl.where(goes_on, lacks - 1, lacks)
    two, three, four = byte >= 0xC2, byte >= 0xE0, byte >= 0xF0
    wrong = (byte >= 0x80) & (byte < 0xC2) | (byte >= 0xF5)
    begun = tl.where(four, byte % 8, tl.where(three, byte % 16, tl.where(two, byte % 32, byte)))
    code = tl.where(fresh, tl.where(wrong, 0xFFFD, begun), code)
    length = two.to(tl.int32) + three.to(tl.int32) + four.to(tl.int32)
    lacks = tl.where(fresh, tl.where(wrong, 0, length), lacks)
    # Overlong forms, surrogates and what lies beyond Unicode are no characters.
    least = tl.where(byte == 0xE0, 0xA0, tl.where(byte == 0xF0, 0x90, 0x80))
    most = tl.where(byte == 0xED, 0x9F, tl.where(byte == 0xF4, 0x8F, 0xBF))
    low = tl.where(fresh, least, tl.where(goes_on, 0x80, low))
    high = tl.where(fresh, most, tl.where(goes_on, 0xBF, high))
    node, spent, complete = _char(node, spent, complete, code, live & (lacks == 0), automaton)
    return node, spent, complete, code, lacks, low, high


@_jit
def _token(
    index: "Any", row: "Any", length: "Any", slot: "Any", history: "Any", has_drafts: tl.constexpr
) -> "Any":
    """The token at that index of what the row sees."""
    ids, stride, _, _, _, drafted, behind = history
    token = tl.load(ids + slot.to(tl.int64) * stride + index).to(tl.int32)
    if has_drafts:  # noqa: SIM102 - known when compiling; the other is not
        if index >= length - tl.load(behind + row):
            token = tl.load(drafted + row - (length - 1 - index)).to(tl.int32)
    return token


@_jit
def _fill(out: "Any", tokens: "Any", first: "Any", last: "Any", block: tl.constexpr) -> "Any":
    for start in range(first, last, block):
        at = start + tl.arange(0, block)
        token = tl.load(tokens + at, mask=at < last, other=0)
        tl.store(out + token, float("-inf"), mask=at < last)


@_jit
def _history(
    row: "Any",
    length: "Any",
    slot: "Any",
    history: "Any",
    pieces: "Any",
    automaton: "Any",
    has_drafts: tl.constexpr,
) -> "Any":
    """The state after what the row sees, as a vector of one."""
    starts, letters, counts, reach = pieces
    prompt = tl.minimum(tl.load(history[3] + slot).to(tl.int32), length)
    first = length
    certain = length * 0
    while (first > 0) & (certain <= reach):
        token = _token(first - 1, row, length, slot, history, has_drafts)
        control = tl.load(starts + token) == tl.load(starts + token + 1)
        if control & (first <= prompt):
            certain = certain * 0 + reach + 1
        else:
            certain += tl.load(counts + token).to(tl.int32)
            first -= 1
    none = tl.zeros([1], tl.int32)
    node, spent, complete, code, lacks, low, high = none, none, none, none, none, none, none
    index = first
    while index <= length:
        if index == prompt:
            # What the prompt has in whole is no reason to ban anything.
            spent = _pending(node, automaton).to(tl.int32)
        if index < length:
            token = _token(index, row, length, slot, history, has_drafts)
            for at in range(tl.load(starts + token), tl.load(starts + token + 1)):
                byte = none + tl.load(letters + at).to(tl.int32)
                state = (node, spent, complete, code, lacks, low, high)
                node, spent, complete, code, lacks, low, high = _byte(
                    state, byte, none == 0, automaton
                )
        index += 1
    return node, spent, none, code, lacks, low, high


@_jit
def _after_whole(
    out: "Any",
    node: "Any",
    ending: "Any",
    size: "Any",
    automaton: "Any",
    own: "Any",
    inner: "Any",
    marks: "Any",
    block: tl.constexpr,
) -> "Any":
    """Ban where no character is unfinished.  node: a number."""
    symbols, _, fails, _, _, _, _, _, breaks = automaton
    if tl.load(symbols + node) >= breaks:
        _fill(out, inner[2], 0, inner[3], block)
    else:
        _fill(out, inner[0], 0, inner[1], block)
    while node > 1:
        _fill(out, own[1], tl.load(own[0] + node), tl.load(own[0] + node + 1), block)
        node = tl.load(fails + node)
    if ending:
        for start in range(0, size, block):
            at = start + tl.arange(0, block)
            closing = tl.load(marks[0] + at, mask=at < size, other=0)
            tl.store(out + at, float("-inf"), mask=(at < size) & (closing != 0))


@_jit
def _after_part(
    out: "Any",
    state: "Any",
    ending: "Any",
    size: "Any",
    pieces: "Any",
    automaton: "Any",
    inner: "Any",
    marks: "Any",
    block: tl.constexpr,
) -> "Any":
    """Ban where bytes of a character wait for the others: all else makes of them a boundary."""
    starts, letters, _, _ = pieces
    _, stray, strays, count, longest = marks
    if ending:
        for start in range(0, size, block):
            at = start + tl.arange(0, block)
            other = tl.load(stray + at, mask=at < size, other=1) == 0
            tl.store(out + at, float("-inf"), mask=(at < size) & other)
    else:
        for start in range(0, inner[1], block):
            at = start + tl.arange(0, block)
            token = tl.load(inner[0] + at, mask=at < inner[1], other=0)
            other = tl.load(stray + token) == 0
            tl.store(out + token, float("-inf"), mask=(at < inner[1]) & other)
    for start in range(0, count, block):
        lane = start + tl.arange(0, block)
        token = tl.load(strays + lane, mask=lane < count, other=0)
        begin = tl.load(starts + token)
        length = tl.where(lane < count, tl.load(starts + token + 1) - begin, 0)
        none = tl.zeros([block], tl.int32)
        node, spent, complete = none + state[0], none + state[1], none
        code, lacks, low, high = none + state[3], none + state[4], none + state[5], none + state[6]
        for at in range(longest):
            live = at < length
            byte = tl.load(letters + begin + at, mask=live, other=0).to(tl.int32)
            walked = (node, spent, complete, code, lacks, low, high)
            node, spent, complete, code, lacks, low, high = _byte(walked, byte, live, automaton)
        tl.store(out + token, float("-inf"), mask=(lane < count) & (complete != 0))


@_jit
def _ban(
    scores: "Any",
    history: "Any",
    pieces: "Any",
    automaton: "Any",
    own: "Any",
    inner: "Any",
    marks: "Any",
    extra: "Any",
    has_drafts: tl.constexpr,
    block: tl.constexpr,
    stops_block: tl.constexpr,
) -> "Any":
    row = tl.program_id(0)
    slot = tl.load(history[2] + row)
    if slot >= 0:
        logits, stride, size = scores
        bias_tokens, bias, biases, stops, stop_count = extra
        out = logits + row.to(tl.int64) * stride
        stop = tl.arange(0, stops_block)
        stop_tokens = tl.load(stops + stop, mask=stop < stop_count, other=0)
        kept = tl.load(out + stop_tokens, mask=stop < stop_count, other=0.0)
        length = tl.load(history[4] + row).to(tl.int32)
        state = _history(row, length, slot, history, pieces, automaton, has_drafts)
        ending = tl.max((_pending(state[0], automaton) & (state[1] == 0)).to(tl.int32), 0) > 0
        for start in range(0, biases, block):
            at = start + tl.arange(0, block)
            token = tl.load(bias_tokens + at, mask=at < biases, other=0)
            value = tl.load(out + token, mask=at < biases, other=0.0)
            nats = tl.load(bias + at, mask=at < biases, other=0.0)
            tl.store(out + token, value - nats, mask=at < biases)
        # A later store of another thread must not be overtaken by this one.
        tl.debug_barrier()
        if tl.max(state[4], 0) == 0:
            node = tl.max(state[0], 0)
            _after_whole(out, node, ending, size, automaton, own, inner, marks, block)
        else:
            _after_part(out, state, ending, size, pieces, automaton, inner, marks, block)
        tl.debug_barrier()
        left = ending.to(tl.int32) * 0
        for start in range(0, size, block):
            at = start + tl.arange(0, block)
            value = tl.load(out + at, mask=at < size, other=float("-inf"))
            left += tl.sum((value > float("-inf")).to(tl.int32), 0)
        if left == 0:
            tl.store(out + stop_tokens, kept, mask=stop < stop_count)
