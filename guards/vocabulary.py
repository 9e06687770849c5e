"""A tokenizer's vocabulary as bytes: what a token adds to the text."""

from dataclasses import dataclass
from functools import cached_property

from models.artifact import canonical_json, digest_of


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
    def digest(self) -> str:
        """``sha256:<hex>`` of all of it: what a table made for it is bound to."""
        body = [[piece.hex() for piece in self.pieces], sorted(self.ends), self.size]
        return digest_of(canonical_json(body))
