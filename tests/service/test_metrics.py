"""What is counted, in Prometheus's form."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.gateway.unavailable import Reason
from service.metric_labels import allowed
from service.metrics import Metrics

JOBS = ("failed", "running", "waiting")
WORKER = """
from service.metrics import Metrics
metrics = Metrics()
metrics.cases.labels("completed").inc()
metrics.inflight.inc()
print(metrics.exposition().decode())
"""


def samples(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {f"{s.name}{s.labels}": s.value for family in families for s in family.samples}


def test_names_follow_the_conventions() -> None:
    metrics = Metrics()
    metrics.request_seconds.labels("chat", "demo", "").observe(0.1)
    with metrics.stage("render"):
        pass
    found = samples(metrics.exposition().decode())
    names = {name.split("{")[0] for name in found}
    assert "gen_ai_server_request_duration_seconds_count" in names
    assert "lethe_stage_seconds_count" in names
    assert "lethe_text_filter_catches_total" in names


def test_registries_of_two_gateways_keep_apart() -> None:
    one, other = Metrics(), Metrics()
    one.catches.inc()
    assert samples(other.exposition().decode())["lethe_text_filter_catches_total{}"] == 0


def test_workers_are_added_up(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        out = subprocess.run(  # noqa: S603  (this interpreter, our own text)
            [sys.executable, "-c", WORKER],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout
    assert samples(out)["lethe_cases_total{'outcome': 'completed'}"] == 2


def test_labels_say_nothing_but_what_is_listed() -> None:
    metrics = Metrics()
    metrics.edited("steering", "completed")
    metrics.edited("a guard of somebody else's", "completed")
    metrics.engine_dark({"rows": 3, "a reason of a later version": 1})
    metrics.not_ready([Reason.DRAINING])
    metrics.compilations({("failed", "below_floor"): 2, ("of a later version", ""): 1})
    seen = 0
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label == "le":
                    continue
                assert value in allowed(family.name, label), (family.name, label, value)
                seen += 1
    assert seen > 100


def test_the_first_event_of_a_closed_set_is_seen_by_a_rate() -> None:
    found = samples(Metrics().exposition().decode())
    for reason in Reason:
        assert found[f"lethe_fail_closed_total{{'reason': '{reason}'}}"] == 0


def test_compilations_are_shown_by_status() -> None:
    metrics = Metrics()
    metrics.compilations(
        {("failed", "below_floor"): 2, ("failed", "crashed"): 1, ("running", ""): 1}
    )
    found = samples(metrics.exposition().decode())
    shown = {status: found[f"lethe_compilations{{'status': '{status}'}}"] for status in JOBS}
    assert shown == {"failed": 3, "running": 1, "waiting": 0}


def test_no_series_tells_only_when_another_one_was_made() -> None:
    assert "_created" not in Metrics().exposition().decode()


def test_every_reason_why_not_ready_goes_up_and_down() -> None:
    metrics = Metrics()
    metrics.not_ready([Reason.DRAINING])
    found = samples(metrics.exposition().decode())
    assert found["lethe_not_ready{'reason': 'draining'}"] == 1
    metrics.not_ready([])
    found = samples(metrics.exposition().decode())
    assert found["lethe_not_ready{'reason': 'draining'}"] == 0
