"""Start a gateway or an in-process engine with a fault: ``python -m evals.faults.serve``.

Settings are those of the service (``LETHE_...``).  For evaluations only.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from evals.faults.fault import instead, swap

GATEWAY, ENGINE, BARE, IDLE = "gateway", "engine", "bare-engine", "idle-engine"
PROGRAMS = (GATEWAY, ENGINE, BARE, IDLE)
"""``bare-engine``: one without the plugin's part, ``idle-engine``: one that ignores edits."""


def serve(program: str, fault: str | None) -> None:
    """Run one program in this process, until told to end.  Raises KeyError for an unknown fault."""
    from evals.faults.registry import faults

    if program != GATEWAY:
        _make_engine(program)
    if fault is not None:
        faults()[fault]().install()
    if program == GATEWAY:
        from service.gateway.serve import main as run_gateway

        run_gateway()
    else:
        from service.local.serve import serve as run_engine
        from service.settings import Settings

        run_engine(Settings())


def serve_apart(program: str, fault: str | None, environment: Mapping[str, str], log: Path) -> None:
    """The same in a fresh child process, with these variables, its output in a file."""
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    serve(program, fault)


def _make_engine(program: str) -> None:
    from evals.faults.engine_parts import install_parsers, install_prompt_cache

    install_parsers()
    install_prompt_cache()
    if program == BARE:
        instead("service.local.app:AttestingApp", lambda app, _key, _boot_id: app)
        instead("service.local.generation:Admission._admitted", lambda *_given: ())
    if program == IDLE:
        swap(
            "service.local.generation:Admission._admitted",
            lambda admitted: lambda *given: (admitted(*given), ())[1],
        )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--fault")
    given = parser.parse_args()
    serve(given.program, given.fault)


if __name__ == "__main__":
    _main()
