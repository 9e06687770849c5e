"""A compile cache that stock vLLM filled can never switch the plugin off."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]


def test_a_cache_filled_without_the_plugin_is_not_taken(
    ran: Callable[[str], Any], batch: list[Any]
) -> None:
    stock = ran("stock-v1-piecewise")
    assert stock.code == 0, stock.log[-4000:]
    guarded = ran("v1-piecewise")  # same cache folder, and the same vLLM configuration
    edited = [i for i, job in enumerate(batch) if job.manifest]
    before, after = stock.result["rounds"][0], guarded.result["rounds"][0]
    assert all(before[i]["ids"] != after[i]["ids"] for i in edited)


def test_if_it_were_taken_the_engine_would_not_come_up(ran: Callable[[str], Any]) -> None:
    assert ran("stock-v1-piecewise").code == 0
    keyless = ran("keyless-v1-piecewise")
    assert "Directly load AOT compilation" in keyless.log, "the cache was not stale after all"
    assert keyless.code != 0
    assert "does not call Lethe's operator" in keyless.log
