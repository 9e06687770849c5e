"""How the next token is chosen, in vLLM's order of operations."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

GREEDY_BELOW = 1e-5  # vLLM treats a lower temperature as none


class InvalidSampling(ValueError):
    """A sampling parameter outside its range.  field: its name."""

    def __init__(self, name: str, promise: str) -> None:
        super().__init__(f"{name} must be {promise}")
        self.field = name


@dataclass(frozen=True)
class Sampling:
    """Parameters of one generation, named and meant as in vLLM; the default is greedy.

    stop_token_ids: end the reply besides the model's own end tokens.  top_k: 0 or -1 is off.
    Raises InvalidSampling for a value outside its range.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "temperature": (0 <= self.temperature < math.inf, "non-negative and finite"),
            "top_p": (0 < self.top_p <= 1, "in (0, 1]"),
            "top_k": (self.top_k >= -1, "-1, 0 or a positive number"),
            "min_p": (0 <= self.min_p <= 1, "in [0, 1]"),
            "presence_penalty": (-2 <= self.presence_penalty <= 2, "in [-2, 2]"),
            "frequency_penalty": (-2 <= self.frequency_penalty <= 2, "in [-2, 2]"),
            "repetition_penalty": (0 < self.repetition_penalty < math.inf, "positive and finite"),
            "min_tokens": (0 <= self.min_tokens <= self.max_tokens, "in [0, max_tokens]"),
            "logit_bias": (
                all(-100 <= bias <= 100 for bias in self.logit_bias.values()),
                "a map of token ids to values in [-100, 100]",
            ),
        }
        for name, (holds, promise) in ranges.items():
            if not holds:  # also where a value is not a number: every comparison with NaN fails
                raise InvalidSampling(name, promise)


class Sampler:
    """Chooses the tokens of one generation, one after the other.

    ends: the token ids that end it, held back until ``min_tokens`` have been chosen.
    edit: changes the logits in place, after biases and before penalties, where vLLM runs custom
    processors; given the prompt's ids and those chosen so far.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt_ids: Sequence[int],
        ends: frozenset[int],
        edit: Callable[[Tensor, Sequence[int], Sequence[int]], None] | None = None,
    ) -> None:
        self._how = sampling
        self._prompt_ids = tuple(prompt_ids)
        self._edit = edit
        self._ends = torch.tensor(sorted(ends), dtype=torch.long)
        self._seen = set(prompt_ids)
        self._chosen: list[int] = []
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed % 2**63)

    def choose(self, logits: Tensor) -> int:
        """The next token.  logits: [vocab], not changed."""
        how = self._how
        scores = self._biased(logits.detach().to("cpu", torch.float32, copy=True))
        if self._edit is not None:
            self._edit(scores, self._prompt_ids, tuple(self._chosen))
        scores = self._penalised(scores)
        if how.temperature < GREEDY_BELOW:
            token = int(scores.argmax())
        else:
            kept = _top_p(_top_k(_min_p(scores / how.temperature, how.min_p), how.top_k), how.top_p)
            token = int(torch.multinomial(kept.softmax(-1), 1, generator=self._generator))
        self._chosen.append(token)
        self._seen.add(token)
        return token

    def _biased(self, scores: Tensor) -> Tensor:
        for token, bias in self._how.logit_bias.items():
            scores[token] += bias
        if len(self._chosen) < self._how.min_tokens:
            scores[self._ends] = -math.inf
        return scores

    def _penalised(self, scores: Tensor) -> Tensor:
        how = self._how
        if (how.repetition_penalty, how.frequency_penalty, how.presence_penalty) == (1.0, 0.0, 0.0):
            return scores
        seen = torch.tensor(sorted(self._seen), dtype=torch.long)
        factor = how.repetition_penalty
        scores[seen] = torch.where(scores[seen] > 0, scores[seen] / factor, scores[seen] * factor)
        chosen = torch.tensor(self._chosen, dtype=torch.long)
        counts = torch.bincount(chosen, minlength=len(scores))
        return scores - how.frequency_penalty * counts - how.presence_penalty * (counts > 0)


def _min_p(scores: Tensor, least: float) -> Tensor:
    """Only tokens at least so likely, relative to the likeliest."""
    if least == 0:
        return scores
    likely = scores.softmax(-1)
    return scores.masked_fill(likely < least * likely.max(), -math.inf)


def _top_k(scores: Tensor, most: int) -> Tensor:
    """Only the ``most`` best tokens, and those that tie with the last of them."""
    if not 0 < most < len(scores):
        return scores
    return scores.masked_fill(scores < scores.topk(most).values[-1], -math.inf)


def _top_p(scores: Tensor, mass: float) -> Tensor:
    """Only the likeliest tokens that make up the mass; always at least one."""
    if mass == 1:
        return scores
    ascending, order = scores.sort(stable=True)
    outside = ascending.softmax(-1).cumsum(-1) <= 1 - mass
    outside[-1] = False
    return scores.masked_fill(torch.zeros_like(outside).scatter(0, order, outside), -math.inf)
