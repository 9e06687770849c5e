"""GUARD's constrained beam search as published, to compare the token filter with.

Source: GUARD (arXiv 2505.13312): ``score(y) = log p(y | ...) - P_token - P_sbert``, beams of 7,
2 * 7 candidates.  Not for serving: an engine that batches requests has no beams.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

_MARKS = ".,;:!?\"'()[]{}<>|“”‘’…"


@dataclass(frozen=True)
class Beams:
    """How wide the search is.

    width: beams kept.  pool: continuations of each beam that are looked at, the likeliest ones.
    max_tokens: of an answer.  beta: share of a phrase's tokens from which on it counts as written.
    Raises ValueError for numbers that make no search.
    """

    width: int = 7
    pool: int = 14
    max_tokens: int = 40
    beta: float = 1.0

    def __post_init__(self) -> None:
        if min(self.width, self.pool, self.max_tokens) < 1 or not 0 < self.beta <= 1:
            raise ValueError("width, pool and max_tokens are at least 1, and beta is in (0, 1]")


@dataclass(frozen=True)
class Forbidding:
    """What costs an answer.

    phrases: each as token ids; the same phrase in several segmentations is several phrases.
    word: nats for one finished word (``P_sbert``).  pieces: by token id, the bytes that it adds.
    """

    phrases: Sequence[Sequence[int]]
    word: Callable[[str], float]
    pieces: Sequence[bytes]

    def ratio(self, tokens: Sequence[int]) -> float:
        """The greatest share of a phrase that the end of ``tokens`` has written, from its start."""
        shares = (
            size / len(phrase)
            for phrase in self.phrases
            for size in range(1, min(len(phrase), len(tokens)) + 1)
            if list(tokens[-size:]) == list(phrase[:size])
        )
        return max(shares, default=0.0)

    def finished(self, tokens: Sequence[int], *, ended: bool) -> list[str]:
        """The words that have ended: all that a blank follows, and the last where the reply ended.

        Marks around a word do not belong to it.
        """
        text = b"".join(self.pieces[token] for token in tokens).decode("utf-8", "replace")
        words = text.split()
        if words and not ended and not text[-1].isspace():
            words.pop()
        return [bare for word in words if (bare := word.strip(_MARKS))]


class Answer(NamedTuple):
    """tokens: the end token included, where there is one.  score: log-likelihood less penalties.

    fallbacks: tokens that were taken because everything else was forbidden.
    """

    tokens: tuple[int, ...]
    score: float
    fallbacks: int = 0


class Continuations(Protocol):
    """A model that several sequences of one prompt are continued on."""

    def start(self) -> Tensor:
        """Logits [1, vocab] after the prompt."""

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits [n, vocab] once sequence ``parents[i]`` of the last call has got ``tokens[i]``."""


class Cached:
    """A model of transformers with a KV cache that follows the beams.

    model: as transformers loads it.  prompt: token ids, one at least.
    """

    def __init__(self, model: Any, prompt: Sequence[int]) -> None:
        self._model = model
        self._prompt = list(prompt)
        self._cache = DynamicCache(config=model.config)

    def start(self) -> Tensor:
        """Logits [1, vocab]."""
        return self._logits(torch.tensor([self._prompt]))

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits [n, vocab]."""
        self._cache.batch_select_indices(torch.tensor(parents, device=self._model.device))
        return self._logits(torch.tensor(tokens)[:, None])

    def _logits(self, ids: Tensor) -> Tensor:
        with torch.inference_mode():
            output = self._model(
                input_ids=ids.to(self._model.device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits: Tensor = output.logits[:, -1].float().cpu()
        return logits


class _Beam(NamedTuple):
    """parent: its place among the beams that it was continued from."""

    answer: Answer
    parent: int
    words: int


def search(
    model: Continuations, how: Beams, forbidding: Forbidding, ends: frozenset[int]
) -> Answer:
    """The best answer found, by score for each of its tokens.

    The search ends with ``width`` ended answers, of which it is one, or at ``max_tokens``, where
    what is still being written counts too.  Beams of one length are compared by their sums.  Where
    all continuations are forbidden, the best beam goes on with its likeliest token, forbidden or
    not, and the others are dropped: that is how the published code goes on.  Ties go to the lower
    token ids.
    """
    ended: list[Answer] = []
    beams = [_Beam(Answer((), 0.0), 0, 0)]
    logits = model.start()
    for length in range(1, how.max_tokens + 1):
        grown = _grown(beams, logits.log_softmax(-1), how, forbidding, ends)
        ended += [beam.answer for beam in grown if beam.answer.tokens[-1] in ends]
        beams = [beam for beam in grown if beam.answer.tokens[-1] not in ends]
        if not beams or len(ended) >= how.width:
            return min(ended, key=_by_normalised_score)
        if length < how.max_tokens:
            logits = model.extend(
                [beam.parent for beam in beams], [beam.answer.tokens[-1] for beam in beams]
            )
    return min([*ended, *(beam.answer for beam in beams)], key=_by_normalised_score)


def _by_normalised_score(answer: Answer) -> tuple[float, tuple[int, ...]]:
    return -answer.score / len(answer.tokens), answer.tokens


def _grown(
    beams: Sequence[_Beam],
    likely: Tensor,
    how: Beams,
    forbidding: Forbidding,
    ends: frozenset[int],
) -> list[_Beam]:
    """The best ``width`` continuations.  likely: [beams, vocab], log-probabilities."""
    found = [
        beam
        for at, row in enumerate(likely)
        for beam in _continued(beams[at], at, row, how, forbidding, ends)
    ]
    if not found:
        best = min(range(len(beams)), key=lambda at: (-beams[at].answer.score, at))
        return [_fallen_back(beams[best], best, likely[best], forbidding)]
    return sorted(found, key=lambda beam: (-beam.answer.score, beam.answer.tokens))[: how.width]


def _continued(
    beam: _Beam, at: int, row: Tensor, how: Beams, forbidding: Forbidding, ends: frozenset[int]
) -> Iterator[_Beam]:
    """The likeliest continuations of one beam that are not forbidden."""
    order = row.sort(descending=True, stable=True).indices[: how.pool]
    for token in order.tolist():
        tokens = (*beam.answer.tokens, token)
        if token not in ends and forbidding.ratio(tokens) >= how.beta:
            continue
        if float(row[token]) == -math.inf:
            return
        words = forbidding.finished(tokens, ended=token in ends)
        penalty = sum(forbidding.word(word) for word in words[beam.words :])
        score = beam.answer.score + float(row[token]) - penalty
        if score > -math.inf:
            yield _Beam(Answer(tokens, score, beam.answer.fallbacks), at, len(words))


def _fallen_back(beam: _Beam, at: int, row: Tensor, forbidding: Forbidding) -> _Beam:
    token = int(row.argmax())
    tokens = (*beam.answer.tokens, token)
    answer = Answer(tokens, beam.answer.score + float(row[token]), beam.answer.fallbacks + 1)
    # What has been written against the rules is not counted again at the next word's end.
    return _Beam(answer, at, len(forbidding.finished(tokens, ended=False)))
