"""Connections, routes and proofs of the in-process engine's server."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx

from guards.case import Edit, Span
from service.attestation import (
    NONCE_HEADER,
    PROOF_HEADER,
    SIGNATURE_HEADER,
    App,
    new_nonce,
    proven_boot_id,
    sign_nonce,
)
from service.local.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from tests.service.local.conftest import SigningClient

Json = Any
ENDLESS = {
    "messages": [{"role": "user", "content": "Where was the lamplighter born?"}],
    "temperature": 0,
    "ignore_eos": True,
    "stream": True,
}


async def status(client: "SigningClient") -> Json:
    nonce = new_nonce()
    signature = sign_nonce(client.settings.engine_key(), "/lethe/status", nonce)
    headers = {NONCE_HEADER: nonce, SIGNATURE_HEADER: signature}
    return (await client.http.get("/lethe/status", headers=headers)).json()


async def test_every_answer_proves_the_same_boot(client: "SigningClient") -> None:
    key = client.settings.engine_key()
    boots = set()
    for method, path, body in (
        ("GET", "/health", None),
        ("GET", "/v1/models", None),
        ("GET", "/nothing", None),
        ("POST", "/v1/chat/completions", {}),
        ("POST", "/v1/chat/completions", client.signed({**ENDLESS, "max_tokens": 1})),
    ):
        nonce = new_nonce()
        response = await client.http.request(method, path, json=body, headers={NONCE_HEADER: nonce})
        boots.add(proven_boot_id(key, nonce, response.headers.get(PROOF_HEADER)))
    assert boots == {(await status(client))["boot_id"]}
    assert PROOF_HEADER not in (await client.http.get("/health")).headers


async def test_each_process_has_a_boot_of_its_own(
    client: "SigningClient", local_settings: Settings
) -> None:
    nonce = new_nonce()
    transport = httpx.ASGITransport(app=create_app(local_settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as other:
        proof = (await other.get("/health", headers={NONCE_HEADER: nonce})).headers[PROOF_HEADER]
    boot = proven_boot_id(client.settings.engine_key(), nonce, proof)
    assert boot is not None
    assert boot != (await status(client))["boot_id"]


async def test_the_status_is_for_gateways_only(client: "SigningClient") -> None:
    assert (await client.http.get("/lethe/status")).status_code == 404
    headers = {NONCE_HEADER: "n", SIGNATURE_HEADER: "0" * 64}
    assert (await client.http.get("/lethe/status", headers=headers)).status_code == 404
    assert (await status(client))["engine"] == "local"


async def test_the_model_is_listed_with_its_length(client: "SigningClient") -> None:
    (model,) = (await client.http.get("/v1/models")).json()["data"]
    assert (model["id"], model["max_model_len"]) == ("tiny", 200)


async def test_nothing_else_is_served(client: "SigningClient") -> None:
    for path in ("/tokenize", "/docs", "/v1/embeddings", "/v1/responses", "/metrics"):
        assert (await client.http.post(path, json={})).status_code == 404
    assert (await client.http.get("/v1/chat/completions")).status_code == 405


class Connection:
    """One request straight to the application, which can be hung up on."""

    def __init__(self, app: App, body: Json) -> None:
        self.events: list[bytes] = []
        self.begun = asyncio.Event()
        self._gone = asyncio.Event()
        self._body: bytes | None = json.dumps(body).encode()
        path = "/v1/chat/completions"
        scope: Json = {"type": "http", "method": "POST", "path": path, "headers": []}
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def hang_up(self) -> None:
        self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message.get("body"):
            self.events.append(message["body"])
            self.begun.set()


async def idle(client: "SigningClient") -> None:
    while (await status(client))["workers"][0]["running"]:  # noqa: ASYNC110 - nobody is told when a slot is free
        await asyncio.sleep(0.01)


async def test_a_client_that_hangs_up_frees_its_slot(
    client: "SigningClient", local_app: App
) -> None:
    connection = Connection(local_app, client.signed({**ENDLESS, "n": 3}))
    await asyncio.wait_for(connection.begun.wait(), 30)
    connection.hang_up()
    await asyncio.wait_for(connection.task, 30)
    await asyncio.wait_for(idle(client), 30)
    assert not any(b"[DONE]" in event for event in connection.events)


async def test_hanging_up_before_the_first_token_frees_the_slot_too(
    client: "SigningClient", local_app: App
) -> None:
    connection = Connection(local_app, {**client.signed(ENDLESS), "stream": False})
    connection.hang_up()
    await asyncio.wait_for(connection.task, 30)
    await asyncio.wait_for(idle(client), 30)
    assert connection.events == []


async def test_streams_take_turns_and_do_not_touch_each_other(
    client: "SigningClient", local_app: App, noise: str
) -> None:
    edits = [Edit("embedding_corruption", noise, (Span(2, 6),))]
    body = {**ENDLESS, "max_tokens": 60}
    alone = [await client.stream(body), await client.stream(body, edits)]
    order: list[int] = []
    connections = [Connection(local_app, client.signed(body, acting)) for acting in ((), edits)]
    for number, connection in enumerate(connections):
        connection.events = _Noting(order, number)
    await asyncio.wait_for(asyncio.gather(*(c.task for c in connections)), 60)
    for connection, chunks in zip(connections, alone, strict=True):
        text = b"".join(connection.events).decode()
        events = [json.loads(e.removeprefix("data: ")) for e in text.split("\n\n")[:-2]]
        assert [e["choices"] for e in events] == [c["choices"] for c in chunks]
    # Neither waits for the other's end.
    assert order.index(1) < len(order) - 1 - order[::-1].index(0)


class _Noting(list[bytes]):
    """A list that notes whose turn it was."""

    def __init__(self, order: list[int], number: int) -> None:
        super().__init__()
        self._order, self._number = order, number

    def append(self, event: bytes) -> None:
        self._order.append(self._number)
        super().append(event)


async def test_preloading_opens_what_is_there_and_survives_what_is_not(
    client: "SigningClient", noise: str
) -> None:
    nonce = new_nonce()
    signature = sign_nonce(client.settings.engine_key(), "/lethe/preload", nonce)
    headers = {NONCE_HEADER: nonce, SIGNATURE_HEADER: signature}
    pairs = [["embedding_corruption", noise], ["embedding_corruption", "sha256:" + "0" * 64]]
    for body, expected in (({"artifacts": pairs}, 200), ({"artifacts": [1]}, 400), ([], 400)):
        response = await client.http.post("/lethe/preload", json=body, headers=headers)
        assert response.status_code == expected
    assert (await client.http.post("/lethe/preload", json={"artifacts": []})).status_code == 404
