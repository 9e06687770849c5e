"""Starting a program of ours as a child, waiting for it, and ending it with all it began."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

STOP_S = 20


class StartFailed(RuntimeError):
    """A child ended or was not up in time.  The message holds the end of its log."""


@contextmanager
def running(
    module: str, log: Path, env: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module ...` in its own process group, output in a log; all of it ends with us."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  (no shell)
            [sys.executable, "-m", module, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], stop_s: float = STOP_S) -> bool:
    """Ask it to end, then insist.  False where it had to be killed."""
    process.terminate()
    try:
        process.wait(stop_s)
        in_time = True
    except subprocess.TimeoutExpired:
        in_time = False
    try:
        os.killpg(process.pid, signal.SIGKILL)  # also what the child started and left behind
    except ProcessLookupError:
        return in_time
    process.wait()
    return in_time


def until_up(url: str, process: subprocess.Popen[bytes], log: Path, limit_s: float) -> None:
    """Wait for a 2xx from the URL.  Raises StartFailed."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartFailed(f"it ended with status {process.returncode}; {_tail(log)}")
        if answers(url):
            return
        time.sleep(0.25)
    raise StartFailed(f"not up after {limit_s:.0f} s; {_tail(log)}")


def answers(url: str) -> bool:
    """Whether the URL gives a 2xx within two seconds."""
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310  (our own http URLs)
            return bool(200 <= answer.status < 300)
    except (OSError, HTTPException):
        return False


def _tail(log: Path, lines: int = 25) -> str:
    end_of_log = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"the end of {log}:", *end_of_log])


def free_port() -> int:
    """A port that nobody listens on now, and that no system hands out to a client meanwhile."""
    while True:
        # Linux, macOS and Windows take a client's own port from 32,768 upwards.
        port = random.randrange(20_000, 32_768)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
