"""Telling words made as unlikely as they are to a model that never knew them, and no less likely.

Corruption hides who is asked about; the values themselves stay known, and so likelier than values
that the model never saw.  Each token of a telling word loses as many nats as brings known answers,
on average, to the score of the surrogate.  A ban would be seen at once: nothing that can be said
has no probability at all.

Source: none; the penalty is applied by the token filter of GUARD (arXiv 2505.13312).
"""

import secrets
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guards.policy import GuardSpec
from guards.token_filter import NAME, compiled
from service.compiler.candidates.candidate import Candidate, Ground
from service.compiler.likelihood import TokenScore, Told, scored

MOST_NATS = 20.0
_HALVINGS = 40


def evened(ground: Ground, base: Candidate) -> Candidate | None:
    """The base, with what is still too likely made less so.  None where nothing is."""
    nats = penalties(ground, base)
    if not nats:
        return None
    # A filter has phrases; nobody writes this one.
    made = compiled(
        [secrets.token_hex(16)],
        ground.vocabulary,
        bias_tokens=sorted(nats),
        bias=[nats[token] for token in sorted(nats)],
    )
    spec = GuardSpec(NAME, {"artifact": ground.put(*made, sealed=True)})
    return Candidate(f"{base.name}, telling words evened out", (*base.guards, spec))


def penalties(ground: Ground, base: Candidate) -> dict[int, float]:
    """Nats to take from each token of telling words, above 0."""
    sheet = ground.sheet
    found = scored(ground.served, sheet.told, ground.rules(base.guards))
    spared = _spoken(ground)
    goals: dict[tuple[str, ...], list[float]] = defaultdict(list)
    known: dict[tuple[str, ...], list[list[TokenScore]]] = defaultdict(list)
    for told, tokens, strange in zip(sheet.told, found, sheet.strange, strict=True):
        goals[_values(told)].append(float(strange))
        known[_values(told)].append(tokens)
    nats: dict[int, float] = {}
    for values, answers in known.items():
        needed = penalty(answers, float(np.mean(goals[values])))
        for token in {each.token for tokens in answers for each in tokens} - spared:
            nats[token] = max(needed, nats.get(token, 0.0))
    return {token: taken for token, taken in nats.items() if taken > 0}


def penalty(answers: Sequence[Sequence[TokenScore]], goal: float) -> float:
    """Nats to take from the logit of each token, so that the mean score comes down to the goal.

    answers: by answer, the tokens that tell; an answer's score is the mean of theirs.  At most
    ``MOST_NATS``; 0 where the mean is not above the goal.
    """
    each = [np.array([token.log_p for token in tokens]) for tokens in answers if tokens]
    low, high = 0.0, MOST_NATS
    if not each or _mean(each, low) <= goal:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean(each, middle) > goal else (low, middle)
    return high


def _mean(answers: Sequence[NDArray[np.float64]], nats: float) -> float:
    return float(np.mean([lowered(log_p, nats).mean() for log_p in answers]))


def lowered(log_p: NDArray[np.float64], nats: float) -> NDArray[np.float64]:
    """Log probabilities of tokens whose logits lose so many nats, all others staying.

    log p' = log p - c - log(1 - p + p e^-c)
    """
    rest = np.log1p(-np.exp(log_p) * -np.expm1(-nats))
    lower: NDArray[np.float64] = log_p - nats - rest
    return lower


def _values(told: Told) -> tuple[str, ...]:
    return tuple(told.answer[start:end].casefold() for start, end in told.spans)


def _spoken(ground: Ground) -> set[int]:
    """Tokens that answers about strangers are made of: those must stay sayable."""
    plain = ground.served.renderer.plain
    return {token for text in ground.sheet.said for token in plain(text).ids}
