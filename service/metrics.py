"""What the gateway counts, for Prometheus.  Labels come from closed sets, never from clients.

Names follow OpenTelemetry's GenAI conventions where there is one; ours begin with ``lethe_``.
With several workers, ``PROMETHEUS_MULTIPROC_DIR`` must be set before this module is imported.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from time import perf_counter
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

DARK_REASONS = ("failed", "refused", "rows", "unguarded", "unmapped")
_DARK = "lethe_engine_dark_total"

Stage = Literal["authenticate", "read", "render", "decide", "upstream", "reply"]
Operation = Literal["chat", "text_completion"]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_STAGE_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_TOKENS = tuple(float(4**i) for i in range(14))
_CHARS = (0, 1, 4, 16, 64, 256, 1024)


class RewriteOutcome(StrEnum):
    """How an agent rewrite ended; all but the first with the fallback."""

    COMPOSED = "composed"
    POOR = "poor"
    LATE = "late"
    FAILED = "failed"


class Metrics:
    """Every metric of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._generation()
        self._guarding()

    def _generation(self) -> None:
        registry = self._registry
        call = ("gen_ai_operation_name", "gen_ai_request_model")
        self.request_seconds = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From a request's arrival to the last byte of its answer.",
            (*call, "error_type"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request's arrival to the first byte of its answer.",
            call,
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of prompts and answers.",
            (*call, "gen_ai_token_type"),
            buckets=_TOKENS,
            registry=registry,
        )

    def _guarding(self) -> None:
        r = self._registry
        self.cases = Counter("lethe_cases", "Cases by outcome.", ("outcome",), registry=r)
        self.matches = Counter("lethe_matches", "Matches by evidence.", ("evidence",), registry=r)
        self.edits = Counter("lethe_edits", "What guards did, by guard.", ("guard",), registry=r)
        self.rewrites = Counter(
            "lethe_rewrites", "Agent rewrites by outcome.", ("outcome",), registry=r
        )
        # Each worker reads one engine's count, so workers are not to be added up: see _Counted.
        self._dark = Gauge(
            _DARK,
            "Blacked out in the engine since it started: requests by reason, and rows.",
            ("reason",),
            multiprocess_mode="livemax",
            registry=r,
        )
        self.catches = Counter("lethe_text_filter_catches", "Caught in answers.", registry=r)
        self.fail_closed = Counter(
            "lethe_fail_closed", "Refused for want of a guard.", ("reason",), registry=r
        )
        self.inflight = Gauge(
            "lethe_inflight_requests",
            "Requests being answered.",
            multiprocess_mode="livesum",
            registry=r,
        )
        self.stage_seconds = Histogram(
            "lethe_stage_seconds", "Time by stage.", ("stage",), buckets=_STAGE_SECONDS, registry=r
        )
        self.epoch = Gauge(
            "lethe_epoch", "The epoch in force.", multiprocess_mode="livemin", registry=r
        )
        self.canary_passed = Gauge(
            "lethe_canary_passed_timestamp_seconds",
            "Unix time of the last proof that the engine applies edits.",
            multiprocess_mode="livemin",
            registry=r,
        )
        self.canary_age = Gauge(
            "lethe_canary_age_seconds",
            "Time since that proof, as of the last look.",
            multiprocess_mode="livemax",
            registry=r,
        )
        self.hold_back = Histogram(
            "lethe_hold_back_chars",
            "Characters of an answer held back at its end.",
            buckets=_CHARS,
            registry=r,
        )

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Time a stage, also one that fails."""
        start = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(perf_counter() - start)

    def engine_dark(self, counts: Mapping[str, int]) -> None:
        """What the engine has counted since it started; reasons that are not known are "other"."""
        found = dict.fromkeys((*DARK_REASONS, "other"), 0)
        for reason, count in counts.items():
            found[reason if reason in DARK_REASONS else "other"] += count
        for reason, count in found.items():
            self._dark.labels(reason).set(count)

    def exposition(self) -> bytes:
        """Everything, of all workers, in Prometheus's text format."""
        if not os.environ.get(MULTIPROCESS_DIR):
            return bytes(generate_latest(_Counted(self._registry)))
        collected = CollectorRegistry()
        MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(_Counted(collected)))


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
