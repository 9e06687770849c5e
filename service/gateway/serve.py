"""Run the gateway: ``python -m service.gateway.serve``.

Each worker serves both planes from one process; several share the ports (SO_REUSEPORT).  On
SIGTERM a worker first says that it is not ready, then finishes what it has begun, then ends.
"""

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import uvicorn

from service.settings import Settings

NOTICE_S = 0.5  # how long a draining worker still takes requests, so that balancers see it
IDLE_S = 15  # how long a client's idle connection is kept
RESTART_S = 1.0
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """A server that leaves signals to us: two of them run in one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = Settings()
    if settings.workers == 1:
        _worker(settings)
        return
    with tempfile.TemporaryDirectory(prefix="lethe-metrics-") as folder:
        os.environ[METRICS_DIR] = folder
        _supervise(settings)


def _worker(settings: Settings) -> None:
    # Libraries say much at INFO that is no operator's business; we and the server may.
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(message)s")
    for name in ("service", "uvicorn"):
        logging.getLogger(name).setLevel(settings.log_level)
    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from service.gateway.app import create_apps  # after the metrics folder is set, if any is

    apps = create_apps(settings)
    # What is loaded by now stays: looking for garbage among it, time and again, costs more than
    # answering does.
    gc.collect()
    gc.freeze()
    shared = settings.workers > 1
    data_socket = _listen(settings.host, settings.port, shared=shared)
    admin_socket = _listen(settings.host, settings.admin_port, shared=shared)
    data, admin = _server(apps.data, settings, "on"), _server(apps.admin, settings, "off")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = [
        asyncio.ensure_future(data.serve([data_socket])),
        asyncio.ensure_future(admin.serve([admin_socket])),
    ]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((*serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    apps.readiness.draining = True
    if stopping.done():
        await asyncio.sleep(NOTICE_S)
    data.should_exit = admin.should_exit = True
    stopping.cancel()
    await asyncio.gather(*serving)


def _server(app: Callable[..., Any], settings: Settings, lifespan: Literal["on", "off"]) -> _Server:
    config = uvicorn.Config(
        app,
        lifespan=lifespan,
        http="httptools",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(settings.upstream_timeout_s) + 1,
    )
    return _Server(config)


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def _supervise(settings: Settings) -> None:
    """Keep the workers running; one that dies is replaced."""
    from service.metrics import forget_worker

    context = multiprocessing.get_context("spawn")
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def start() -> BaseProcess:
        process = context.Process(target=_worker, args=(settings,))
        process.start()
        return process

    workers = [start() for _ in range(settings.workers)]
    while not stopping:
        time.sleep(0.2)
        for place, worker in enumerate(workers):
            if not worker.is_alive() and not stopping:
                forget_worker(worker.pid or 0)
                log.error("a worker ended with status %s and is replaced", worker.exitcode)
                time.sleep(RESTART_S)
                workers[place] = start()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


def _new_loop() -> "type[asyncio.AbstractEventLoop] | None":
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop


if __name__ == "__main__":
    main()
