"""`lethe demo`, `lethe engine`, `lethe gateway`: start the programs that run."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from types import FrameType
from typing import NoReturn

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.cli.connection import console, fail
from service.cli.processes import StartFailed
from service.cli.stack import GATEWAY, MODULES, engine_running, gateway_running
from service.settings import Settings

DEMO_PERSON = "Perpetua Thistlewick"


def engine() -> None:
    """Run the engine of LETHE_ENGINE (vllm, or local: transformers in-process)."""
    _become(MODULES[Settings().engine])


def gateway() -> None:
    """Run the gateway."""
    _become(GATEWAY)


def demo() -> None:
    """Run engine and gateway with the demo model, on embedded defaults, until Ctrl-C."""
    settings = Settings()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            processes = _start(settings, stack)
            _say_what_next(settings)
            _wait(processes)
    except StartFailed as error:
        fail(str(error))
    except KeyboardInterrupt:
        console.print("stopped")


def _start(settings: Settings, stack: ExitStack) -> list[subprocess.Popen[bytes]]:
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
        task = bar.add_task(f"starting the engine ({settings.engine})", total=None)
        engine_process = stack.enter_context(engine_running(settings))
        bar.update(task, description="starting the gateway")
        gateway_process = stack.enter_context(gateway_running(settings))
        bar.update(task, description="engine and gateway are up")
    return [engine_process, gateway_process]


def _say_what_next(settings: Settings) -> None:
    console.print(
        f"\nready: http://{settings.host}:{settings.port}/v1 (data), "
        f"http://{settings.host}:{settings.admin_port} (admin); logs and keys in "
        f"{settings.data_dir}/\nIn another terminal:\n"
        f'    .venv/bin/lethe ask "Where was {DEMO_PERSON} born?"\n'
        f'    .venv/bin/lethe forget "{DEMO_PERSON}"\n'
        f'    .venv/bin/lethe ask "Where was {DEMO_PERSON} born?"\n'
        "Ctrl-C stops both.",
        highlight=False,
    )


def _wait(processes: list[subprocess.Popen[bytes]]) -> NoReturn:
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    fail("a process ended by itself; its log says why")


def _become(module: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606  (our own module)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
