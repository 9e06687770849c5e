"""Divergence Decoding, rank: the tokens by which the same two small models differ most go."""

from evals.methods.divergence_linear import METHOD as LINEAR
from evals.methods.material import Material
from evals.methods.method import Method, Requests, for_each
from guards.policy import GuardSpec

TOP = 20


def requests(material: Material) -> Requests:
    """The pair of the linear form."""
    (digest,) = material.fitted("divergence_linear").artifacts
    pair = material.store.open(digest)
    kept = {k: v for k, v in pair.manifest.items() if k not in ("strength", "tensors")}
    ranked = material.put({**kept, "method": "dd_rank", "top": TOP}, pair.tensors, sealed=True)
    return for_each(material, GuardSpec("logit_difference", {"artifact": ranked}))


METHOD = Method(
    source="Divergence Decoding (2026, arXiv 2605.31293), rank: k 20",
    settings={**LINEAR.settings, "strength": None, "top": TOP},
    differs=LINEAR.differs,
    requests=requests,
)
