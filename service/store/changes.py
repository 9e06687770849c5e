"""Noticing that another process has changed the database."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from service.store.database import Database, StoreUnavailable
from service.store.postgres import Listener


class Changes(Protocol):
    """Used by one thread only."""

    def changed(self) -> bool:
        """Whether anything may have changed since the last call.  Raises StoreUnavailable."""

    def close(self) -> None:
        """Give its connection back."""


class SqliteChanges:
    """``PRAGMA data_version`` on a connection of its own: microseconds, no lock, no page read."""

    def __init__(self, database: Database) -> None:
        try:
            self._connection = database.engine.raw_connection()
        except SQLAlchemyError as error:
            raise StoreUnavailable(type(error).__name__) from None
        self._seen = -1

    def changed(self) -> bool:
        """As the protocol has it; True at first."""
        try:
            cursor = self._connection.cursor()
            (version,) = cursor.execute("PRAGMA data_version").fetchone()
            cursor.close()
        except sqlite3.Error as error:
            raise StoreUnavailable(type(error).__name__) from None
        before, self._seen = self._seen, version
        return bool(before != version)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


class PostgresChanges:
    """LISTEN/NOTIFY: the caller is woken, and asked nothing of the server while nothing changes.

    While the connection is lost, every call says that something may have changed: polling.
    """

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._heard = threading.Event()
        self._wake = wake
        self._heard.set()
        self._listener = Listener(database.engine, self._on_change)

    def changed(self) -> bool:
        """As the protocol has it; True at first, and while nothing can be heard."""
        heard = self._heard.is_set()
        self._heard.clear()  # before the caller looks: what comes meanwhile sets it again
        return heard or not self._listener.listening.is_set()

    def close(self) -> None:
        """End the connection."""
        self._listener.close()

    def _on_change(self) -> None:
        self._heard.set()
        self._wake()


def follow(database: Database, wake: Callable[[], None] = lambda: None) -> Changes:
    """The cheapest way to notice changes.  Raises StoreUnavailable.

    wake: called from another thread where a change announces itself; SQLite's do not.
    """
    return SqliteChanges(database) if database.is_sqlite else PostgresChanges(database, wake)
