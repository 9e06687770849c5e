"""The door around vLLM's API, on a fake application."""

import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from service.attestation import (
    NONCE_HEADER,
    PROOF_HEADER,
    SIGNATURE_HEADER,
    proven_boot_id,
    sign_nonce,
)

pytest.importorskip("torch")

from service.engine import attest
from service.settings import Settings

asked: list[tuple[str, Any]] = []
bound = 1  # how many artifacts the workers can bind


class Engine:
    async def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Any]:
        asked.append((method, args))
        # It is done with what it was asked to preload when it is asked again.
        count = len(asked) - 1
        return [[count, min(count, bound)]] if method == "lethe_preload" else [{"rank": 0}]


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@pytest.fixture
def key(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path))
    asked.clear()
    return Settings().engine_key()


@pytest.fixture
async def client(key: bytes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr("service.engine.vllm_0_32.admission_installed", lambda: True)
    door = attest.Door(application)
    state = SimpleNamespace(state=SimpleNamespace(engine_client=Engine()))

    async def with_app(scope: Any, receive: Any, send: Any) -> None:
        await door({**scope, "app": state}, receive, send)

    transport = httpx.ASGITransport(with_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as made:
        yield made


def test_the_door_does_not_open_without_admission(
    key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.vllm_0_32.admission_installed", lambda: False)
    with pytest.raises(attest.NotGuarded):
        attest.Door(application)


async def test_a_nonce_is_answered_with_a_proof(key: bytes, client: httpx.AsyncClient) -> None:
    first = await client.get("/health", headers={NONCE_HEADER: "n1"})
    second = await client.get("/nowhere", headers={NONCE_HEADER: "n2"})
    assert first.text == "/health"
    assert second.status_code == 404
    ids = [
        proven_boot_id(key, nonce, response.headers[PROOF_HEADER])
        for nonce, response in (("n1", first), ("n2", second))
    ]
    assert ids[0] is not None
    assert ids[0] == ids[1]
    assert PROOF_HEADER not in (await client.get("/health")).headers


@pytest.mark.parametrize("path", ["/tokenize", "/invocations", "/V1/completions", "/", "//health"])
async def test_only_listed_routes_are_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404
    assert (await client.get("/v1/models")).status_code == 200


async def test_only_the_key_opens_the_status(key: bytes, client: httpx.AsyncClient) -> None:
    signature = sign_nonce(key, attest.STATUS, "n")
    refused: list[dict[str, Any]] = [
        {},
        {NONCE_HEADER: "n"},
        {SIGNATURE_HEADER: signature},
        {NONCE_HEADER: "m", SIGNATURE_HEADER: signature},
        {NONCE_HEADER: "n", SIGNATURE_HEADER: sign_nonce(key, attest.PRELOAD, "n")},
        {NONCE_HEADER: "", SIGNATURE_HEADER: sign_nonce(key, attest.STATUS, "")},
        {NONCE_HEADER: "n", SIGNATURE_HEADER: b"\xe4"},
    ]
    for headers in refused:
        assert (await client.get(attest.STATUS, headers=headers)).status_code == 404
    assert asked == []
    headers = {NONCE_HEADER: "n", SIGNATURE_HEADER: signature}
    answer = (await client.get(attest.STATUS, headers=headers)).json()
    assert answer["workers"] == [{"rank": 0}]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"artifacts": [["one"]]}', b'{"artifacts": [[1, 2]]}', b"x" * (3 << 20)],
)
async def test_a_malformed_preload_reaches_no_worker(
    key: bytes, client: httpx.AsyncClient, body: bytes
) -> None:
    headers = {NONCE_HEADER: "n", SIGNATURE_HEADER: sign_nonce(key, attest.PRELOAD, "n")}
    response = await client.post(attest.PRELOAD, content=body, headers=headers)
    assert response.status_code == 400
    assert asked == []


@pytest.mark.parametrize("fails", ["", "here", "there"])
async def test_a_preload_is_answered_when_all_are_done(
    key: bytes, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "bound", 0 if fails == "there" else 1)

    opened: list[tuple[str, str]] = []

    def prepare(guard: str, digest: str) -> None:
        opened.append((guard, digest))
        if fails == "here":
            raise ValueError

    monkeypatch.setattr("service.engine.vllm_0_32.prepare_here", prepare)
    headers = {NONCE_HEADER: "n", SIGNATURE_HEADER: sign_nonce(key, attest.PRELOAD, "n")}
    good = {"artifacts": [["guard", "digest"]]}
    answer = await client.post(attest.PRELOAD, json=good, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"ready": not fails})
    assert opened == [("guard", "digest")]
    asks = 0 if fails == "here" else 2  # what cannot be opened here is not asked for there
    assert asked == [("lethe_preload", ([["guard", "digest"]],))] * asks


async def test_websockets_are_closed(key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.vllm_0_32.admission_installed", lambda: True)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read from a websocket")

    door = attest.Door(application)
    await door({"type": "websocket", "path": "/v1/realtime", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
