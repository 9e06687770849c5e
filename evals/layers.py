"""The layers of the defence, in one vocabulary for attacks, checks, planted faults and reports."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Layer = Literal[
    "N", "L1", "L1-C", "L2", "L3", "L4", "L5", "L5n", "L5s", "G", "R", "T", "S", "E", "P"
]

LAYERS: Mapping[Layer, str] = MappingProxyType(
    {
        "N": "the normaliser in front of the prompt classifier",
        "L1": "the prompt classifier",
        "L1-C": "the prompt classifier over the whole conversation",
        "L2": "embedding corruption",
        "L3": "token filtering",
        "L4": "activation steering",
        "L5": "the check of the answer",
        "L5n": "the check of the answer, on its normalised text",
        "L5s": "the check of the answer, by meaning",
        "G": "a rule of the gateway on requests",
        "R": "the rendering of the prompt, and what the engine is sent",
        "T": "the trust between gateway and engine",
        "S": "the stream of an answer",
        "E": "what surrounds an answer: status, finish, usage, time",
        "P": "the life of a policy: when it is in force, and for whom",
    }
)
"""By code.  Of several that may stop an attack, an attack names the one that must do it alone."""
