"""Gateway processes in small, in this process and in others."""

import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from guards.policy import GuardSpec, Policy
from service.cli.processes import free_port
from service.settings import Settings
from service.store.forget_requests import NewForgetRequest
from service.store.store import Store, open_store

APP = Path(__file__).with_name("plane_app.py")
PATIENCE_S = 60.0
_one_birth_at_a_time = threading.Lock()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url, lease_s=1.0)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def plane_app() -> ModuleType:
    """The module of the small gateway process."""
    spec = importlib.util.spec_from_file_location("plane_app", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plane_app"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Returns once something holds; a test that waits in vain fails."""
    return _wait_until


class Plane:
    """One process of the app, and a client of it with the admin key."""

    def __init__(
        self, nursery: subprocess.Popen[str], data_dir: Path, url: str, lease_s: float
    ) -> None:
        self._nursery = nursery
        self._data_dir = data_dir
        self._url = url
        self._lease_s = lease_s
        self.start()

    def start(self) -> None:
        """Run it and wait until it serves."""
        self.begin()
        _wait_until(lambda: self.enforces("anything") is not None)
        self.key: str = json.loads((self._data_dir / "keys.json").read_text())["admin"]

    def begin(self) -> None:
        """Run it."""
        self.port = free_port()
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        with _one_birth_at_a_time:
            self._nursery.stdin.write(f"{self._data_dir} {self._url} {self.port} {self._lease_s}\n")
            self._nursery.stdin.flush()
            self.pid = int(self._nursery.stdout.readline())

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"}
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S)

    def forget(self, subject: str) -> str:
        """The id of an accepted request."""
        with self.client() as client:
            answer = client.post("/v1/forget_requests", json={"subject": subject})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def revoke(self, request_id: str) -> None:
        with self.client() as client:
            answer = client.delete(f"/v1/forget_requests/{request_id}")
        assert answer.status_code == 200, answer.text

    def enforces(self, text: str) -> bool | None:
        """Whether the text is forgotten here; None while fenced or not up."""
        try:
            url = f"http://127.0.0.1:{self.port}/enforced"
            answer = httpx.get(url, params={"text": text}, timeout=PATIENCE_S)
        except httpx.TransportError:
            return None
        return None if answer.status_code == 503 else bool(answer.json())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        for number in (signal.SIGKILL, signal.SIGCONT):
            if self._runs():
                self.signal(number)
        _wait_until(lambda: not self._runs())

    def _runs(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture(scope="session")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The program that forks the processes."""
    pipe = subprocess.PIPE
    command = [sys.executable, str(APP)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as running:  # noqa: S603 - ours
        yield running
        running.kill()


@pytest.fixture
def planes(
    nursery: subprocess.Popen[str], tmp_path: Path, database_url: str
) -> Iterator[Callable[[float], Plane]]:
    """Starts a process over this test's data folder, with a lease in seconds; ends it after."""
    running: list[Plane] = []

    def start(lease_s: float) -> Plane:
        running.append(Plane(nursery, tmp_path, database_url, lease_s))
        return running[-1]

    yield start
    for plane in running:
        plane.kill()


def _wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def newer(store: Store) -> Callable[..., int]:
    """Stores one more forget request; the number of the epoch that it made."""

    def add(expires_at: int | None = None) -> int:
        request_id = f"fr_{secrets.token_hex(8)}"
        guards = (GuardSpec("text_filter"),)
        policy = Policy(request_id, ("Ilse Vantongeren",), guards=guards)
        new = NewForgetRequest(request_id, {}, "auto", policy, "key_x", expires_at=expires_at)
        return store.forget_requests.add(new).record.epoch

    return add
