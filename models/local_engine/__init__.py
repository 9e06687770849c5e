"""The in-process engine: a causal language model with interventions as plain hooks."""

from models.local_engine.engine import LocalEngine
from models.local_engine.interventions import (
    ActivationHook,
    EmbeddingHook,
    Interventions,
    LogitsHook,
)
from models.local_engine.sampling import InvalidSampling, Sampling

__all__ = [
    "ActivationHook",
    "EmbeddingHook",
    "Interventions",
    "InvalidSampling",
    "LocalEngine",
    "LogitsHook",
    "Sampling",
]
