"""A compiler process in small: the real worker over three short steps that note that they ran.

Run as a program it reads lines ``DATA_DIR``, forks a process for each (importing everything only
once) and prints its process id.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from guards.policy import GuardSpec, Policy
from service.compiler.interruption import Interruption
from service.compiler.step import Step
from service.compiler.worker import Worker
from service.settings import Settings
from service.store.store import open_store

STEP_S = 0.15
MODEL = "sha256:" + "1" * 64
_RATE = {"found": 0, "of": 100, "upper": 0.03}
MEASURES = {
    **dict.fromkeys(("leaks", "changed", "unmatched", "matched"), _RATE),
    "distance": 0.1,
    "p_value": 0.4,
    "fluency": 0.0,
    "cost": 1.1,
}


def outcome(bench: Any) -> dict[str, Any]:
    """A policy with its certificate, as the last step gives them."""
    first: Policy = bench.first
    guards = (GuardSpec("refusal"), GuardSpec("text_filter"))
    policy = Policy(
        first.forget_request, first.aliases, first.examples, guards, first.tenants, first.models
    )
    certificate = {
        "policy": policy.digest,
        "model": MODEL,
        "versions": {},
        "seed": 1,
        "held_out": MEASURES,
        "made_at": 0,
        "seconds": 0.5,
    }
    return {"policy": policy.to_json(), "certificate": certificate}


def steps(note: Path, seconds: float = STEP_S) -> tuple[Step, ...]:
    """elicit, fit, certify.  note: a file of one line for each step that began."""

    def runner(name: str, needs: tuple[str, ...]) -> Any:
        def run(bench: Any, results: Any) -> Any:
            assert sorted(results) == sorted(needs)
            with note.open("a") as file:
                file.write(f"{name}\n")
            time.sleep(seconds)
            return outcome(bench) if name == "certify" else {"found": name}

        return run

    return (
        Step("elicit", 0.3, runner("elicit", ())),
        Step("fit", 0.3, runner("fit", ("elicit",))),
        Step("certify", 0.4, runner("certify", ("elicit", "fit"))),
    )


def settings_of(data_dir: Path) -> Settings:
    """With leases that a test can wait for."""
    return Settings(data_dir=data_dir, lease_s=0.3, compiler_lease_s=0.3)


def serve(data_dir: str) -> None:
    """Compile until SIGTERM."""
    settings = settings_of(Path(data_dir))
    interruption = Interruption()
    interruption.install()
    store = open_store(settings)
    ran = steps(settings.data_dir / "ran.txt")
    Worker(store, settings, steps=ran, model=MODEL, interruption=interruption).run()
    store.close()


def main() -> None:
    """Fork on demand."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            serve(line.strip())
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
