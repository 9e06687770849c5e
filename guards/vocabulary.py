"""A tokenizer's vocabulary as bytes: what a token adds to the text."""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.artifact import canonical_json, digest_of


class Led(NamedTuple):
    """Tokens that begin with bytes which may continue a character: with these, ``lead``.

    tokens: [n], increasing.  rests: what each has after them.
    """

    lead: bytes
    tokens: NDArray[np.int64]
    rests: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """pieces: by token id, the bytes that it adds; b"" for a control token.

    ends: ids that end a reply.  size: how many logits there are; ids from ``len(pieces)`` on are
    padding of the output layer.
    """

    pieces: tuple[bytes, ...]
    ends: frozenset[int]
    size: int

    @cached_property
    def controls(self) -> frozenset[int]:
        """Ids that add no text."""
        return frozenset(token for token, piece in enumerate(self.pieces) if not piece)

    @cached_property
    def padded(self) -> tuple[bytes, ...]:
        """The bytes of every logit."""
        return self.pieces + (b"",) * (self.size - len(self.pieces))

    @cached_property
    def starts(self) -> NDArray[np.int32]:
        """[size + 1], where each token's bytes begin in all of them joined."""
        return np.cumsum([0, *map(len, self.padded)]).astype(np.int32)

    @cached_property
    def led(self) -> tuple[Led, ...]:
        """All tokens that may continue a character, by the bytes with which they do."""
        found = [(_lead(piece), t) for t, piece in enumerate(self.pieces) if continues(piece)]
        groups = [
            (lead, [t for _, t in each]) for lead, each in groupby(sorted(found), lambda x: x[0])
        ]
        return tuple(
            Led(lead, np.array(tokens), tuple(self.pieces[token][len(lead) :] for token in tokens))
            for lead, tokens in groups
        )

    @cached_property
    def strays(self) -> NDArray[np.bool_]:
        """[size], whether a token may continue a character; read-only."""
        strays = np.zeros(self.size, np.bool_)
        for led in self.led:
            strays[led.tokens] = True
        strays.setflags(write=False)
        return strays

    def prepare(self) -> None:
        """Work out now what the first guard to be bound would have to wait for."""
        _ = self.digest, self.starts, self.strays

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of all of it: what a table made for it is bound to."""
        body = [[piece.hex() for piece in self.pieces], sorted(self.ends), self.size]
        return digest_of(canonical_json(body))


def continues(piece: bytes) -> bool:
    """Whether its first byte can only continue a character."""
    return bool(piece) and 0x80 <= piece[0] < 0xC0


def _lead(piece: bytes) -> bytes:
    """The bytes at its beginning that can only continue a character."""
    length = next((i for i, byte in enumerate(piece) if not 0x80 <= byte < 0xC0), len(piece))
    return piece[:length]
