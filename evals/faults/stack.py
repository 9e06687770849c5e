"""Engine and gateway as children of one process that has everything imported: up in seconds."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep

from evals.faults.serve import GATEWAY, serve_apart
from service.cli.processes import StartFailed, answers
from service.settings import Settings

START_S = 120.0
READY_S = 60.0
"""How long a gateway that is up may take to call itself ready."""
STOP_S = 8.0
POLL_S = 0.05


class NeverReady(StartFailed):
    """A gateway that is up does not call itself ready: its own canary stops it."""


def nursery() -> ForkServerContext:
    """Where children come from.  The first one takes as long as all imports do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["evals.faults.preloaded"])
    return context


@contextmanager
def program_running(
    context: ForkServerContext, program: str, fault: str | None, settings: Settings
) -> Iterator[BaseProcess]:
    """One program with its fault, up.  Raises StartFailed, NeverReady."""
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
    return answers(f"{_gateway(settings)}/health/ready")


def _gateway(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.port}"


def _wait(process: BaseProcess, settings: Settings, program: str, log: Path) -> None:
    gateway = program == GATEWAY
    up = f"{_gateway(settings)}/health/live" if gateway else f"{settings.engine_url}/health"
    if not _until(lambda: answers(up), process, START_S):
        raise StartFailed(f"the {program} did not come up; see {log}")
    if gateway and not _until(lambda: ready(settings), process, READY_S):
        raise NeverReady(f"the gateway did not become ready; see {log}")


def _until(holds: Callable[[], bool], process: BaseProcess, seconds: float) -> bool:
    """Whether it came to hold in time.  Raises StartFailed where the process ends."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        if not process.is_alive():
            raise StartFailed("the process ended while it started")
        if holds():
            return True
        sleep(POLL_S)
    return False
