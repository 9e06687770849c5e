"""What a new epoch needs is opened ahead, from an engine that holds the key."""

import logging
import secrets
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from guards.policy import GuardSpec, Policy
from models.artifact import ArtifactStore
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, sign_nonce
from service.gateway.preload import MOST_AT_ONCE, PATH, Preloader

KEY = b"k" * 32
asked: list[tuple[bool, Any]] = []


class _Engine(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        import json

        body = self.rfile.read(int(self.headers["content-length"]))
        wanted = sign_nonce(KEY, PATH, self.headers[NONCE_HEADER])
        signed = self.headers[SIGNATURE_HEADER] == wanted and self.path == PATH
        asked.append((signed, json.loads(body)["artifacts"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ready": false}' if len(asked) > 1 else b'{"ready": true}')

    def log_message(self, *args: Any) -> None:
        del args


@pytest.fixture
def engine_url() -> Iterator[str]:
    asked.clear()
    server = HTTPServer(("127.0.0.1", 0), _Engine)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path, KEY)


def artifact(store: ArtifactStore, values: int) -> str:
    made = {"blind": secrets.token_hex(32)}
    return store.put(made, {"x": np.zeros(values, np.float32)} if values else None, sealed=True)


def policy(name: str, *guards: GuardSpec) -> Policy:
    return Policy(name, (name,), guards=guards)


def test_heavy_artifacts_of_guards_in_the_engine_are_asked_for_once(
    engine_url: str, store: ArtifactStore
) -> None:
    heavy, light = artifact(store, 10_000), artifact(store, 0)
    here = GuardSpec("token_filter", {"artifact": heavy})
    policies = [
        policy("a", here, GuardSpec("embedding_corruption", {"artifact": light})),
        policy("b", here, GuardSpec("refusal", {"text": "no"}), GuardSpec("text_filter")),
    ]
    Preloader(engine_url, KEY, store, 5.0)(policies)
    assert asked == [(True, [["token_filter", heavy]])]


def test_many_are_asked_for_in_parts_and_what_is_not_ready_is_said(
    engine_url: str, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    specs = [
        GuardSpec("steering", {"artifact": artifact(store, 10_000)})
        for _ in range(MOST_AT_ONCE + 1)
    ]
    with caplog.at_level(logging.WARNING):
        Preloader(engine_url, KEY, store, 5.0)([policy("a", *specs)])
    assert [len(wanted) for _, wanted in asked] == [MOST_AT_ONCE, 1]
    assert "preload_incomplete" in caplog.text


def test_without_an_engine_the_epoch_is_served_all_the_same(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    spec = GuardSpec("steering", {"artifact": artifact(store, 10_000)})
    with caplog.at_level(logging.WARNING):
        Preloader("http://127.0.0.1:9", KEY, store, 5.0)([policy("a", spec)])
    assert "preload_failed kind=ConnectError" in caplog.text


def test_an_engine_that_hangs_does_not_hold_the_epoch_up(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    spec = GuardSpec("steering", {"artifact": artifact(store, 10_000)})
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with caplog.at_level(logging.WARNING):
            Preloader(url, KEY, store, 0.2)([policy("a", spec)])
    assert "preload_failed kind=ReadTimeout" in caplog.text
