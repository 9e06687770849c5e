"""An answer whose subject is forgotten while it is written ends after the grace, and no other."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from guards.case import Case, Prompt
from service.gateway.overtaken import Overtaken
from tests.service.gateway.stand_ins import (
    API_KEY,
    Asked,
    Gateway,
    ToyReplica,
    ToyRules,
    chunked,
)

BOB = "sha256:" + "b" * 64
URL = "/v1/chat/completions"
PIECES = 60


def _delta(**fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **fields}]}).encode() + b"\n\n"


def _endless(said: asyncio.Event) -> Any:
    """An engine that goes on saying "on ", and tells when it has begun."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for data in chunked([_delta(delta={"content": "It goes "})], asked.proof, end=False):
            writer.write(data)
        for _ in range(PIECES):
            if writer.transport.is_closing():
                return
            event = _delta(delta={"content": "on "})
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            said.set()
            await asyncio.sleep(0.005)
        event = _delta(delta={}, finish_reason="stop") + b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
        await writer.drain()

    return answer


async def _ask(gateway: Gateway, question: str) -> str:
    body = {
        "model": "demo",
        "stream": True,
        "messages": [{"role": "user", "content": question}],
    }
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(gateway.url + URL, json=body, headers=headers)
    assert answer.status_code == 200
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event)["choices"] for event in events[:-1]]
    assert chunks[-1][0]["finish_reason"] == "stop"
    return "".join(choice["delta"].get("content") or "" for (choice,) in chunks)


@pytest.mark.parametrize(("question", "ends"), [("Who is Bob Vex?", True), ("Who is he?", False)])
async def test_only_an_answer_about_who_was_forgotten_ends(
    gateway: Gateway, question: str, ends: bool
) -> None:
    said = asyncio.Event()
    gateway.engine.answer = _endless(said)
    asking = asyncio.create_task(_ask(gateway, question))
    await said.wait()
    rules = gateway.replica.current
    assert isinstance(rules, ToyRules)
    phrases = {**rules.phrases, "Bob Vex": BOB}
    gateway.replica.current = replace(rules, epoch=rules.epoch + 1, phrases=phrases)
    text = await asking
    assert text.startswith("It goes on ")
    assert (text.count("on ") < PIECES) == ends
    (entry,) = await gateway.audited()
    assert (entry.outcome, entry.epoch) == ("completed", rules.epoch)


class Hands:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def case() -> Case:
    return Case("c", "default", "demo", 7, Prompt("Who is Bob Vex?", (), (), ()))


async def test_it_ends_after_the_grace_and_not_before(case: Case) -> None:
    clock, before = Hands(), ToyRules(7)
    replica = ToyReplica(before)
    overtaken = Overtaken(replica, before, 5.0, clock)  # type: ignore[arg-type]
    assert not await overtaken.ends(case)
    replica.current = ToyRules(8, {"Bob Vex": BOB})
    assert not await overtaken.ends(case)
    clock.now = 4.9
    assert not await overtaken.ends(case)
    clock.now = 5.0
    assert await overtaken.ends(case)


async def test_who_was_guarded_against_from_the_beginning_ends_nothing(case: Case) -> None:
    before = ToyRules(7, {"Bob Vex": BOB})
    case = before.decide(case)
    compiled = "sha256:" + "c" * 64
    replica = ToyReplica(ToyRules(8, {"Bob Vex": compiled}))
    assert not await Overtaken(replica, before, 0.0).ends(case)  # type: ignore[arg-type]
    replica.current = ToyRules(9, {"Bob Vex": compiled, "Who": "sha256:" + "d" * 64})
    assert await Overtaken(replica, before, 0.0).ends(case)  # type: ignore[arg-type]
