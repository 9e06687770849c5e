"""Every guard by name.  Adding one: a file, a line here, a test."""

from importlib import import_module
from typing import Any

from guards.points import Guard
from guards.policy import GuardSpec

GUARDS = {
    "adapter_routing": "guards.adapter_routing:AdapterRouting",
    "agent_rewrite": "guards.agent_rewrite:AgentRewrite",
    "embedding_corruption": "guards.embedding_corruption:EmbeddingCorruption",
    "head_probe": "guards.head_probe:HeadProbe",
    "in_context_instruction": "guards.in_context_instruction:InContextInstruction",
    "key_space_detection": "guards.key_space:KeySpaceDetection",
    "logit_difference": "guards.logit_difference:LogitDifference",
    "neuron_adjust": "guards.neuron_adjust:NeuronAdjust",
    "refusal": "guards.refusal:Refusal",
    "steering": "guards.steering:Steering",
    "text_filter": "guards.text_filter:TextFilterGuard",
    "token_filter": "guards.token_filter:TokenFilter",
}


def guard_class(kind: str) -> type[Guard]:
    """The class of that name.  Raises KeyError for a name that is not registered."""
    module, _, name = GUARDS[kind].partition(":")
    found: type[Guard] = getattr(import_module(module), name)
    return found


def import_all() -> None:
    """Import every guard now: an import holds the interpreter, and streams would wait for it."""
    for kind in GUARDS:
        guard_class(kind)


def build(spec: GuardSpec) -> Guard:
    """The guard that a policy asks for.  Raises KeyError or TypeError where there is none."""
    factory: Any = guard_class(spec.kind)
    guard: Guard = factory(**spec.options)
    return guard
