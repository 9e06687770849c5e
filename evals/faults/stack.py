"""Engine and gateway as children of one process that has everything imported: up in seconds."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep

from evals.faults.serve import GATEWAY, serve_apart
from service.cli.processes import StartFailed, answers
from service.settings import Settings

START_S = 120.0
STOP_S = 8.0
POLL_S = 0.05


def nursery() -> ForkServerContext:
    """Where children come from.  The first one takes as long as all imports do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["evals.faults.preloaded"])
    return context


@contextmanager
def program_running(
    context: ForkServerContext, program: str, fault: str | None, settings: Settings
) -> Iterator[BaseProcess]:
    """One program with its fault, up.  Raises StartFailed."""
    log = settings.data_dir / f"{program}.log"
    given = (program, fault, settings.environment(), log)
    process = context.Process(target=serve_apart, args=given, daemon=True)
    process.start()
    try:
        _wait(process, settings, program, log)
        yield process
    finally:
        process.terminate()
        process.join(STOP_S)
        if process.is_alive():
            process.kill()
            process.join()


def ready(settings: Settings) -> bool:
    """Whether the gateway says that it answers."""
    return answers(f"http://{settings.host}:{settings.port}/health/ready")


def _wait(process: BaseProcess, settings: Settings, program: str, log: Path) -> None:
    deadline = monotonic() + START_S
    while monotonic() < deadline:
        if not process.is_alive():
            raise StartFailed(f"the {program} ended; see {log}")
        up = ready(settings) if program == GATEWAY else answers(f"{settings.engine_url}/health")
        if up:
            return
        sleep(POLL_S)
    raise StartFailed(f"the {program} was not up after {START_S:.0f} s; see {log}")
