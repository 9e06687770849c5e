"""Every method that is compared, by name."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.methods.method import Method

METHODS = {
    "nothing": "evals.methods.nothing",
    "never_knew": "evals.methods.never_knew",
    "text_filter": "evals.methods.text_filter",
    "stopgap": "evals.methods.stopgap",
    "eco": "evals.methods.eco",
    "eco_persistent": "evals.methods.eco_persistent",
    "guard": "evals.methods.guard",
    "steering_mean": "evals.methods.steering_mean",
    "steering_null_space": "evals.methods.steering_null_space",
    "neuron_adjust": "evals.methods.neuron_adjust",
    "key_space": "evals.methods.key_space",
    "uld": "evals.methods.uld",
    "divergence_linear": "evals.methods.divergence_linear",
    "divergence_rank": "evals.methods.divergence_rank",
    "roadblock": "evals.methods.roadblock",
    "npo": "evals.methods.npo",
    "instruction": "evals.methods.instruction",
    "refusal": "evals.methods.refusal",
    "lethe": "evals.methods.lethe",
    "lethe_strict": "evals.methods.lethe_strict",
}


def method_named(name: str) -> "Method":
    """Raises KeyError for a method that there is not."""
    found: Method = import_module(METHODS[name]).METHOD
    return found
