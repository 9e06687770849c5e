"""What an endpoint wrote in answer to a probe, as metrics on text take it."""

from collections.abc import Sequence

from evals.metrics.summary import number
from evals.probe import Answered
from evals.suite import Figure


def written(answered: Answered) -> str | None:
    """The content of the last reply.

    Empty where the request was turned down, which is an answer; None where there is none at all, as
    nothing was asked for or the request failed: that says nothing about what the model knows.
    """
    if answered.conversations:
        return answered.reply.text
    return "" if answered.decided else None


def unanswered(answered: Sequence[Answered]) -> list[Figure]:
    """How many requests failed and are in no figure, if any did."""
    failed = sum(
        answer.probe.ask is not None and answer.probe.ask.max_tokens > 0 and written(answer) is None
        for answer in answered
    )
    unread = sum(bool(answer.probe.read) and bool(answer.error) for answer in answered)
    note = "requests that failed, left out of every other figure"
    missing = max(failed, unread)
    return number("unanswered", missing, "lower", len(answered), note) if missing else []
