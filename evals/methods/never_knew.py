"""The model that was trained without what is to be forgotten: what every method would be like."""

from evals.methods.method import Method, nobody

METHOD = Method(source="retraining, the definition of unlearning", requests=nobody, never_knew=True)
