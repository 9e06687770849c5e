"""Two gateways, one engine, one PostgreSQL, and the ways to break them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import create_engine, text

from benchmarks.chaos.history import Act, Epochs, Line
from benchmarks.postgres import Postgres, postgres
from service.cli.processes import answers, end, free_port
from service.cli.stack import GATEWAY, bootstrap_key, engine_running
from service.settings import Settings
from service.store.state import ENFORCED


@dataclass
class Gateway:
    """One gateway process, started again whenever it was killed."""

    name: str
    settings: Settings
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.admin_port}"

    def start(self) -> None:
        """Run it; returns at once."""
        log = self.settings.data_dir / f"{self.name}.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - no shell
                [sys.executable, "-m", GATEWAY],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.settings.environment()},
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            end(self.process)

    def is_ready(self) -> bool:
        """Whether it takes traffic now."""
        return answers(f"{self.url}/health/ready")

    async def until_ready(self, limit_s: float) -> float:
        """Seconds until it takes traffic, however often asked.  Raises TimeoutError."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        async with asyncio.timeout(limit_s):
            while not await asyncio.to_thread(self.is_ready):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return clock.time() - began

    def lines(self) -> Iterator[Line]:
        """The cases of its audit, of every process that it ran as."""
        log = self.settings.audit_path
        for path in sorted(log.parent.glob(f"{log.stem}*{log.suffix}*")):
            for raw in path.read_bytes().splitlines():
                line = _line(self.name, raw)
                if line is not None:
                    yield line


def _line(gateway: str, raw: bytes) -> Line | None:
    try:
        record = json.loads(raw)
    except ValueError:
        return None  # a process was killed in the middle of it
    if record.get("outcome") != "completed":
        return None
    at = datetime.fromisoformat(record["time"]).timestamp()
    policies = frozenset(record["policies"])
    began = at - record["duration_s"]
    return Line(record["case"], gateway, record["epoch"], policies, began, at)


@dataclass(frozen=True)
class System:
    """Everything that runs."""

    database: Postgres
    gateways: tuple[Gateway, ...]
    settings: Settings
    keys: dict[str, str] = field(default_factory=dict)

    def headers(self, plane: str) -> dict[str, str]:
        """With the key of a plane."""
        if plane not in self.keys:
            self.keys[plane] = bootstrap_key(self.settings.data_dir, plane)
        return {"authorization": f"Bearer {self.keys[plane]}"}

    def crash_database(self) -> None:
        """As a crash ends it, and up again."""
        self.database.stop("immediate")
        self.database.start()

    def epochs(self) -> Epochs:
        """What the database says happened."""
        engine = create_engine(self.database.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            current = connection.execute(
                text("SELECT number, current_at FROM epochs WHERE current_at IS NOT NULL")
            )
            current_at = {row.number: row.current_at / 1000 for row in current}
            acts = connection.execute(
                text(
                    "SELECT act, target, digest, epoch FROM admin_acts WHERE epoch > 0 ORDER BY seq"
                )
            )
            listed = [Act(*row) for row in acts]
            states = connection.execute(text("SELECT id, state FROM forget_requests"))
            active = frozenset(row.id for row in states if row.state in ENFORCED)
        engine.dispose()
        return Epochs(current_at, listed, active)


@contextmanager
def running_system(folder: Path, lease_s: float) -> Iterator[System]:
    """An engine, a database and two gateways, the gateways not ready yet.  Raises NoPostgres."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        base = Settings(
            data_dir=folder,
            database_url=database.url,
            engine="local",
            engine_url=f"http://127.0.0.1:{free_port()}",
            lease_s=lease_s,
        )
        gateways = tuple(_gateway(base, name) for name in ("a", "b"))
        stack.enter_context(engine_running(base))
        for gateway in gateways:
            stack.callback(gateway.stop)
            gateway.start()
        yield System(database, gateways, base)


def _gateway(base: Settings, name: str) -> Gateway:
    own = {
        "port": free_port(),
        "admin_port": free_port(),
        "audit_log": str(base.data_dir / f"audit-{name}.jsonl"),
    }
    return Gateway(name, base.model_copy(update=own))
