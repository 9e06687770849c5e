"""The gate and the text filter alone: what all others have as well, and are more than."""

from evals.methods.method import Method, for_each

METHOD = Method(source="none", requests=for_each)
