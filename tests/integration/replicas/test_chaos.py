"""The chaos run in small: one gateway killed, one crash of a real PostgreSQL, on the demo model."""

from pathlib import Path

import pytest

from benchmarks.postgres import NoPostgres, binaries
from benchmarks.replicas import Plan, run


@pytest.mark.timeout(600)  # three programs that load a model each, on a machine that may be busy
async def test_no_promise_is_broken_while_a_gateway_is_killed_and_the_database_crashes(
    tmp_path: Path,
) -> None:
    try:
        binaries()
    except NoPostgres as reason:
        pytest.skip(str(reason))
    found = await run(Plan(acts=12, kills=1, crashes=1, seed=7), tmp_path)
    assert found["broken"] == []
    assert (found["gateways_killed"], found["database_crashed"]) == (1, 1)
    assert found["acts"] >= 12
    assert found["checked"]["matched exactly what its epoch lists"] > 0
    older = found["other_gateway_older"]
    assert older["longest_s"] <= older["bound_s"]
