"""How PostgreSQL is spoken to: the driver, its time limits, and a connection that listens."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

DRIVER = "postgresql+psycopg"
CHANNEL = "lethe"

# A server that is gone without a word must not hold a thread for longer than this, and a client
# that is (stopped in mid-transaction) must not hold the writers' lock.
_LIMITS = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "options": "-c lock_timeout=10s -c idle_in_transaction_session_timeout=10s",
}
_LISTEN_S = 1.0  # how long a thread that is told to end may go on listening
_AGAIN_S = 0.2

log = logging.getLogger(__name__)


def engine(url: URL) -> Engine:
    """An engine on that server.  Limits that the URL names itself are left as they are.

    Connections that broke are replaced when they are next asked for.
    """
    made = create_engine(
        url.set(drivername=DRIVER),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=40,
        connect_args=_limits(url),
    )
    event.listen(made, "connect", _on_connect)
    return made


def _limits(url: URL) -> dict[str, str]:
    return {name: value for name, value in _LIMITS.items() if name not in url.query}


def _on_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # A server may be set to confirm commits that a crash would lose: "durable" is said of them.
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()


class Listener:
    """A thread that hears of every change that is announced, over a connection of its own.

    on_change: called from that thread for each change, after each loss of the connection (what was
    announced meanwhile was not heard) and when it is back.
    """

    def __init__(self, engine: Engine, on_change: Callable[[], None]) -> None:
        self._engine = engine
        self._on_change = on_change
        self._stopping = threading.Event()
        self.listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lethe-listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread.  Returns at once; it hears for a second more at most."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            kind = ""
            try:
                self._listen()
            except psycopg.Error as error:
                kind = type(error).__name__  # the message may quote the URL
            if self.listening.is_set():
                self.listening.clear()
                self._on_change()
                if kind:
                    log.warning("listening_lost kind=%s", kind)
            self._stopping.wait(_AGAIN_S)

    def _listen(self) -> None:
        # As the engine's own connections are made: a URL in SQLAlchemy's words is not libpq's.
        parts, named = self._engine.dialect.create_connect_args(self._engine.url)
        given: dict[str, Any] = {**_limits(self._engine.url), **named, "autocommit": True}
        with psycopg.connect(*parts, **given) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self.listening.set()
            self._on_change()
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=_LISTEN_S):
                    self._on_change()
