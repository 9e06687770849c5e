"""What the gateway counts, for Prometheus.  Labels come from closed sets, never from clients.

Names follow OpenTelemetry's GenAI conventions where there is one; ours begin with ``lethe_``.
With several workers, ``PROMETHEUS_MULTIPROC_DIR`` must be set before this module is imported.
Every series of a closed set exists from the start, so that a rate sees the first event too.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from time import perf_counter
from typing import Any, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from guards.case import Evidence
from guards.registry import GUARDS
from service.audit import Outcome
from service.gateway.unavailable import Reason
from service.metric_labels import (
    DARK_REASONS,
    LABELS,
    REASONS,
    Assurance,
    Change,
    ChangeOutcome,
    JobStatus,
    RewriteOutcome,
    Stage,
)
from service.store.state import State

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_DARK = "lethe_engine_dark_total"

_Merge = Literal["livesum", "livemin", "livemax", "livemostrecent"]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_SHORT = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_TOKENS = tuple(float(4**i) for i in range(14))
_CHARS = (0, 1, 4, 16, 64, 256, 1024)


class Metrics:
    """Every metric of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        # A series more for each one, that nothing reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._generation()
        self._latency()
        self._guarding()
        self._serving()
        self._following()

    def _generation(self) -> None:
        call = ("gen_ai_operation_name", "gen_ai_request_model")
        self.request_seconds = self._histogram(
            "gen_ai_server_request_duration_seconds",
            "From a request's arrival to the last byte of its answer.",
            _SECONDS,
            (*call, "error_type"),
        )
        self.first_token_seconds = self._histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request's arrival to the first byte of its answer.",
            _SECONDS,
            call,
        )
        self.tokens = self._histogram(
            "gen_ai_client_token_usage",
            "Tokens of prompts and answers.",
            _TOKENS,
            (*call, "gen_ai_token_type"),
        )

    def _latency(self) -> None:
        self.stage_seconds = self._histogram(
            "lethe_stage_seconds", "Time by stage.", _SHORT, ("stage",)
        )
        for stage in get_args(Stage):
            self.stage_seconds.labels(stage)
        self.added_first_token_seconds = self._histogram(
            "lethe_added_first_token_seconds",
            "Time to the first byte of an answer, without the engine's time to its first piece.",
            _SHORT,
        )
        self.hold_back_seconds = self._histogram(
            "lethe_hold_back_seconds",
            "From the engine's first piece of an answer to the first byte that left.",
            _SHORT,
        )
        self.hop_seconds = self._histogram(
            "lethe_hop_seconds",
            "From the engine's piece to the chunk of a stream that came of it, ready to be sent.",
            _SHORT,
        )
        self.hold_back = self._histogram(
            "lethe_hold_back_chars", "Characters of an answer held back at its end.", _CHARS
        )
        self.activation_seconds = self._histogram(
            "lethe_activation_seconds",
            "From a change of what is forgotten, posted, to its being in force everywhere.",
            _SECONDS,
            ("change",),
        )

    def _guarding(self) -> None:
        outcomes = get_args(Outcome)
        self.cases = self._counter("lethe_cases", "Cases by outcome.", outcome=outcomes)
        self.matches = self._counter(
            "lethe_matches", "Matches by evidence.", evidence=get_args(Evidence)
        )
        self._edits = self._counter(
            "lethe_edits",
            "What guards did, by guard and by how the case ended.",
            guard=LABELS["guard"],
            outcome=outcomes,
        )
        self.rewrites = self._counter(
            "lethe_rewrites", "Agent rewrites by outcome.", outcome=RewriteOutcome
        )
        self.changes = self._counter(
            "lethe_changes",
            "Changes of what is forgotten, by how they were answered.",
            change=get_args(Change),
            outcome=get_args(ChangeOutcome),
        )
        # Each worker reads one engine's count, so workers are not to be added up: see _Counted.
        self._dark = self._gauge(
            _DARK,
            "Blacked out in the engine since it started: requests by reason, and rows.",
            "livemax",
            reason=REASONS["lethe_engine_dark"],
        )
        self.catches = self._counter(
            "lethe_text_filter_catches", "Caught in answers: each is a prompt the router missed."
        )
        self.fail_closed = self._counter(
            "lethe_fail_closed", "Refused for want of a guard.", reason=Reason
        )

    def _serving(self) -> None:
        self.inflight = self._gauge(
            "lethe_inflight_requests", "Requests being answered.", "livesum"
        )
        self.workers = self._gauge("lethe_workers", "Processes that serve.", "livesum")
        self.cpu = self._counter("lethe_cpu_seconds", "Processor time of all workers.")
        self.memory = self._gauge(
            "lethe_memory_bytes", "Resident memory of all workers.", "livesum"
        )
        self._not_ready = self._gauge(
            "lethe_not_ready", "1 for each reason why nothing is served.", "livemax", reason=Reason
        )
        self.audit_healthy = self._gauge(
            "lethe_audit_healthy", "Whether audit lines can be written: 1 or 0.", "livemin"
        )
        self.canary_passed = self._gauge(
            "lethe_canary_passed_timestamp_seconds",
            "Unix time of the last proof that the engine applies edits.",
            "livemin",
        )
        self.canary_age = self._gauge(
            "lethe_canary_age_seconds", "Time since that proof, as of the last look.", "livemax"
        )

    def _following(self) -> None:
        self.epoch = self._gauge("lethe_epoch", "The epoch in force; -1: none is.", "livemin")
        self.newest_epoch = self._gauge(
            "lethe_newest_epoch", "The newest epoch in the store.", "livemostrecent"
        )
        self._policies = self._gauge(
            "lethe_policies",
            "Policies in force: certified, or stop-gaps without a certificate.",
            "livemostrecent",
            assurance=get_args(Assurance),
        )
        self._requests = self._gauge(
            "lethe_forget_requests", "Forget requests by state.", "livemostrecent", state=State
        )
        self.oldest_stopgap = self._gauge(
            "lethe_oldest_stopgap_seconds",
            "Age of the oldest forget request whose compiled policy is not in force; 0: none.",
            "livemostrecent",
        )
        self._compilations = self._gauge(
            "lethe_compilations",
            "Compilations that wait or run, and requests whose last one failed.",
            "livemostrecent",
            status=get_args(JobStatus),
        )
        self.store_up = self._gauge(
            "lethe_store_up", "Whether the store answered when last asked: 1 or 0.", "livemin"
        )

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Time a stage, also one that fails."""
        start = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(perf_counter() - start)

    def edited(self, guard: str, outcome: Outcome) -> None:
        """A guard did something in a case that ended so."""
        self._edits.labels(guard if guard in GUARDS else "other", outcome).inc()

    def engine_dark(self, counts: Mapping[str, int]) -> None:
        """What the engine has counted since it started; reasons that are not known are "other"."""
        found = dict.fromkeys((*DARK_REASONS, "other"), 0)
        for reason, count in counts.items():
            found[reason if reason in DARK_REASONS else "other"] += count
        for reason, count in found.items():
            self._dark.labels(reason).set(count)

    def not_ready(self, reasons: Iterable[Reason]) -> None:
        """Why nothing is served now; none: it is."""
        given = frozenset(reasons)
        for reason in Reason:
            self._not_ready.labels(reason.value).set(reason in given)

    def policies(self, *, stopgap: int, certified: int) -> None:
        """How many policies are in force, without and with a certificate."""
        self._policies.labels("stopgap").set(stopgap)
        self._policies.labels("certified").set(certified)

    def forget_requests(self, counts: Mapping[State, int]) -> None:
        """How many forget requests are in each state."""
        for state in State:
            self._requests.labels(state.value).set(counts.get(state, 0))

    def compilations(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many compilations stand where, by status and error; the error is not shown."""
        found: dict[str, int] = dict.fromkeys(get_args(JobStatus), 0)
        for (status, _), count in counts.items():
            if status in found:
                found[status] += count
        for status, count in found.items():
            self._compilations.labels(status).set(count)

    def exposition(self) -> bytes:
        """Everything, of all workers, in Prometheus's text format."""
        if not os.environ.get(MULTIPROCESS_DIR):
            return bytes(generate_latest(_Counted(self._registry)))
        collected = CollectorRegistry()
        MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(_Counted(collected)))

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def _counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        made = Counter(name, text, tuple(labels), registry=self._registry)
        _touch(made, list(labels.values()))
        return made

    def _gauge(self, name: str, text: str, merge: _Merge, **labels: Iterable[str]) -> Gauge:
        made = Gauge(name, text, tuple(labels), multiprocess_mode=merge, registry=self._registry)
        _touch(made, list(labels.values()))
        return made


def _touch(made: Counter | Gauge, values: list[Iterable[str]]) -> None:
    """Make a series for each combination of the labels' values."""
    if values:
        for chosen in product(*map(sorted, values)):
            made.labels(*map(str, chosen))


class _Counted(CollectorRegistry):
    """A registry whose mirrored count is shown as what it is: a counter."""

    def __init__(self, inner: CollectorRegistry) -> None:
        super().__init__()
        self._inner = inner

    def collect(self) -> Iterator[Any]:
        """Every metric of the inner one."""
        for family in self._inner.collect():
            if family.name != _DARK:
                yield family
                continue
            made = CounterMetricFamily(_DARK, family.documentation, labels=("reason",))
            for sample in family.samples:
                made.add_metric([sample.labels["reason"]], sample.value)
            yield made


def forget_worker(pid: int) -> None:
    """Drop the gauges of a worker that has ended."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
