"""The in-process engine: a causal language model with interventions as plain hooks."""

from models.local_engine.engine import LocalEngine
from models.local_engine.interventions import EmbeddingHook, Interventions
from models.local_engine.sampling import InvalidSampling, Sampling

__all__ = ["EmbeddingHook", "Interventions", "InvalidSampling", "LocalEngine", "Sampling"]
