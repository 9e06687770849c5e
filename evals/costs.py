"""What answering costs: seconds and tokens, as a client sees them."""

from collections.abc import Iterable, Sequence

import numpy as np

from evals.probe import Answered, Frozen, Reply


class Cost(Frozen):
    """Of the requests that were answered.

    seconds: until the last byte; first: until the first byte of a streamed answer's content (None
    where nothing was streamed).  tokens_per_second: of one answer being written, all tokens over
    the sum of all seconds; None where the endpoint does not count tokens.
    """

    requests: int
    failed: int
    tokens: int
    seconds_p50: float | None = None
    seconds_p99: float | None = None
    first_p50: float | None = None
    first_p99: float | None = None
    tokens_per_second: float | None = None


def cost_of(answered: Iterable[Answered]) -> Cost:
    """Over all requests.  failed: probes with an error."""
    replies: list[Reply] = []
    first: list[float] = []
    failed = 0
    for one in answered:
        failed += bool(one.error)
        asked = [reply for replies in one.conversations for reply in replies]
        replies += asked
        if one.probe.ask is not None and one.probe.ask.stream:
            first += [reply.first for reply in asked]
    seconds = [reply.seconds for reply in replies]
    tokens = sum(reply.tokens for reply in replies)
    return Cost(
        requests=len(replies),
        failed=failed,
        tokens=tokens,
        seconds_p50=_quantile(seconds, 0.5),
        seconds_p99=_quantile(seconds, 0.99),
        first_p50=_quantile(first, 0.5),
        first_p99=_quantile(first, 0.99),
        tokens_per_second=tokens / sum(seconds) if tokens and sum(seconds) > 0 else None,
    )


def _quantile(values: Sequence[float], q: float) -> float | None:
    return float(np.quantile(values, q)) if values else None
