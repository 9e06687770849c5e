"""Logistic regression towards weights that are known to be good in general."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_STEPS = 60
_NEAR = 1e-9


def fit_logistic(rows: Array, labels: Array, prior: Array, precision: Array) -> Array:
    """The most probable weights under a Gaussian prior: Newton's method, to convergence.

    rows: [n, k].  labels: [n] of 0 and 1; each class weighs the same in all.  prior, precision:
    [k], mean and inverse variance.  Without rows, or with rows of one class, it is the prior.
    """
    positive = labels.sum()
    if positive in (0, len(labels)):
        return prior.copy()
    share = np.where(labels == 1, 0.5 / positive, 0.5 / (len(labels) - positive)) * len(labels)
    weights = prior.copy()
    loss = _loss(rows, labels, share, weights, prior, precision)
    for _ in range(_STEPS):
        chance = _sigmoid(rows @ weights)
        slope = rows.T @ (share * (chance - labels)) + precision * (weights - prior)
        curve = (rows * (share * chance * (1 - chance))[:, None]).T @ rows + np.diag(precision)
        step, size = np.linalg.solve(curve, slope), 1.0
        while size > _NEAR:  # a full step may overshoot where the classes are far apart
            tried = weights - size * step
            lower = _loss(rows, labels, share, tried, prior, precision)
            if lower <= loss:
                break
            size /= 2
        else:
            break
        weights, gained, loss = tried, loss - lower, lower
        if gained < _NEAR * (1 + abs(loss)):
            break
    return weights


def _sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def _loss(
    rows: Array, labels: Array, share: Array, weights: Array, prior: Array, precision: Array
) -> float:
    logits = rows @ weights
    likelihood = share * (np.logaddexp(0, logits) - labels * logits)
    return float(likelihood.sum() + (precision * (weights - prior) ** 2).sum() / 2)
