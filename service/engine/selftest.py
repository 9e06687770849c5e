"""The worker's proof, before it serves, that the operator is in the model that will run."""

from typing import Any

import numpy as np
import torch

from guards.case import Span
from guards.embedding_corruption import NAME, EmbeddingCorruption, manifest
from models.artifact import Artifact
from service.admission import Applicable
from service.engine import vllm_0_32 as seams
from service.engine.ops import SWITCHBOARD
from service.engine.rows import BatchStep, EmbeddingEdit, Request, Requests, Rows

_TOKENS = 8
_EDITED = Span(0, 4)


class NotEffective(RuntimeError):
    """The operator is missing from the compiled model, or what it does has no effect."""


def prove_effect(worker: Any, sites: list[int]) -> None:
    """Run a warm-up batch with and without an edit of its first rows; raise NotEffective.

    Every site must have been passed, the edited rows must come out different, the others alike.
    A compiled graph from a stale cache, or a captured one that swallowed the operator, fails here.
    """
    before = dict(SWITCHBOARD.calls)
    plain = seams.dummy_forward(worker, _TOKENS)
    SWITCHBOARD.connect(_probe(worker.lethe_requests))
    try:
        edited = seams.dummy_forward(worker, _TOKENS)
    finally:
        SWITCHBOARD.disconnect()
    if not all(SWITCHBOARD.calls[site] >= before.get(site, 0) + 2 for site in sites):
        raise NotEffective("the model that was compiled does not call Lethe's operator")
    inside = slice(*_EDITED)
    if bool(torch.isclose(plain[inside], edited[inside]).all(dim=-1).any()):
        raise NotEffective("Lethe's operator ran without effect")
    if not torch.allclose(plain[_EDITED.end :], edited[_EDITED.end :], rtol=1e-2, atol=1e-2):
        raise NotEffective("Lethe's operator changed rows that it was not asked to")


def _probe(requests: Requests) -> BatchStep:
    noise = Artifact("", {**manifest("rand_noise", 5.0), "tensors": None}, {})
    edit = EmbeddingEdit(Applicable(EmbeddingCorruption, noise), np.arange(*_EDITED))
    rows = Rows(NAME, 0, _TOKENS, 0)
    return BatchStep(requests, [(rows, Request((edit,)))])
