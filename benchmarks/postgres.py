"""A real PostgreSQL server for tests and benchmarks, in a folder of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.sql import SQL, Identifier

from service.cli.processes import free_port

PLACES = "/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"
ROOM_BYTES = 2 << 30
OTHERS = "postgres", "nobody"  # whom root can run it as: the server refuses root


class NoPostgres(RuntimeError):
    """It cannot be run on this machine; the message says why."""


def binaries() -> Path:
    """The folder with ``initdb`` and ``pg_ctl``, newest version first.  Raises NoPostgres."""
    found = shutil.which("initdb")
    if found is not None and shutil.which("pg_ctl") is not None:
        return Path(found).resolve().parent
    for pattern in PLACES:
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
                return folder
    raise NoPostgres("PostgreSQL's initdb and pg_ctl are not installed")


@dataclass(frozen=True)
class Postgres:
    """One server.  ``url`` is that of its database."""

    folder: Path
    port: int
    tools: Path
    user: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"postgresql://lethe@127.0.0.1:{self.port}/postgres"

    def run(self, tool: str, *arguments: str) -> None:
        """One of PostgreSQL's programs, as the server's user."""
        log = self.folder / "tools.log"
        with log.open("ab") as output:
            subprocess.run(  # noqa: S603 - no shell
                [*self.user, str(self.tools / tool), *arguments],
                check=True,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def new_database(self, name: str) -> str:
        """The URL of an empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return f"{self.url.rpartition('/')[0]}/{name}"

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder} -p {self.port}"
        log = str(self.folder / "server.log")
        self.run("pg_ctl", "-D", self._data, "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """immediate: as a crash ends it; what was committed is there after the next start."""
        self.run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that is gone afterwards, with everything in it.  Raises NoPostgres."""
    tools, user = binaries(), _other_user()
    folder = Path(tempfile.mkdtemp(prefix="lethe-postgres-", dir=_quick_place()))
    try:
        if user:
            entry = pwd.getpwnam(user[-2])
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        server = Postgres(folder, free_port(), tools, user)
        data = str(folder / "data")
        server.run("initdb", "--no-sync", "-A", "trust", "-U", "lethe", "-D", data)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quick_place() -> str | None:
    """Memory, where there is enough of it: thousands of small files come and go."""
    place = "/dev/shm"  # noqa: S108 - mkdtemp makes a folder of our own in it
    try:
        return place if shutil.disk_usage(place).free > ROOM_BYTES else None
    except OSError:
        return None


def _other_user() -> tuple[str, ...]:
    """What to put in front of a command so that it does not run as root."""
    if os.geteuid() != 0:
        return ()
    runuser = shutil.which("runuser")
    known: Sequence[str] = [name for name in OTHERS if _exists(name)]
    if runuser is None or not known:
        raise NoPostgres("PostgreSQL refuses root, and there is no other user to run it as")
    return runuser, "-u", known[0], "--"


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
