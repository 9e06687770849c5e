"""A real Prometheus and a real Alertmanager over gateways, configured as they are deployed."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from service.cli.processes import end, free_port
from tests.deploy.files import DEPLOY, RULES, Json, read_yaml, write_yaml

START_S = 60.0
ALERTMANAGER = ("alertmanager", "prometheus-alertmanager")


@dataclass(frozen=True)
class Watching:
    """Where Prometheus answers, and what was delivered to the webhook."""

    prometheus: str
    delivered: list[Json]

    def ask(self, path: str, **query: str) -> Json:
        """The data of an answer of Prometheus's API."""
        answer = httpx.get(f"{self.prometheus}/api/v1/{path}", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def series(self, expr: str) -> list[Json]:
        """What an expression gives now."""
        return list(self.ask("query", query=expr)["result"])

    def until(self, expr: str, limit_s: float = START_S) -> list[Json]:
        """Wait for an expression to give something."""
        deadline = time.monotonic() + limit_s
        while not (found := self.series(expr)):
            assert time.monotonic() < deadline, f"nothing came of {expr}"
            time.sleep(0.5)
        return found

    def until_delivered(self, alert: str, status: str, limit_s: float = START_S) -> Json:
        """Wait for the webhook to hear of an alert: "firing" or "resolved"."""
        deadline = time.monotonic() + limit_s
        while True:
            for message in list(self.delivered):
                for each in message["alerts"]:
                    if (each["labels"]["alertname"], each["status"]) == (alert, status):
                        return each
            assert time.monotonic() < deadline, f"{alert} was not delivered as {status}"
            time.sleep(0.5)


def program(*names: str) -> str:
    """The first of the programs that is there; without any the test skips."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed")
    return found


@contextmanager
def watching(folder: Path, gateway: str) -> Iterator[Watching]:
    """Both programs over one gateway (host:port), everything deployed but the intervals: 1 s."""
    prometheus, alertmanager = program("prometheus"), program(*ALERTMANAGER)
    with webhook() as (hook, delivered):
        ports = free_port(), free_port()
        _configure(folder, gateway, f"127.0.0.1:{ports[1]}", hook)
        commands = (
            [
                prometheus,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{ports[0]}",
            ],
            [
                alertmanager,
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{ports[1]}",
                "--cluster.listen-address=",
            ],
        )
        logs = folder / "prometheus.log", folder / "alertmanager.log"
        with _program(commands[0], logs[0]), _program(commands[1], logs[1]):
            for port in ports:
                _until_ready(f"http://127.0.0.1:{port}/-/ready", folder)
            yield Watching(f"http://127.0.0.1:{ports[0]}", delivered)


def _configure(folder: Path, gateway: str, alertmanager: str, hook: str) -> None:
    rules = read_yaml(RULES)
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "1s"
    write_yaml(folder / "rules.yml", rules)
    config = read_yaml(DEPLOY / "prometheus/prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(folder / "rules.yml")]
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    config["scrape_configs"] = [_static(each, gateway) for each in config["scrape_configs"][:1]]
    write_yaml(folder / "prometheus.yml", config)
    routing = read_yaml(DEPLOY / "alertmanager/alertmanager.yml")
    quick = {"group_wait": "0s", "group_interval": "1s"}
    routing["route"].update(quick)
    routing["route"]["routes"][0].update(quick)
    routing["receivers"][0]["webhook_configs"] = [{"url": hook, "send_resolved": True}]
    write_yaml(folder / "alertmanager.yml", routing)


def _static(job: Mapping[str, Any], gateway: str) -> Json:
    kept = {name: value for name, value in job.items() if name != "dns_sd_configs"}
    return {**kept, "static_configs": [{"targets": [gateway]}]}


@contextmanager
def _program(command: list[str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  (found on the PATH, our own arguments)
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        end(process)


def _until_ready(url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
        assert time.monotonic() < deadline, logs
        time.sleep(0.2)


@contextmanager
def webhook() -> Iterator[tuple[str, list[Json]]]:
    """A place that Alertmanager can send to, and what it has sent."""
    delivered: list[Json] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            delivered.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", delivered
    finally:
        server.shutdown()
        server.server_close()
