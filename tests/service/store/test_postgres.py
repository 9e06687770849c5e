"""PostgreSQL: its URLs, its announcements, and a server that goes away."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks.postgres import NoPostgres, Postgres, postgres
from service.settings import Settings
from service.store.changes import PostgresChanges, SqliteChanges, follow
from service.store.database import StoreUnavailable, open_database
from service.store.replicas import Report
from service.store.store import Store, open_store

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """A server that may be stopped."""
    try:
        with postgres() as server:
            yield server
    except NoPostgres as reason:
        pytest.skip(str(reason))


@pytest.fixture
def over_postgres(own_server: Postgres, tmp_path: Path) -> Iterator[Store]:
    url = own_server.new_database(f"db_{time.monotonic_ns()}")
    store = open_store(Settings(data_dir=tmp_path, database_url=url))
    yield store
    store.close()


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_url_with_options_of_its_own_is_listened_to_as_well(own_server: Postgres) -> None:
    database = open_database(own_server.url + "?options=-c%20lock_timeout%3D7s%20-c%20jit%3Doff")
    with database.reading() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "7s"
    changes = follow(database)
    assert isinstance(changes, PostgresChanges)
    _until(changes._listener.listening.is_set)
    changes.close()
    database.close()


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_both_forms_of_the_url_are_the_same_database(own_server: Postgres, scheme: str) -> None:
    database = open_database(own_server.url.replace("postgresql", scheme, 1))
    with database.reading() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="SQLite or PostgreSQL"):
        open_database("mysql://localhost/lethe")


def test_commits_are_durable_also_where_the_server_is_set_otherwise(own_server: Postgres) -> None:
    database = open_database(own_server.url + "?options=-c%20synchronous_commit%3Doff")
    with database.reading() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    database.close()


def test_a_writer_that_stops_in_the_middle_does_not_stop_the_others_for_good(
    own_server: Postgres,
) -> None:
    database = open_database(own_server.url)
    with database.writing() as connection:
        limits = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("lock_timeout", "idle_in_transaction_session_timeout")
        ]
    assert limits == ["10s", "10s"]
    database.close()


def test_a_change_wakes_who_listens_and_without_one_nothing_is_asked(
    over_postgres: Store, tmp_path: Path
) -> None:
    woken = threading.Event()
    changes = over_postgres.changes(woken.set)
    assert isinstance(changes, PostgresChanges)
    _until(lambda: woken.is_set() and changes._listener.listening.is_set())
    changes.changed()
    woken.clear()
    assert not changes.changed()
    over_postgres.replicas.renew("rep_a", Report(0, 0))
    assert woken.wait(PATIENCE_S)
    assert changes.changed()
    woken.clear()
    over_postgres.replicas.renew("rep_a", Report(0, 0), news=False)
    assert not woken.wait(0.3)
    changes.close()


def test_while_the_connection_is_lost_it_is_polled_and_then_heard_again(
    own_server: Postgres, over_postgres: Store
) -> None:
    woken = threading.Event()
    changes = over_postgres.changes(woken.set)
    assert isinstance(changes, PostgresChanges)
    _until(changes._listener.listening.is_set)
    own_server.stop("immediate")
    try:
        _until(lambda: not changes._listener.listening.is_set())
        assert [changes.changed() for _ in range(3)] == [True] * 3
        with pytest.raises(StoreUnavailable):
            over_postgres.epochs.newest()
    finally:
        own_server.start()
    _until(changes._listener.listening.is_set)
    changes.changed()
    woken.clear()
    _until(lambda: over_postgres.epochs.newest() == 0)
    over_postgres.replicas.renew("rep_a", Report(0, 0))
    assert woken.wait(PATIENCE_S)
    changes.close()


def test_a_connection_that_the_server_ended_is_replaced(
    own_server: Postgres, over_postgres: Store
) -> None:
    assert over_postgres.epochs.newest() == 0
    other = open_database(own_server.url)
    with other.writing() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid()"
            )
        )
    other.close()
    assert over_postgres.epochs.newest() == 0


def test_one_that_starts_before_the_server_waits_for_it(
    own_server: Postgres, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=own_server.url)
    own_server.stop()
    try:
        with pytest.raises(StoreUnavailable):
            open_store(settings)
        starting = threading.Timer(0.5, own_server.start)
        starting.start()
        open_store(settings, patience_s=PATIENCE_S).close()
        starting.join()
    except BaseException:
        own_server.start()
        raise


def test_sqlite_needs_nobody_to_announce_anything(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    changes = follow(database)
    assert isinstance(changes, SqliteChanges)
    assert (changes.changed(), changes.changed()) == (True, False)
    changes.close()
    database.close()
