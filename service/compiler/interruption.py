"""Ending a step from outside: a signal, or the news that the job is somebody else's."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """Raised in a step.  No handler of ordinary errors may stop it."""


class Interruption:
    """Raises Interrupted in the step that is under way, in the program's main thread.

    SIGTERM and SIGINT ask the program to stop: ``stopping`` is set, and stays so.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._inside = False
        self._thread: int | None = None

    def install(self) -> None:
        """Take over the signals.  From the main thread only."""
        self._thread = threading.get_ident()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGUSR1, self._interrupt)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around a step: what may be broken off at any moment."""
        try:
            self._inside = True
            if self.stopping.is_set():
                raise Interrupted
            yield
        finally:
            self._inside = False

    def break_off(self) -> None:
        """End the step under way, if any; from any thread.  Without ``install``: nothing."""
        if self._thread is not None:
            signal.pthread_kill(self._thread, signal.SIGUSR1)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()
        self._interrupt(number, frame)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._inside:
            self._inside = False
            raise Interrupted
