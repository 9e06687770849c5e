"""Sentence embeddings for the router."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384


class EncoderUnavailable(RuntimeError):
    """There is no encoder that could be trusted on this machine."""


class Encoder:
    """all-MiniLM-L6-v2: texts to unit vectors.  Safe for many threads."""

    common_words: frozenset[str]

    @classmethod
    def load(cls, cache_dir: Path) -> Self:
        """Verify and open the cached model, made first where it is absent.

        Raises EncoderUnavailable where it cannot be made, or is not what was made.
        """
        raise EncoderUnavailable("not built yet")

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, 384], rows of length 1."""
        raise NotImplementedError
