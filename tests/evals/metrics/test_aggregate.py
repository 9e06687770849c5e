"""Aggregates by hand, and on published values."""

import pytest

from evals.metrics.aggregate import aggregate, harmonic, memorisation, privacy, utility


def test_published_values_come_out() -> None:
    # Target and retrained model on forget10, Llama-3.1-8B: Mem .01 and .53.
    assert memorisation(0.979, 0.998, 0.068, 0.474) == pytest.approx(0.01, abs=0.005)
    assert memorisation(0.065, 0.613, 0.038, 0.641) == pytest.approx(0.53, abs=0.01)
    assert aggregate(0.53, 0.98, 1.03) == pytest.approx(0.78, abs=0.01)
    assert aggregate(0.56, 0.95, 1.00) == pytest.approx(0.78, abs=0.01)


def test_privacy_by_hand() -> None:
    found = privacy({"a": 0.9, "b": 0.2}, {"a": 0.4, "b": 0.4})
    assert found == pytest.approx(2 / (1 / 0.5 + 1 / 0.8))
    with pytest.raises(KeyError):
        privacy({"a": 0.9}, {})


def test_utility_is_relative() -> None:
    assert utility(0.6, 0.9, 0.6, 0.9) == 1
    assert utility(0.3, 0.3, 0.6, 0.6) == pytest.approx(0.5)


def test_one_zero_is_enough() -> None:
    assert harmonic([0.9, 0.0, 0.9]) == 0
    assert memorisation(1.0, 0.5, 0.5, 0.5) == 0
    with pytest.raises(ValueError, match="mean of nothing"):
        harmonic([])
