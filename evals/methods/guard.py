"""GUARD: no answer may contain what is telling in the forget answers, or words that are like it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec
from guards.token_filter import NAME, compiled
from models.encoder import Encoder
from models.fitting.token_filter import Semantic, fit

SETTINGS = {"delta": 0.5, "floor": 0.2, "beta": 1.0, "approach": 5.0}


def requests(material: Material) -> Requests:
    """A filter for each subject, of the answers about it."""
    retain = [(fact.question, fact.answer) for fact in material.retain]
    semantic = Semantic(SETTINGS["delta"], SETTINGS["floor"])
    vocabulary, encoder = material.vocabulary, _Remembering(material.encoder)
    found = {}
    for label in material.forgotten:
        forget = [(fact.question, fact.answer) for fact in material.about(label)]
        words = fit(forget, retain, vocabulary.pieces, encoder, semantic)
        filter_of = compiled(
            words.phrases,
            vocabulary,
            approach=SETTINGS["approach"],
            bias_tokens=words.bias_tokens,
            bias=words.bias,
        )
        found[label] = (GuardSpec(NAME, {"artifact": material.put(*filter_of, sealed=True)}),)
    return found


class _Remembering:
    """An encoder that keeps every vector: all subjects' filters look at the same words."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.common_words = encoder.common_words
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As ``Encoder.encode``."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        if not texts:
            return self._encoder.encode(texts)
        return np.stack([self._known[text] for text in texts])


METHOD = Method(
    source="GUARD (2025, arXiv 2505.13312): beta 1, delta 0.5",
    settings=SETTINGS,
    differs=(
        "look-ahead over the 32 likeliest tokens in place of a beam search of width 7, which "
        "cannot be served in a batch; all answers about the subject in place of the nearest one; "
        "likeness from a table over the vocabulary"
    ),
    requests=requests,
)
