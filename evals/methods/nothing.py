"""Nothing is done: the model that knows, behind a gateway without a forget request."""

from evals.methods.method import Method, nobody

METHOD = Method(source="none", requests=nobody)
