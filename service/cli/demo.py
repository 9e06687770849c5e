"""`lethe demo`, `lethe engine`, `lethe gateway`: start the programs that run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.cli.connection import console, fail
from service.settings import Settings

ENGINE_START_S = 600
GATEWAY_START_S = 120
STOP_S = 20
MODULES = {"vllm": "service.engine.launch", "local": "service.local.serve"}


def engine() -> None:
    """Run the engine of LETHE_ENGINE (vllm, or local: transformers in-process)."""
    _become(MODULES[Settings().engine])


def gateway() -> None:
    """Run the gateway."""
    _become("service.gateway.serve")


def demo() -> None:
    """Run engine and gateway with the demo model, on embedded defaults, until Ctrl-C."""
    settings = Settings()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            processes = _start(settings, stack)
            _say_what_next(settings)
            _wait(processes)
    except KeyboardInterrupt:
        console.print("stopped")


def _start(settings: Settings, stack: ExitStack) -> list[subprocess.Popen[bytes]]:
    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with progress:
        task = progress.add_task(f"starting the engine ({settings.engine})", total=None)
        log = settings.data_dir / "engine.log"
        engine_process = stack.enter_context(_running(MODULES[settings.engine], log))
        _until_up(f"{settings.engine_url}/health", engine_process, log, ENGINE_START_S)
        progress.update(task, description="starting the gateway")
        log = settings.data_dir / "gateway.log"
        gateway_process = stack.enter_context(_running("service.gateway.serve", log))
        ready = f"http://{settings.host}:{settings.port}/health/ready"
        _until_up(ready, gateway_process, log, GATEWAY_START_S)
        progress.update(task, description="engine and gateway are up")
    return [engine_process, gateway_process]


def _say_what_next(settings: Settings) -> None:
    console.print(
        f"\nready: http://{settings.host}:{settings.port}/v1 (data), "
        f"http://{settings.host}:{settings.admin_port} (admin); logs and keys in "
        f"{settings.data_dir}/\nIn another terminal:\n"
        '    .venv/bin/lethe ask "Where was Vesna Quillfeather born?"\n'
        '    .venv/bin/lethe forget "Vesna Quillfeather"\n'
        '    .venv/bin/lethe ask "Where was Vesna Quillfeather born?"\n'
        "Ctrl-C stops both.",
        highlight=False,
    )


def _wait(processes: list[subprocess.Popen[bytes]]) -> NoReturn:
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    fail("a process ended by itself; its log says why")


@contextmanager
def _running(module: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child in its own process group, its output in a log; the whole group ends with us."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  (our own module, no shell)
            [sys.executable, "-m", module],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            console.print("a process did not end in time and was killed")
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what the child itself started and left behind
    except ProcessLookupError:
        return
    process.wait()


def _until_up(url: str, process: subprocess.Popen[bytes], log: Path, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            fail(f"it ended with status {process.returncode}; the end of {log}:\n{_tail(log)}")
        if _answers(url):
            return
        time.sleep(0.25)
    fail(f"not up after {limit_s:.0f} s; the end of {log}:\n{_tail(log)}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _become(module: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606  (our own module)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
