"""Evaluation: datasets, attacks and scorers over running endpoints."""
