"""The database: how it is opened, and the two kinds of transaction there are."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from service.store import postgres

BUSY_TIMEOUT_MS = 10_000
_WRITE = "lethe_write"
_WRITERS_LOCK = (
    0x6C65746865  # of PostgreSQL's advisory locks: writers take their turn, as in SQLite
)


class StoreUnavailable(RuntimeError):
    """The database did not answer.  Its own message stays inside: it may quote values."""


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Database:
    """An engine with serialised writers and readers that see one snapshot.  Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writer = engine.execution_options(**{_WRITE: True})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of everything.  Raises StoreUnavailable."""
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with _translated(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def writing(self, *, quiet: bool = False) -> Iterator[Connection]:
        """A transaction that no other writer overlaps; durable when this returns.

        quiet: nothing that a replica waits for; nobody is woken.
        Raises StoreUnavailable, and then nothing of it has happened, or (where the connection to a
        remote database broke at the commit) all of it.
        """
        with _translated(), self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _WRITERS_LOCK})
            yield connection
            if not quiet:
                self.announce(connection)

    def announce(self, connection: Connection) -> None:
        """Wake whoever listens, when this transaction commits.  SQLite's readers see it anyway."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_notify(:c, '')"), {"c": postgres.CHANNEL})

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The driver's text quotes statements and parameters, which hold what must not be logged.
        raise StoreUnavailable(type(error).__name__) from None


def open_database(url: str) -> Database:
    """Open, creating a SQLite file (owner-only) where there is none.

    url: ``sqlite:///...``, ``postgresql://...`` or ``postgresql+psycopg://...``.
    Raises StoreUnavailable, ValueError for any other URL.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return Database(postgres.engine(parsed))
    if backend != "sqlite":
        raise ValueError("the database must be SQLite or PostgreSQL")
    return _open_sqlite(parsed)


def _open_sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:":
        raise ValueError("the database must be a file: several processes follow it")
    with _translated():
        try:
            _create_file(Path(url.database))
        except OSError as error:
            raise DBAPIError(None, None, error) from None
        engine = create_engine(url, hide_parameters=True, pool_size=10, max_overflow=40)
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        _switch_to_wal(engine)
    return Database(engine)


def _create_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite gives the write-ahead log the permissions of the database.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, in _on_begin
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # Taking the write lock first: a reader that turned into a writer could find itself outdated.
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _switch_to_wal(engine: Engine, patience_s: float = 10.0) -> None:
    # Processes that start at once can collide here, where SQLite does not apply its busy timeout.
    deadline = time.monotonic() + patience_s
    while True:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if time.monotonic() > deadline:
                raise DBAPIError(None, None, error) from None
        else:
            return
        finally:
            raw.close()
        time.sleep(0.02)
