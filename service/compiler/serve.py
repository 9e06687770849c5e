"""Run the compiler: ``python -m service.compiler.serve``.

A background process: it takes what processor time the others leave, and as many threads as
``LETHE_COMPILER_THREADS`` says.  Several may run, on one machine or on many.  On SIGTERM it puts
back what it is working on, for anybody to go on with.
"""

import logging
import os
import sys

from service.settings import Settings

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NICE = 19
_AGAIN_S = 10.0

log = logging.getLogger(__name__)


def main() -> None:
    """Compile until SIGTERM or SIGINT."""
    settings = Settings()
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("service").setLevel(settings.log_level)
    _stay_in_the_background(settings.compiler_threads)
    _compile(settings)


def _compile(settings: Settings) -> None:
    # After the number of threads is set: the libraries below read it when they are imported.
    from service.audit import AuditLog
    from service.compiler.identity import served_identity
    from service.compiler.interruption import Interruption
    from service.compiler.steps import STEPS
    from service.compiler.worker import Worker
    from service.store.store import open_store

    interruption = Interruption()
    interruption.install()
    store = open_store(settings)
    audit = AuditLog(settings.audit_path)
    try:
        while not interruption.stopping.is_set():
            try:
                model = served_identity(settings)
            except OSError as error:
                log.error("model_unavailable kind=%s: nothing is compiled", type(error).__name__)
                interruption.stopping.wait(_AGAIN_S)
                continue
            worker = Worker(
                store, settings, steps=STEPS, model=model, audit=audit, interruption=interruption
            )
            log.info("compiler_started worker=%s", worker.id)
            worker.run()
    finally:
        audit.close()
        store.close()


def _stay_in_the_background(threads: int) -> None:
    if sys.platform != "win32":
        os.nice(_NICE)
    for name in _THREADS:
        os.environ[name] = str(threads)


if __name__ == "__main__":
    main()
