"""``--worker-cls service.engine.worker.LetheWorker``: vLLM's own worker, guarded.

The class is built when it is first asked for, on the worker of the platform at hand.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

from service.admission import CheckedArtifacts
from service.engine import vllm_0_32 as seams
from service.engine.ops import SWITCHBOARD, define
from service.engine.plugin import check_version, fingerprint, installed_version
from service.engine.rows import EverythingDark, Requests, Rows
from service.engine.selftest import prove_effect
from service.settings import Settings

log = logging.getLogger(__name__)


class Guarded:
    """Mixed in before a vLLM worker.  Attributes begin with ``lethe_``."""

    lethe_scheduled: Any = None

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        check_version()
        seams.prepare_compilation(vllm_config, fingerprint())
        reason = seams.unsupported_configuration(vllm_config)
        if reason:
            raise RuntimeError(f"Lethe's engine plugin does not guard an engine with {reason}")
        super().__init__(vllm_config, *args, **kwargs)  # type: ignore[call-arg]

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Load, then install the operator: before anything compiles or runs."""
        super().load_model(*args, **kwargs)  # type: ignore[misc]
        worker: Any = self
        model = worker.model_runner.get_model()
        settings = Settings()
        define()
        self.lethe_sites = seams.swap_first_layer(model)
        self.lethe_artifacts = CheckedArtifacts(settings.artifact_store())
        vocabulary = worker.model_config.get_vocab_size()
        scale = seams.embedding_scale(model, vocabulary, worker.device)
        self.lethe_requests = Requests(settings.engine_key(), self.lethe_artifacts, scale)
        seams.before_each_forward(self, self._lethe_begin)

    def compile_or_warm_up_model(self) -> Any:
        """Warm up, then prove that the operator acts.  Raises where it does not."""
        times = super().compile_or_warm_up_model()  # type: ignore[misc]
        prove_effect(self, self.lethe_sites)
        self.lethe_requests.counts.clear()
        return times

    def execute_model(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        """One step.  Until its batch is mapped, and where it cannot be, all of it is dark."""
        requests = self.lethe_requests
        requests.remove(scheduler_output.finished_req_ids)
        for name, field, ids in seams.new_requests(scheduler_output):
            requests.add(name, field, ids)
        self.lethe_scheduled = scheduler_output
        SWITCHBOARD.connect(EverythingDark(requests))
        try:
            return super().execute_model(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        finally:
            SWITCHBOARD.disconnect()
            self.lethe_scheduled = None  # vLLM's own dummy batches are nobody's

    def lethe_status(self) -> dict[str, Any]:
        """Counters, in plain Python types: anything else would hang the caller for ever."""
        worker: Any = self
        return {
            "vllm": installed_version(),
            "fingerprint": fingerprint(),
            "runner": "V2" if worker.use_v2_model_runner else "V1",
            "scale": float(self.lethe_requests.scale),
            "calls": {str(site): int(SWITCHBOARD.calls[site]) for site in self.lethe_sites},
            "counts": {name: int(n) for name, n in self.lethe_requests.counts.items()},
        }

    def lethe_preload(self, wanted: list[list[str]]) -> None:
        """Open artifacts, given as [guard, digest], ahead of their first use.

        In a thread of its own: this is called in the engine's loop, where streams would wait.
        """
        Thread(target=_open_all, args=(self.lethe_artifacts, wanted), daemon=True).start()

    def _lethe_begin(self, map_batch: Callable[[], Iterator[Rows]]) -> None:
        if self.lethe_scheduled is None:
            return
        try:
            SWITCHBOARD.connect(self.lethe_requests.step(map_batch()))
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self.lethe_requests.count_dark("unmapped")
            SWITCHBOARD.connect(EverythingDark(self.lethe_requests))


def _open_all(artifacts: CheckedArtifacts, wanted: list[list[str]]) -> None:
    for guard, digest in wanted:
        try:
            artifacts.get(guard, digest)
        except ValueError:
            log.warning("an artifact could not be preloaded")


@functools.cache
def _built() -> type[Any]:
    return type("LetheWorker", (Guarded, seams.platform_worker()), {"__module__": __name__})


def __getattr__(name: str) -> Any:
    if name == "LetheWorker":
        return _built()
    raise AttributeError(name)
