"""What is said of the tokens of a given continuation: shared by both engines."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

PATH = "/lethe/score"  # of engines; only for a gateway
MOST = 64  # continuations of one request
MOST_TOKENS = 1 << 14  # of all of them together
LARGEST_BODY = 1 << 24


class AskedScores(NamedTuple):
    """What a gateway asks an engine to score.

    fields: signed edits, one for each continuation, which they hold (``SignedEdits.forced``).
    """

    prompt: tuple[int, ...]
    cache_salt: str
    fields: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The body of the request."""
        return {"prompt": self.prompt, "cache_salt": self.cache_salt, "fields": self.fields}

    @staticmethod
    def of_body(body: bytes) -> "AskedScores":
        """Raises ValueError, which quotes nothing."""
        try:
            value = json.loads(body)
            prompt, salt, fields = (value[name] for name in ("prompt", "cache_salt", "fields"))
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ValueError("not a body of scores") from None
        if not (
            isinstance(prompt, list)
            and all(type(each) is int and each >= 0 for each in prompt)
            and isinstance(salt, str)
            and isinstance(fields, list)
            and 0 < len(fields) <= MOST
            and all(isinstance(each, str) for each in fields)
        ):
            raise ValueError("not a body of scores")
        return AskedScores(tuple(prompt), salt, tuple(fields))


class TokenScore(NamedTuple):
    """One token where it stands.

    logprob: in nats; None for minus infinity, a token that a guard forbids.  likeliest: whether it
    is the argmax.  mean, deviation: of the log probability of a token drawn from the model's own
    distribution there, of which Min-K%++ (Zhang et al., arXiv 2404.02936) takes z-scores.
    """

    logprob: float | None
    likeliest: bool
    mean: float
    deviation: float


def token_scores(logits: "Tensor", tokens: Sequence[int]) -> list[TokenScore]:
    """One for each of the tokens, given the edited logits [tokens, vocabulary] that it meets.

    Raises ValueError where a row has no token that is possible, or is not made of numbers.
    """
    import torch

    expected = torch.tensor(list(tokens), device=logits.device)
    logs = logits.double().log_softmax(-1)
    if bool(logs.isnan().any()):
        raise ValueError("there is no distribution over the tokens")
    shares = logs.exp()
    finite = logs.masked_fill(shares == 0, 0.0)  # what is impossible takes no part in the moments
    means = (shares * finite).sum(-1)
    deviations = (shares * (finite - means[:, None]).square()).sum(-1).sqrt()
    of_tokens = logs.gather(-1, expected[:, None])[:, 0]
    likeliest = logits.argmax(-1) == expected
    columns = (each.tolist() for each in (of_tokens, likeliest, means, deviations))
    return [
        TokenScore(None if log == -torch.inf else log, best, mean, deviation)
        for log, best, mean, deviation in zip(*columns, strict=True)
    ]


def to_json(scores: Sequence[TokenScore]) -> dict[str, list[float | bool | None]]:
    """The scores of one continuation as they travel: a list for each quantity."""
    return {
        "logprobs": [each.logprob for each in scores],
        "likeliest": [each.likeliest for each in scores],
        "means": [each.mean for each in scores],
        "deviations": [each.deviation for each in scores],
    }
