"""Real traffic through a real engine, scraped by a real Prometheus: every panel shows something.

Then the engine is killed: the alert is delivered, and its end too once the engine is back.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import openai
import pytest

from models.demo.world import make_world
from service.cli.stack import engine_running, gateway_running
from service.settings import Settings
from tests.deploy.files import alerts, metrics_in, questions
from tests.deploy.watching import ALERTMANAGER, Watching, program, watching
from tests.integration.serving.system import Serving, fresh_settings

pytestmark = pytest.mark.timeout(1200)
ALERT = "LetheEngineUnreachable"


@dataclass
class Stack:
    """Everything that runs.  engine: may be killed and replaced."""

    serving: Serving
    watching: Watching
    engine: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    pytest.importorskip("torch", reason="the in-process engine needs torch")
    program("prometheus")
    program(*ALERTMANAGER)
    folder = tmp_path_factory.mktemp("watching")
    settings = fresh_settings(folder).model_copy(
        update={"engine": "local", "workers": 2, "canary_interval_s": 5.0, "lease_s": 10.0}
    )
    with ExitStack() as running:
        engine = running.enter_context(engine_running(settings))
        running.enter_context(gateway_running(settings))
        watched = running.enter_context(watching(folder, f"127.0.0.1:{settings.admin_port}"))
        # Being up is said by whichever worker is asked; of both, only metrics tell.
        watched.until("sum(lethe_workers) == 2 and sum(lethe_not_ready) == 0", 300)
        yield Stack(Serving(settings), watched, engine)


@pytest.fixture(scope="module")
def busy(stack: Stack) -> Stack:
    """After traffic of every kind, twice, with scrapes between."""
    watched = stack.watching
    for _ in range(2):
        before = _scrapes(watched)
        _traffic(stack.serving)
        watched.until(f"sum(count_over_time(up[1h])) >= {before + 3}")
    return stack


def _scrapes(watched: Watching) -> int:
    found = watched.until('sum(count_over_time(up{job="lethe"}[1h]))')
    return int(found[0]["value"][1])


def _traffic(serving: Serving) -> None:
    person = next(iter(make_world().people)).name
    asked = f"Where was {person} born?"
    serving.ask(asked, max_tokens=8)
    request = serving.forget(person)
    serving.ask(asked, max_tokens=8)
    stream = serving.client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": asked}], max_tokens=8, stream=True
    )
    assert [chunk for chunk in stream if chunk.choices]
    with contextlib.suppress(openai.BadRequestError):
        serving.client.completions.create(model="demo", prompt="Hello", max_tokens=100_000)
    serving.revoke(request)


def test_every_panel_shows_something(busy: Stack) -> None:
    empty = []
    for question in questions():
        expr = question.expr.replace("$__rate_interval", "1m")
        if not busy.watching.series(expr):
            empty.append(question)
    assert empty == []


def test_what_panels_show_is_what_happened(busy: Stack) -> None:
    watched = busy.watching
    ((_, edits),) = [
        each["value"]
        for each in watched.series(
            'sum(lethe_edits_total{guard="embedding_corruption", outcome="completed"})'
        )
    ]
    assert int(edits) >= 4  # two rounds of two questions each, of both workers together
    ((_, enforced),) = [
        each["value"] for each in watched.series('sum(lethe_changes_total{outcome="enforced"})')
    ]
    assert int(enforced) == 4
    ((_, workers),) = [each["value"] for each in watched.series("sum(lethe_workers)")]
    assert int(workers) == 2


def test_every_alert_is_evaluated_over_series_that_there_are(busy: Stack) -> None:
    watched = busy.watching
    watched.until("ALERTS or up")
    groups = watched.ask("rules", type="alert")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    for alert in alerts():
        assert rules[alert["alert"]]["health"] == "ok", rules[alert["alert"]]
        for metric in metrics_in(alert["expr"]):
            assert watched.series(metric), (alert["alert"], metric)


def test_nothing_critical_is_said_while_all_is_well(busy: Stack) -> None:
    firing = busy.watching.series('ALERTS{alertstate="firing", severity="critical"}')
    assert [each["metric"]["alertname"] for each in firing] == []


def test_an_alert_travels_and_ends(busy: Stack) -> None:
    settings: Settings = busy.serving.settings
    busy.engine.kill()
    busy.engine.wait()
    with pytest.raises(openai.InternalServerError):
        busy.serving.ask("Where was anybody born?")
    fired = busy.watching.until_delivered(ALERT, "firing", 120)
    assert fired["annotations"]["runbook"] == f"docs/runbooks/{ALERT}.md"
    assert fired["labels"]["severity"] == "critical"
    with engine_running(settings):
        busy.watching.until_delivered(ALERT, "resolved", 120)
        busy.watching.until("sum(lethe_not_ready) == 0", 120)
        assert busy.serving.ask("Where was anybody born?", max_tokens=4)
