"""How likely what must not be said is: under a policy, and to a model that never knew it.

Scored are the tokens of a known answer that tell, with the rest of the answer around them.  A model
that never knew has seen neither the subject nor the value: its surrogate is the served model asked
about a stranger, for a value that nobody has (``service.compiler.inventing``).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.rules import Rules
from service.compiler.invented import WORD
from service.compiler.probe import Probe
from service.compiler.served import Served
from service.compiler.statistics import mean_of
from service.compiler.surrogate import pattern

Scores = NDArray[np.float64]


class Told(NamedTuple):
    """A prompt with an answer that tells.  spans: of the answer's characters that do, sorted."""

    prompt: str
    answer: str
    spans: tuple[tuple[int, int], ...]


class TokenScore(NamedTuple):
    """One token that tells.  token: its id; log_p: its log probability in nats."""

    token: int
    log_p: float


def told(probe: Probe) -> Told | None:
    """What the probe's known answer tells and where; None where that is not known."""
    spans = spans_of(probe.telling, probe.answer)
    return Told(probe.prompt, probe.answer, spans) if spans else None


def spans_of(phrases: Iterable[str], text: str) -> tuple[tuple[int, int], ...]:
    """Where the phrases stand in a text as whole words; joined where no word lies between."""
    found = sorted(m.span() for phrase in phrases for m in pattern(phrase).finditer(text))
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and not WORD.search(text[joined[-1][1] : start]):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def scored(
    served: Served, asked: Sequence[Told], rules: Rules | None = None
) -> list[list[TokenScore]]:
    """For each, the tokens that tell, under the rules."""
    pairs = [(each.prompt, each.answer) for each in asked]
    found = []
    for each, log_p in zip(asked, served.log_probabilities(pairs, rules), strict=True):
        ids = _ids(served, each.answer, len(log_p))
        ranges = served.pieces(each.answer, len(log_p))
        found.append([
            TokenScore(token, float(p))
            for token, p, (a, b) in zip(ids, log_p, ranges, strict=True)
            if any(a < end and b > start for start, end in each.spans)
        ])  # fmt: skip
    return found


def _ids(served: Served, answer: str, tokens: int) -> tuple[int, ...]:
    ids = served.renderer.plain(answer).ids
    return ids if len(ids) == tokens else served.renderer.plain(f" {answer}").ids


def scores(served: Served, asked: Sequence[Told], rules: Rules | None = None) -> Scores:
    """[asked], the mean log probability (nats a token) of what each tells."""
    tokens = scored(served, asked, rules)
    return np.array([mean_of(np.array([t.log_p for t in each])) for each in tokens])
