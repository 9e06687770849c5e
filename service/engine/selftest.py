"""The worker's proof, before it serves, that the operators are in the model that will run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from guards.points import Site
from service.engine import vllm_0_32 as seams
from service.engine.ops import EMBEDDING, SWITCHBOARD, name_of

_TOKENS = 8
_EDITED = 4


class NotEffective(RuntimeError):
    """An operator is missing from the compiled model, or what it does has no effect."""


def prove_effect(worker: Any, sites: Sequence[str]) -> None:
    """Run warm-up batches with and without edits of their first rows; raise NotEffective.

    Every site must have been passed each time.  Edited at one site of each kind (the last), the
    edited rows must come out different, the others alike.  A compiled graph from a stale cache, or
    a captured one that swallowed an operator, fails here.
    """
    before = dict(SWITCHBOARD.calls)
    last = {site.partition(":")[0]: site for site in sites}
    plain = seams.dummy_forward(worker, _TOKENS)
    edited = {kind: _forward(worker, Probe(site)) for kind, site in last.items()}
    passes = 1 + len(last)
    if not all(SWITCHBOARD.calls[site] >= before.get(site, 0) + passes for site in sites):
        raise NotEffective("the model that was compiled does not call Lethe's operators")
    for kind, hidden in edited.items():
        _compare(plain, hidden, kind)


def _forward(worker: Any, probe: "Probe") -> Tensor:
    SWITCHBOARD.connect(probe)
    try:
        return seams.dummy_forward(worker, _TOKENS)
    finally:
        SWITCHBOARD.disconnect()


def _compare(plain: Tensor, edited: Tensor, kind: str) -> None:
    if bool(torch.isclose(plain[:_EDITED], edited[:_EDITED]).all(dim=-1).any()):
        raise NotEffective(f"Lethe's operator ran without effect ({kind})")
    if not torch.allclose(plain[_EDITED:], edited[_EDITED:], rtol=1e-2, atol=1e-2):
        raise NotEffective(f"Lethe's operator changed rows that it was not asked to ({kind})")


class Probe:
    """A step that changes the first rows at one site, beyond all doubt."""

    def __init__(self, site: str) -> None:
        self._site = site

    def embed(self, hidden: Tensor) -> None:
        """Change the first rows, where that is the site."""
        if self._site == EMBEDDING:
            _disturb(hidden)

    def act(self, hidden: Tensor, residual: Tensor | None, site: Site) -> None:
        """Likewise."""
        del residual
        if self._site == name_of(site):
            _disturb(hidden)


def _disturb(hidden: Tensor) -> None:
    rows = hidden[:_EDITED]
    wave = torch.arange(rows.shape[-1], device=rows.device).add(1).cos()
    hidden[:_EDITED] = (rows + 4 * (1 + rows.float().abs().amax()) * wave).to(rows.dtype)
