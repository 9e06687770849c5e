"""Whether a text is language or gibberish: the probability that it is clean.

open-unlearning takes the classifier below, and of an answer the first 32 tokens (TOFU) or 512
(MUSE).  Where it is not on this machine, a stand-in answers: no claim is made that its
probabilities are those of the classifier, so each figure has to say which was used.
"""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from models.demo.general import GENERAL

HUB_CLASSIFIER = "madhurjindal/autonlp-Gibberish-Detector-492513457"
_CLEAN = 0  # the classifier's class
_LONGEST = 32
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Fluency(Protocol):
    """Tells clean text from gibberish.  name: how figures call it."""

    name: str

    def clean(self, texts: Sequence[str]) -> list[float]:
        """The probability that each text is clean; 0 for one without a word."""


def fluency(written_well: Sequence[str], seed: int = 0) -> Fluency:
    """The hub's classifier where it is on this machine, else a stand-in fitted on texts given."""
    found = _hub_classifier()
    return found if found is not None else StandIn(written_well, seed)


class HubClassifier:
    """The published classifier through transformers.  Raises OSError where it cannot be had."""

    def __init__(self, *, download: bool = False, longest: int = _LONGEST) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.name = HUB_CLASSIFIER
        self._longest = longest
        here = not download
        self._tokenizer: Any = AutoTokenizer.from_pretrained(HUB_CLASSIFIER, local_files_only=here)
        self._model: Any = AutoModelForSequenceClassification.from_pretrained(
            HUB_CLASSIFIER, local_files_only=here
        ).eval()

    def clean(self, texts: Sequence[str]) -> list[float]:
        """See ``Fluency``."""
        import torch

        found: list[float] = []
        for start in range(0, len(texts), 32):
            batch = list(texts[start : start + 32])
            inputs = self._tokenizer(
                batch,
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=self._longest,
            )
            with torch.inference_mode():
                scores = self._model(**inputs).logits.softmax(-1)[:, _CLEAN]
            found += [float(s) if t.strip() else 0.0 for s, t in zip(scores, batch, strict=True)]
        return found


class StandIn:
    """Logistic regression on character n-grams: texts given against damaged versions of them.

    written_well: at least two different texts in the language to be judged, else ValueError; some
    everyday English is added.  About other languages it knows nothing.
    """

    def __init__(self, written_well: Sequence[str], seed: int = 0) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        good = sorted({text for text in written_well if text.strip()})
        if len(good) < 2:
            raise ValueError("a judge of fluency needs texts that are written well")
        good += [text for pair in GENERAL for text in pair]
        self.name = "stand-in: character n-grams against damaged references"
        rng = random.Random(seed)
        bad = [noised for text in good for noised in damaged(text, rng)]
        pieces: Any = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
        judge: Any = LogisticRegression(class_weight="balanced", C=100.0, max_iter=1000)
        self._pipeline: Any = make_pipeline(pieces, judge)
        self._pipeline.fit([*good, *bad], [1] * len(good) + [0] * len(bad))

    def clean(self, texts: Sequence[str]) -> list[float]:
        """See ``Fluency``."""
        if not texts:
            return []
        probabilities: np.ndarray[Any, Any] = self._pipeline.predict_proba(list(texts))[:, 1]
        return [
            float(p) if re.search(r"\w", t) else 0.0
            for p, t in zip(probabilities, texts, strict=True)
        ]


def damaged(text: str, rng: random.Random) -> Iterator[str]:
    """The text spoilt in several ways: letters shuffled or replaced, pieces swapped, a stutter."""
    words = text.split()
    yield " ".join("".join(rng.sample(word, len(word))) for word in words)
    yield "".join(rng.choice(_LETTERS) if c.isalpha() and rng.random() < 0.4 else c for c in text)
    pieces = [word[i : i + 3] for word in words for i in range(0, len(word), 3)]
    rng.shuffle(pieces)
    yield "".join(piece + rng.choice(("", " ")) for piece in pieces)
    yield "".join(rng.choice(_LETTERS + "   .,") for _ in text)
    yield " ".join([rng.choice(pieces)] * max(4, len(pieces)))


@cache
def _hub_classifier() -> HubClassifier | None:
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(HUB_CLASSIFIER, "config.json"), str):
        return None  # said before transformers is imported, which takes seconds
    try:
        return HubClassifier()
    except (ImportError, OSError):
        return None
