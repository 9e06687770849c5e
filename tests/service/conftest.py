"""Databases for tests: SQLite, and a real PostgreSQL where one can be run."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from benchmarks.postgres import NoPostgres, Postgres, postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server of this test run."""
    try:
        with postgres() as server:
            yield server
    except NoPostgres as reason:
        pytest.skip(str(reason))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a module run on each database of its ``BACKENDS``; by default on SQLite alone.

    A test about one of them parametrises ``backend`` itself.
    """
    chosen = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "backend" in metafunc.fixturenames and "backend" not in chosen:
        backends = getattr(metafunc.module, "BACKENDS", ("sqlite",))
        metafunc.parametrize("backend", backends, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of the test's own."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'lethe.db'}"
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.new_database(f"test_{next(_numbers)}")


@pytest.fixture
def behind_its_back(database_url: str) -> Callable[..., None]:
    """Executes SQL on the database, as somebody would who has access to it."""

    def execute(statement: str, **values: Any) -> None:
        url = database_url.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    return execute
