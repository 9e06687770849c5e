"""`lethe demo`, `lethe engine`, `lethe gateway`, `lethe compiler`: start what runs."""

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
from service.cli.stack import (
    COMPILER,
    GATEWAY,
    MODULES,
    compiler_running,
    engine_running,
    gateway_running,
)
from service.settings import Settings

DEMO_PERSON = "Perpetua Thistlewick"


def engine() -> None:
    """Run the engine of LETHE_ENGINE (vllm, or local: transformers in-process)."""
    _become(MODULES[Settings().engine])


def gateway() -> None:
    """Run the gateway."""
    _become(GATEWAY)


def compiler() -> None:
    """Run a compiler: a background process that makes policies better; several may run."""
    _become(COMPILER)


def demo() -> None:
    """Run engine, gateway and compiler with the demo model, on embedded defaults, until Ctrl-C."""
    settings = Settings()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            needed, compiler_process = _start(settings, stack)
            _say_what_next(settings)
            _wait(needed, compiler_process)
    except StartFailed as error:
        fail(str(error))
    except KeyboardInterrupt:
        console.print("stopped")


def _start(
    settings: Settings, stack: ExitStack
) -> tuple[list[subprocess.Popen[bytes]], subprocess.Popen[bytes] | None]:
    """Engine and gateway; and a compiler, where one is wanted."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
        task = bar.add_task(f"starting the engine ({settings.engine})", total=None)
        engine_process = stack.enter_context(engine_running(settings))
        bar.update(task, description="starting the gateway")
        gateway_process = stack.enter_context(gateway_running(settings))
        compiler_process = None
        if settings.compiler == "on":
            compiler_process = stack.enter_context(compiler_running(settings))
        bar.update(task, description="everything is up")
    return [engine_process, gateway_process], compiler_process


def _say_what_next(settings: Settings) -> None:
    console.print(
        f"\nready: http://{settings.host}:{settings.port}/v1 (data), "
        f"http://{settings.host}:{settings.admin_port} (admin); logs and keys in "
        f"{settings.data_dir}/\nIn another terminal:\n"
        f'    .venv/bin/lethe ask "Where was {DEMO_PERSON} born?"\n'
        f'    .venv/bin/lethe forget "{DEMO_PERSON}" --wait\n'
        f'    .venv/bin/lethe ask "Where was {DEMO_PERSON} born?"\n'
        "Ctrl-C stops everything.",
        highlight=False,
    )


def _wait(
    needed: list[subprocess.Popen[bytes]], compiler_process: subprocess.Popen[bytes] | None
) -> NoReturn:
    while all(process.poll() is None for process in needed):
        if compiler_process is not None and compiler_process.poll() is not None:
            console.print(
                "the compiler ended by itself, its log says why; forgetting goes on without it"
            )
            compiler_process = None
        time.sleep(0.5)
    fail("a process ended by itself; its log says why")


def _become(module: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606  (our own module)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
