"""Many greedy answers and scores at once from the in-process engine, with the edits of each."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from guards.case import Edit
from models.local_engine import LocalEngine, Sampling
from models.local_engine.interventions import NONE, Interventions
from models.local_engine.text import IncrementalText, StopStrings
from service.acting import Bindings
from service.local.choice import Choice
from service.local.edits import interventions

ROWS = 64  # of one pass
KEPT = 50_000  # answers, and scores, that are remembered
_LOGITS = 16_000_000  # floats that one scoring pass may return

Ids = tuple[int, ...]
LogP = NDArray[np.float64]


class Ask(NamedTuple):
    """A prompt to be continued."""

    prompt: Ids
    edits: tuple[Edit, ...]
    max_tokens: int


class Written(NamedTuple):
    """What the model wrote.  ids: without the token that ended it.  finish: "stop" or "length".

    seconds: its share of the pass in which it was written.
    """

    ids: Ids
    text: str
    finish: str
    seconds: float


class Score(NamedTuple):
    """A continuation to be scored."""

    prompt: Ids
    edits: tuple[Edit, ...]
    said: Ids


_Job = TypeVar("_Job", Ask, Score)
_Value = TypeVar("_Value")


class Generator:
    """One engine with its bindings.  What has no edits is run once and remembered."""

    def __init__(self, engine: LocalEngine, bindings: Bindings) -> None:
        self._engine = engine
        self._bindings = bindings
        self._written: OrderedDict[Ask, Written] = OrderedDict()
        self._scored: OrderedDict[Score, LogP] = OrderedDict()

    def written(self, asks: Sequence[Ask]) -> list[Written]:
        """The greedy answers, in the order of the asks.  Raises ValueError and Refused."""
        found = {ask: self._written[ask] for ask in asks if ask in self._written}
        for group in _groups([ask for ask in dict.fromkeys(asks) if ask not in found], ROWS):
            found.update(zip(group, self._write(group), strict=True))
        _remember(self._written, found)
        return [found[ask] for ask in asks]

    def scored(self, scores: Sequence[Score]) -> list[LogP]:
        """Log probabilities [tokens], in nats, of each continuation.  Raises as ``written``."""
        found = {each: self._scored[each] for each in scores if each in self._scored}
        new = [each for each in dict.fromkeys(scores) if each not in found]
        longest = max((len(each.said) for each in new), default=1)
        rows = max(1, min(ROWS, _LOGITS // (longest * self._engine.vocab_size)))
        for group in _groups(new, rows):
            found.update(zip(group, self._score(group), strict=True))
        _remember(self._scored, found)
        return [found[each] for each in scores]

    def forget(self) -> None:
        """Drop what is remembered."""
        self._written.clear()
        self._scored.clear()

    def _write(self, asks: Sequence[Ask]) -> list[Written]:
        """Of one group: all as long, and all with edits or all without."""
        start = time.process_time()
        how = self._sampling(asks[0].max_tokens)
        prompts = [ask.prompt for ask in asks]
        with self._acting(asks) as acting:
            said = self._engine.generate_batch(prompts, how, acting, len(asks))
        seconds = (time.process_time() - start) / len(asks)
        return [self._read(ask, ids, how, seconds) for ask, ids in zip(asks, said, strict=True)]

    def _read(self, ask: Ask, ids: Sequence[int], how: Sampling, seconds: float) -> Written:
        ends = self._engine.ends(how)
        text = IncrementalText(self._engine.tokenizer, ask.prompt)
        choice = Choice(iter(ids), text, StopStrings(()), how, ends)
        said = "".join(delta.text for delta in choice.deltas())
        ended = ids[-1] in ends
        return Written(
            tuple(ids[:-1] if ended else ids), said, "stop" if ended else "length", seconds
        )

    def _score(self, scores: Sequence[Score]) -> list[LogP]:
        prompts = [each.prompt for each in scores]
        said = [each.said for each in scores]
        with self._acting(scores) as acting:
            logits = list(self._engine.logits_after(prompts, said, acting, len(scores)))
        found = []
        for rows, ids in zip(logits, said, strict=True):
            chosen = rows.log_softmax(-1)[range(len(ids)), list(ids)]
            found.append(chosen.double().numpy())
        return found

    @contextmanager
    def _acting(self, jobs: Sequence[_Job]) -> Iterator[list[Interventions]]:
        # Each answer has edits of its own: they may remember what was generated.
        keys = [secrets.token_hex(16) if job.edits else "" for job in jobs]
        try:
            yield [
                interventions(job.edits, self._bindings, len(job.prompt), key) if key else NONE
                for job, key in zip(jobs, keys, strict=True)
            ]
        finally:
            for key in filter(None, keys):
                self._bindings.forget(key)

    def _sampling(self, max_tokens: int) -> Sampling:
        """Greedy, with the penalty that the model's generation config asks for, as when served."""
        # Where the likeliest token is taken, only a penalty changes which that is.
        penalty = self._engine.recommended.get("repetition_penalty", 1.0)
        return Sampling(max_tokens, repetition_penalty=penalty)


def _groups(jobs: Sequence[_Job], size: int) -> Iterator[list[_Job]]:
    """Jobs of like length, as little padding as can be; with edits apart from those without."""

    def kind(job: _Job) -> tuple[bool, int]:
        return bool(job.edits), job.max_tokens if isinstance(job, Ask) else 0

    for each in sorted({kind(job) for job in jobs}):
        alike = sorted((job for job in jobs if kind(job) == each), key=_length)
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _length(job: Ask | Score) -> int:
    return len(job.prompt) + (len(job.said) if isinstance(job, Score) else 0)


def _remember(kept: OrderedDict[_Job, _Value], found: Mapping[_Job, _Value]) -> None:
    kept.update((job, value) for job, value in found.items() if not job.edits)
    while len(kept) > KEPT:
        kept.popitem(last=False)
