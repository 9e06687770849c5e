"""What the model must answer under edits: the reference that vLLM with the plugin is held to."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from guards.case import Edit
from models.artifact import ArtifactStore
from models.local_engine import LocalEngine, Sampling
from service.admission import CheckedArtifacts
from service.local.edits import bindings_of, interventions


def oracle_tokens(
    model_path: Path,
    prompt_ids: Sequence[int],
    edits: Sequence[Edit],
    artifacts: ArtifactStore,
    max_tokens: int,
    *,
    ignore_eos: bool = False,
) -> list[int]:
    """Greedy token ids in float32, the end token included where there is one.

    Raises Refused where an artifact cannot be had, ValueError where the prompt does not fit.
    """
    engine = _engine(model_path)
    bindings = bindings_of(engine, CheckedArtifacts(artifacts))
    acting = interventions(edits, bindings, len(prompt_ids))
    how = Sampling(max_tokens=max_tokens, ignore_eos=ignore_eos)
    return list(engine.generate(prompt_ids, how, acting))


@lru_cache(maxsize=2)
def _engine(model_path: Path) -> LocalEngine:
    return LocalEngine.load(model_path)
