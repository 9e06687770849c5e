"""The methods to compare, each fitted to one ground and served by a stack of its own."""

from evals.methods.ground import Ground
from evals.methods.stack import NotAccepted, Running, running

__all__ = ["Ground", "NotAccepted", "Running", "running"]
