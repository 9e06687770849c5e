"""What is counted, in Prometheus's form."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics

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
