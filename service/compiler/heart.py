"""The heartbeat of a job that is being worked on."""

import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from service.store.compilations import Compilations
from service.store.store import StoreUnavailable


class Heart:
    """Beats while its block runs; ``lost`` once the job is not ours any more."""

    def __init__(
        self,
        jobs: Compilations,
        job_id: str,
        worker: str,
        every_s: float,
        on_loss: Callable[[], object],
    ) -> None:
        """on_loss: called once, from another thread."""
        self._beat: Callable[[], bool] = partial(jobs.beat, job_id, worker)
        self._every_s = every_s
        self._on_loss = on_loss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lethe-heart", daemon=True)
        self.lost = False

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        """Stop, and wait for the last beat."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                if self._beat():
                    continue
            except StoreUnavailable:
                continue  # whoever takes the job up meanwhile is seen at the next beat
            self.lost = True
            self._on_loss()
            return
