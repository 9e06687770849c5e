"""``--worker-cls service.engine.worker.LetheWorker``: vLLM's own worker, guarded.

The class is built when it is first asked for, on the worker of the platform at hand.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

from guards.needs import Capabilities
from guards.points import EngineModel
from guards.registry import import_all
from guards.vocabulary import Vocabulary
from models.vocabulary import read_tokenizer
from service.acting import Bindings
from service.admission import CheckedArtifacts
from service.engine import vllm_0_32 as seams
from service.engine.adapters import spare_rows_without_adapter
from service.engine.ops import SWITCHBOARD, define
from service.engine.plugin import check_version, fingerprint, giving_way, installed_version
from service.engine.rows import EverythingDark, Requests, Rows
from service.engine.sampling import LogitsEdits
from service.engine.selftest import NotEffective, prove_effect
from service.settings import Settings

log = logging.getLogger(__name__)


class Guarded:
    """Mixed in before a vLLM worker.  Attributes begin with ``lethe_``."""

    lethe_scheduled: Any = None
    lethe_preloaded: dict[tuple[str, str], bool | None]  # None: under way

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        check_version()
        seams.prepare_compilation(vllm_config, fingerprint())
        reason = seams.unsupported_configuration(vllm_config)
        if reason:
            raise RuntimeError(f"Lethe's engine plugin does not guard an engine with {reason}")
        if vllm_config.lora_config is not None:
            spare_rows_without_adapter()
        super().__init__(vllm_config, *args, **kwargs)  # type: ignore[call-arg]

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Load, then install the operators: before anything compiles or runs."""
        super().load_model(*args, **kwargs)  # type: ignore[misc]
        worker: Any = self
        model = worker.model_runner.get_model()
        settings = Settings()
        define()
        import_all()
        self.lethe_sites = seams.swap_layers(model)
        self.lethe_artifacts = CheckedArtifacts(settings.artifact_store())
        self.lethe_requests = Requests(settings.engine_key(), self._lethe_bindings(model))
        self.lethe_preloaded = {}
        seams.before_each_forward(self, self._lethe_begin)
        SWITCHBOARD.sampling = LogitsEdits(
            self.lethe_requests,
            functools.partial(seams.logits_rows, self),
            functools.partial(seams.device_tokens, self),
        )

    def _lethe_bindings(self, model: Any) -> Bindings:
        worker: Any = self
        config, size = worker.vllm_config, worker.model_config.get_vocab_size()
        vocabulary = Vocabulary(*read_tokenizer(Path(worker.model_config.tokenizer), size), size)
        vocabulary.prepare()  # or the first load would, beside streams
        engine_model = EngineModel(
            layers=sum(site.startswith("layer:") for site in self.lethe_sites),
            scale=seams.embedding_scale(model, size, worker.device),
            vocabulary=vocabulary,
            device=worker.device,
            dtype=worker.model_config.dtype,
            tokens_on_device=worker.use_v2_model_runner,
        )
        capabilities = Capabilities(
            points=seams.points(config, self.lethe_sites),
            runner="V2" if worker.use_v2_model_runner else "V1",
            history=seams.history_is_on_the_host(config, v2=worker.use_v2_model_runner),
            tensor_parallel=config.parallel_config.tensor_parallel_size,
            pipeline_parallel=config.parallel_config.pipeline_parallel_size,
        )
        return Bindings(self.lethe_artifacts, engine_model, capabilities)

    def compile_or_warm_up_model(self) -> Any:
        """Warm up, then prove that the operators act.  Raises where it does not."""
        times = super().compile_or_warm_up_model()  # type: ignore[misc]
        prove_effect(self, self.lethe_sites)
        if not SWITCHBOARD.calls["logits processors"]:
            raise NotEffective("vLLM made no logits processor of Lethe's")
        self.lethe_requests.counts.clear()
        return times

    def execute_model(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        """One step.  Until its batch is mapped, and where it cannot be, all of it is dark."""
        requests = self.lethe_requests
        requests.remove(scheduler_output.finished_req_ids)
        for new in seams.new_requests(scheduler_output):
            requests.add(new)
        self.lethe_scheduled = scheduler_output
        SWITCHBOARD.connect(EverythingDark(requests))
        try:
            return super().execute_model(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        finally:
            SWITCHBOARD.disconnect()
            self.lethe_scheduled = None  # vLLM's own dummy batches are nobody's

    def lethe_status(self) -> dict[str, Any]:
        """Counters, in plain Python types: anything else would hang the caller for ever."""
        bindings = self.lethe_requests.bindings
        return {
            "vllm": installed_version(),
            "fingerprint": fingerprint(),
            "capabilities": bindings.capabilities.to_json(),
            "scale": float(bindings.model.scale),
            "calls": {name: int(n) for name, n in SWITCHBOARD.calls.items()},
            "counts": {name: int(n) for name, n in self.lethe_requests.counts.items()},
        }

    def lethe_scores(self, names: list[str]) -> list[list[list[Any]] | None]:
        """What was read under these names, each once; None where that is not complete."""
        return [self.lethe_requests.readings.taken(name) for name in names]

    def lethe_preload(self, wanted: list[list[str]]) -> list[int]:
        """Bind artifacts, given as [guard, digest], ahead of their first use.

        In a thread of its own: this is called in the engine's loop, where streams would wait.
        Returns how many are done with, and how many of them could be bound: to be asked again
        until all are done with.
        """
        bound = self.lethe_preloaded
        pairs = [(guard, digest) for guard, digest in wanted]
        begun = [pair for pair in pairs if pair not in bound]
        bound.update(dict.fromkeys(begun))
        if begun:
            bindings = self.lethe_requests.bindings
            Thread(target=_bind_all, args=(bindings, begun, bound), daemon=True).start()
        done = [bound[pair] for pair in pairs if bound[pair] is not None]
        if len(done) == len(pairs):
            for pair in pairs:
                bound.pop(pair, None)
        return [len(done), sum(map(bool, done))]

    def _lethe_begin(self, map_batch: Callable[[], Iterator[Rows]]) -> None:
        if self.lethe_scheduled is None:
            return
        try:
            SWITCHBOARD.connect(self.lethe_requests.step(map_batch()))
        except Exception:  # noqa: BLE001 - an exception here would end the engine for everyone
            self.lethe_requests.count_dark("unmapped")
            SWITCHBOARD.connect(EverythingDark(self.lethe_requests))


def _bind_all(
    bindings: Bindings,
    wanted: list[tuple[str, str]],
    bound: dict[tuple[str, str], bool | None],
) -> None:
    for guard, digest in wanted:
        try:
            with giving_way():
                bindings.get(guard, digest)
        except Exception:  # noqa: BLE001 - said to who asks; the request that needs it goes dark
            log.warning("an artifact could not be preloaded")
            bound[guard, digest] = False
        else:
            bound[guard, digest] = True


@functools.cache
def _built() -> type[Any]:
    return type("LetheWorker", (Guarded, seams.platform_worker()), {"__module__": __name__})


def __getattr__(name: str) -> Any:
    if name == "LetheWorker":
        return _built()
    raise AttributeError(name)
