"""Engine and gateway as children: for the demo, the tests and the benchmarks alike."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.processes import running, until_up
from service.settings import Settings

ENGINE_START_S = 600
GATEWAY_START_S = 300
MODULES = {"vllm": "service.engine.launch", "local": "service.local.serve"}
GATEWAY = "service.gateway.serve"
COMPILER = "service.compiler.serve"


@contextmanager
def engine_running(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The engine of the settings, up.  Raises StartFailed."""
    log = settings.data_dir / "engine.log"
    with running(MODULES[settings.engine], log, settings.environment()) as process:
        until_up(f"{settings.engine_url}/health", process, log, ENGINE_START_S)
        yield process


@contextmanager
def gateway_running(settings: Settings, *, ready: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway, ready (or only alive).  Raises StartFailed."""
    log = settings.data_dir / "gateway.log"
    health = f"http://{settings.host}:{settings.port}/health/{'ready' if ready else 'live'}"
    with running(GATEWAY, log, settings.environment()) as process:
        until_up(health, process, log, GATEWAY_START_S)
        yield process


@contextmanager
def compiler_running(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A compiler.  It has nothing that could be waited for: requests say how far it is."""
    log = settings.data_dir / "compiler.log"
    with running(COMPILER, log, settings.environment()) as process:
        yield process


def bootstrap_key(data_dir: Path, plane: str) -> str:
    """The key ("data" or "admin") that the gateway made for itself at its first start."""
    key: str = json.loads((data_dir / "keys.json").read_text())[plane]
    return key
