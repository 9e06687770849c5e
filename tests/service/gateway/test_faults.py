"""An engine that fails in every way: nothing unguarded, nothing that was held, one answer."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from service.attestation import prove
from service.control.fence import FenceReason
from service.errors import unavailable
from service.gateway.unavailable import Reason
from tests.service.gateway.stand_ins import (
    API_KEY,
    KEY,
    Asked,
    Gateway,
    chunked,
    http,
    scripted,
)

Json = Any
URL = "/v1/chat/completions"
ASK = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}
DELTA = b'data: {"choices": [{"index": 0, "delta": {"content": "Hello Ada V"}}]}\n\n'


async def post(gateway: Gateway, body: Json | bytes, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {API_KEY}", **more.pop("headers", {})}
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(gateway.url + URL, content=content, headers=headers, **more)


def writes(make: Callable[[Asked], Sequence[bytes]], *, close: bool = True) -> Any:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for data in make(asked):
            writer.write(data)
            await writer.drain()
        if close:
            writer.close()

    return answer


async def stall(_: Asked, writer: asyncio.StreamWriter) -> None:
    while not writer.transport.is_closing():  # noqa: ASYNC110  (until the gateway gives up)
        await asyncio.sleep(0.01)


def whole(asked: Asked, status: int = 200, body: bytes = b"{}", proof: str | None = "") -> bytes:
    return http(status, body, asked.proof if proof == "" else proof)


GOOD = json.dumps(
    {"choices": [{"index": 0, "message": {"content": "secret"}, "finish_reason": "stop"}]}
).encode()
FAULTS: dict[str, Any] = {
    "gone": writes(lambda _: []),
    "stalled": stall,
    "no proof": writes(lambda a: [whole(a, 200, GOOD, None)]),
    "forged proof": writes(lambda a: [whole(a, 200, GOOD, "boot-1." + "0" * 64)]),
    "old proof": writes(lambda a: [whole(a, 200, GOOD, prove(KEY, "boot-1", "nonce"))]),
    "unknown engine": writes(
        lambda a: [whole(a, 200, GOOD, prove(KEY, "boot-2", a.headers["x-lethe-nonce"]))]
    ),
    "refused": writes(lambda a: [whole(a, 400, b'{"error": {"message": "lethe: expired"}}')]),
    "500": writes(lambda a: [whole(a, 500, b'{"error": {"message": "secret"}}')]),
    "redirect": writes(lambda a: [whole(a, 302, b"")]),
    "garbage": writes(lambda a: [whole(a, 200, b"secret")]),
    "no choices": writes(lambda a: [whole(a, 200, b'{"choices": []}')]),
    "one too many": writes(lambda a: [whole(a, 200, GOOD.replace(b'"index": 0', b'"index": 1'))]),
    "truncated": writes(lambda a: [whole(a, 200, GOOD)[:-9]]),
    "error inside": writes(lambda a: [whole(a, 200, b'{"error": {"message": "secret"}}')]),
    "aborted": writes(lambda a: [whole(a, 200, GOOD.replace(b"stop", b"error"))]),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_is_the_same_503(gateway: Gateway, name: str, stream: bool) -> None:
    gateway.engine.answer = FAULTS[name]
    response = await post(gateway, {**ASK, "stream": stream})
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json() == unavailable().body
    (entry,) = await gateway.audited()
    assert entry.outcome in ("unavailable", "upstream_error")


STREAM_FAULTS = {
    "reset": lambda a: chunked([DELTA], a.proof, end=False),
    "no end": lambda a: chunked([DELTA], a.proof),
    "garbage": lambda a: chunked([DELTA, b"data: {nonsense\n\n"], a.proof),
    "error event": lambda a: chunked([DELTA, b'data: {"error": {"message": "x"}}\n\n'], a.proof),
    "done too early": lambda a: chunked([DELTA, b"data: [DONE]\n\n"], a.proof),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
async def test_a_broken_stream_ends_in_an_error_and_drops_what_was_held(
    gateway: Gateway, name: str
) -> None:
    gateway.engine.answer = writes(STREAM_FAULTS[name])
    response = await post(gateway, {**ASK, "stream": True})
    events = [line for line in response.text.splitlines() if line]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "guard_unavailable"
    assert "Hello " in response.text
    assert "Ada" not in response.text
    assert "[DONE]" not in response.text


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_a_stream_cut_anywhere_says_the_same(gateway: Gateway, size: int) -> None:
    said = [{"content": ["Grüße ", "🙂 and", " more"]}]
    cut = lambda data: [data[i : i + size] for i in range(0, len(data), size)]  # noqa: E731
    gateway.engine.answer = scripted(lambda _: said, cut=cut)
    response = await post(gateway, {**ASK, "stream": True})
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if "{" in line]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    assert text == "Grüße 🙂 and more"


async def test_a_connection_closed_while_idle_is_tried_once_more(gateway: Gateway) -> None:
    usual = gateway.engine.answer
    calls = 0

    async def closes_when_reused(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            writer.close()
        else:
            await usual(asked, writer)

    gateway.engine.answer = closes_when_reused
    assert (await post(gateway, ASK)).status_code == 200
    assert (await post(gateway, ASK)).status_code == 200
    assert calls == 3


async def test_an_answer_without_proof_takes_readiness_away(gateway: Gateway) -> None:
    gateway.engine.answer = FAULTS["no proof"]
    async with httpx.AsyncClient() as client:
        assert (await client.get(gateway.url + "/health/ready")).status_code == 200
        await post(gateway, ASK)
        ready = await client.get(gateway.url + "/health/ready")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["engine_unattested"])
    assert gateway.parts.trust.wanted.is_set()


async def test_a_fenced_replica_answers_nothing(gateway: Gateway) -> None:
    gateway.replica.fenced = FenceReason.LEASE_LOST
    assert (await post(gateway, ASK)).status_code == 503
    gateway.replica.fenced = FenceReason.ENCODER_UNAVAILABLE
    assert gateway.readiness.reasons() == [Reason.ENCODER_UNAVAILABLE]
    assert gateway.engine.asked == []


async def test_nothing_is_answered_that_cannot_be_recorded(gateway: Gateway) -> None:
    gateway.audit.healthy = False
    assert (await post(gateway, ASK)).status_code == 503
    assert gateway.engine.asked == []


async def test_a_guard_that_raises_fails_closed(gateway: Gateway, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(gateway.replica.current), "decide", lambda *_: 1 / 0)
    assert (await post(gateway, ASK)).status_code == 503
    assert gateway.engine.asked == []


async def test_an_engines_400_is_told_in_our_words(gateway: Gateway) -> None:
    gateway.engine.answer = writes(
        lambda a: [whole(a, 400, b'{"error": {"message": "quotes the prompt"}}')]
    )
    response = await post(gateway, ASK)
    assert response.status_code == 400
    assert "quotes" not in response.text


async def test_a_client_that_hangs_up_stops_the_engines_work(gateway: Gateway) -> None:
    ended = asyncio.Event()

    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for data in chunked([DELTA], asked.proof, end=False):
            writer.write(data)
        try:
            while not writer.transport.is_closing():
                writer.write(b"1\r\n:\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    gateway.engine.answer = endless
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with (
        httpx.AsyncClient() as client,
        client.stream(
            "POST", gateway.url + URL, json={**ASK, "stream": True}, headers=headers
        ) as r,
    ):
        async for _ in r.aiter_lines():
            break
    await asyncio.wait_for(ended.wait(), 5)
    (entry,) = await gateway.audited()
    assert entry.outcome == "client_gone"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b" " * ((1 << 20) + 1), {}, 413),
        (b"{}", {"content-encoding": "gzip"}, 415),
        (b"\xff", {}, 400),
        (b'{"model": "demo", "model": "demo"}', {}, 400),
    ],
)
async def test_odd_bodies_are_refused(
    gateway: Gateway, body: bytes, headers: Any, status: int
) -> None:
    response = await post(gateway, body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_body_sent_in_pieces_is_bounded_too(gateway: Gateway) -> None:
    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 65536

    headers = {"authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient() as client:
        response = await client.post(gateway.url + URL, content=pieces(), headers=headers)
    assert response.status_code == 413


async def test_only_post_is_answered_on_the_hot_paths(gateway: Gateway) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(gateway.url + URL)).status_code == 405
        assert (await client.get(gateway.url + "/docs")).status_code == 404
        assert (await client.post(gateway.url + "/v1/embeddings")).status_code == 404
