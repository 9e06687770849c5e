"""A small second model that follows many requests at once, with a KV cache of its own.

The cache is a pool of blocks.  A sequence holds as many as its tokens need; the sequence that was
used least recently gives its blocks up where there are none left, and is computed anew when it is
asked for again.  What is cached is compared with what is asked before it is used, so that the
outcome is a function of the tokens alone.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from models.assistant_config import check_config, tensor_shapes

BLOCK = 32  # tokens
_PREFILL = 512  # tokens of one forward pass over a new sequence: bounds its memory
_FIRST_BLOCKS = 64


class Asked(NamedTuple):
    """One row: which sequence it is of, and all of its tokens."""

    key: str
    tokens: Sequence[int]


@dataclass
class _Held:
    """What the pool has of one sequence: ``tokens`` lie in ``blocks``, in order."""

    tokens: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)


class _Work(NamedTuple):
    """A row of the group in progress: its place in the answer, its tokens, its blocks."""

    at: int
    tokens: list[int]
    held: _Held


class Assistant:
    """A causal Llama made of an artifact's tensors.  Safe from several threads.

    Passes of several requests are one: a step in which every sequence grew by one token is one
    forward pass over all of them; sequences that are new, or that are not what was cached, are
    first brought up to their last token one by one.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any]],
        device: "torch.device | str" = "cpu",
        dtype: torch.dtype = torch.float32,
        limit: int = 65_536,
    ) -> None:
        """limit: most tokens that are cached; at least one sequence of full length always is.

        Raises ValueError where the configuration, or the set of tensors and their shapes, is not
        exactly that of such a model.
        """
        check_config(config)
        if {name: array.shape for name, array in tensors.items()} != tensor_shapes(config):
            raise ValueError("an assistant's tensors are not those of its configuration")
        self.vocab_size = int(config["vocab_size"])
        self._context = int(config["max_position_embeddings"])
        self._model = _built(config, tensors, torch.device(device), dtype)
        self._pool = _Pool(config, torch.device(device), dtype, max(limit, self._context))
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lock = Lock()

    def logits(self, asked: Sequence[Asked]) -> Tensor:
        """The next token's logits after each row, [n, vocab], float32 on the model's device.

        Rows have at least one token.  A key may occur more than once, with other tokens.
        """
        # Not in inference mode even where the caller is: the pool outlives this call.
        with self._lock, torch.inference_mode(mode=False), torch.no_grad():
            result = torch.empty((len(asked), self.vocab_size), device=self._model.device)
            waiting = list(range(len(asked)))
            while waiting:
                group = self._admitted(asked, waiting)
                result[[work.at for work in group]] = self._step(group)
                done = {work.at for work in group}
                waiting = [index for index in waiting if index not in done]
            return result

    def forget(self, key: str) -> None:
        """Drop what is cached of a sequence."""
        with self._lock:
            held = self._held.pop(key, None)
            if held is not None:
                self._pool.give_back(held.blocks)

    @property
    def cached(self) -> int:
        """Tokens for which blocks are held."""
        return sum(len(held.blocks) for held in self._held.values()) * BLOCK

    def _admitted(self, asked: Sequence[Asked], waiting: Sequence[int]) -> list[_Work]:
        """The next rows that find room in the pool together, each of another sequence."""
        group: dict[str, _Work] = {}
        for index in waiting:
            key = asked[index].key
            if key in group:
                continue
            tokens = within(asked[index].tokens, self._context)
            held = self._room_for(key, tokens, group)
            if held is None:
                break
            group[key] = _Work(index, tokens, held)
        return list(group.values())

    def _room_for(self, key: str, tokens: list[int], busy: Mapping[str, Any]) -> _Held | None:
        held = self._held.setdefault(key, _Held())
        self._held.move_to_end(key)
        # The last token is always computed: its logits are what is asked for.
        del held.tokens[_common(held.tokens, tokens[:-1]) :]
        wanted = -(-len(tokens) // BLOCK)
        while (missing := wanted - len(held.blocks)) > self._pool.free:
            oldest = next((k for k in self._held if k not in busy and k != key), None)
            if oldest is None:
                return None
            self._pool.give_back(self._held.pop(oldest).blocks)
        held.blocks += self._pool.take(max(missing, 0))
        return held

    def _step(self, group: Sequence[_Work]) -> Tensor:
        for work in group:
            self._bring_up(work)
        last = [work.tokens[-1:] for work in group]
        hidden = self._forward([work.held for work in group], last)
        for work in group:
            work.held.tokens.append(work.tokens[-1])
        logits: Tensor = self._model.lm_head(hidden[:, -1])
        return logits.float()

    def _bring_up(self, work: _Work) -> None:
        """Compute what is missing before the last token."""
        held, target = work.held, len(work.tokens) - 1
        while len(held.tokens) < target:
            piece = work.tokens[len(held.tokens) : min(len(held.tokens) + _PREFILL, target)]
            self._forward([held], [piece])
            held.tokens += piece

    def _forward(self, held: Sequence[_Held], ids: Sequence[list[int]]) -> Tensor:
        """Hidden states [rows, new, hidden] of equally many new tokens, which join the pool."""
        device, new = self._model.device, len(ids[0])
        positions = np.array([len(each.tokens) for each in held])[:, None] + np.arange(new)
        length = int(positions.max()) + 1
        at = torch.from_numpy(positions).to(device)
        lies = torch.from_numpy(_places([each.blocks for each in held], length)).to(device)
        # A place in the pool is a position of its sequence, so causality is all there is to mask.
        visible = torch.arange(length, device=device) <= at[:, None, :, None]
        output = self._model.model(
            input_ids=torch.tensor(ids, device=device),
            position_ids=at,
            attention_mask=visible,
            past_key_values=_View(self._pool, lies.gather(1, at), lies),
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden


class _Pool:
    """Keys and values of every layer, [rows, heads, width] each; a block is ``BLOCK`` rows."""

    def __init__(
        self, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype, limit: int
    ) -> None:
        self._blocks = 0
        self._most = -(-limit // BLOCK)
        self._unused: list[int] = []
        shape = (0, config["num_key_value_heads"], config["head_dim"])
        self.layers = [
            (
                torch.zeros(shape, device=device, dtype=dtype),
                torch.zeros(shape, device=device, dtype=dtype),
            )
            for _ in range(config["num_hidden_layers"])
        ]

    @property
    def free(self) -> int:
        """Blocks that may be taken."""
        return len(self._unused) + self._most - self._blocks

    def take(self, wanted: int) -> list[int]:
        """That many blocks, of which there must be as many."""
        while len(self._unused) < wanted:
            self._grow()
        taken = self._unused[len(self._unused) - wanted :]
        del self._unused[len(self._unused) - wanted :]
        return taken

    def give_back(self, blocks: Sequence[int]) -> None:
        """They may be taken again."""
        self._unused += blocks

    def _grow(self) -> None:
        more = min(max(self._blocks, _FIRST_BLOCKS), self._most - self._blocks)
        self.layers = [(_longer(k, more * BLOCK), _longer(v, more * BLOCK)) for k, v in self.layers]
        self._unused += range(self._blocks, self._blocks + more)
        self._blocks += more


class _View:
    """The pool as transformers' attention sees a cache in one forward pass.

    new: [rows, new], where the new tokens go.  lies: [rows, length], where all of them lie.
    """

    def __init__(self, pool: _Pool, new: Tensor, lies: Tensor) -> None:
        self._pool, self._new, self._lies = pool, new, lies

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_args: Any, **_more: Any
    ) -> tuple[Tensor, Tensor]:
        """Store [rows, heads, new, width]; return all, [rows, heads, length, width]."""
        own_keys, own_values = self._pool.layers[layer]
        own_keys[self._new] = keys.transpose(1, 2)
        own_values[self._new] = values.transpose(1, 2)
        return own_keys[self._lies].transpose(1, 2), own_values[self._lies].transpose(1, 2)


def within(tokens: Sequence[int], context: int) -> list[int]:
    """The tokens that a model with this context is shown: all, or as many of the last as fit.

    The start moves in strides of half the context, so that a long sequence is computed anew only
    once in a stride.
    """
    stride = max(context // 2, 1)
    start = -(-max(len(tokens) - context, 0) // stride) * stride
    return list(tokens[start:])


def _common(one: list[int], other: list[int]) -> int:
    """Length of the longest common prefix."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(at for at in count() if one[at] != other[at])


def _places(blocks: Sequence[Sequence[int]], length: int) -> NDArray[np.int64]:
    """[rows, length]: the pool's row of each position; of no meaning past a sequence's end."""
    table = np.zeros((len(blocks), -(-length // BLOCK)), dtype=np.int64)
    for row, own in enumerate(blocks):
        fitting = own[: table.shape[1]]
        table[row, : len(fitting)] = fitting
    rows = table[:, :, None] * BLOCK + np.arange(BLOCK)
    found: NDArray[np.int64] = rows.reshape(len(blocks), -1)[:, :length]
    return found


def _longer(rows: Tensor, more: int) -> Tensor:
    return torch.cat([rows, rows.new_zeros((more, *rows.shape[1:]))])


def _built(
    config: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    llama = LlamaConfig(
        **{name: value for name, value in config.items() if name != "rope_parameters"},
        rope_parameters=dict(config["rope_parameters"]),
        attn_implementation="sdpa",
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.device("meta"):  # nothing is drawn at random only to be thrown away
        model: Any = LlamaForCausalLM(llama)
    model.model.rotary_emb = type(model.model.rotary_emb)(llama)
    state = {name: torch.from_numpy(np.array(array)).to(dtype) for name, array in tensors.items()}
    if config["tie_word_embeddings"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    return model.eval().requires_grad_(requires_grad=False).to(device=device, dtype=dtype)
