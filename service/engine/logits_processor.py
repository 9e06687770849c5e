"""``--logits-processors service.engine.logits_processor:LetheLogits``: for both model runners.

The class is built when it is first asked for: V2 imports it in the API process too, where neither
torch nor a model is wanted, and each runner has an interface of its own.
"""

import functools
from typing import Any

from service.engine.ops import SWITCHBOARD


class _Edits:
    """Mixed in before both interfaces.  V1 makes it with three arguments, V2 with two."""

    def __init__(self, *args: Any) -> None:
        del args
        SWITCHBOARD.calls["logits processors"] += 1

    def apply(self, logits: Any, context: Any = None) -> Any:
        """[rows, vocabulary], float32, changed in place.  context: V2's; V1 gives none."""
        if SWITCHBOARD.sampling is not None:
            SWITCHBOARD.calls["logits"] += 1
            SWITCHBOARD.sampling.edit(logits, context)
        return logits

    def is_argmax_invariant(self) -> bool:
        """V1: it has to run for greedy requests too."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """V1: nothing is kept by row."""
        del batch_update

    def add_request(self, index: int, params: Any) -> bool:
        """V2: whether this request's logits are edited."""
        del index
        sampling = SWITCHBOARD.sampling
        return sampling is not None and sampling.concerns(params.extra_args)


@functools.cache
def _built() -> type[Any]:
    from vllm.v1.sample.logits_processor import interface as v1
    from vllm.v1.worker.gpu.sample.logits_processor import interface as v2

    bases = (_Edits, v1.LogitsProcessor, v2.LogitsProcessor)
    return type("LetheLogits", bases, {"__module__": __name__})


def __getattr__(name: str) -> Any:
    if name == "LetheLogits":
        return _built()
    raise AttributeError(name)
