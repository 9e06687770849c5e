"""Copies of a model with other weights: what forgetting in the weights becomes of."""
