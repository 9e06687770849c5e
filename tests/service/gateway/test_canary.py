"""An engine is believed only once it has shown that it refuses and that it edits."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guards.signed_edits import SignedEdits
from models.artifact import ArtifactStore
from service.gateway.canary import Canary
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason
from tests.service.gateway.stand_ins import BOOT, KEY, Asked, Gateway, http

REFUSAL = b'{"error": {"message": "lethe: signed edits: absent"}}'


def engine(
    *, refuses: bool = True, edits: bool = True, proves: bool = True, varied: bool = True
) -> Any:
    """An engine with or without each thing that the canary looks for."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        proof = asked.proof if proves else None
        field = (asked.body.get("vllm_xargs") or {}).get("lethe")
        if field is None and refuses:
            writer.write(http(400, REFUSAL, proof))
            return
        edited = bool(field) and bool(SignedEdits.verify(field, KEY, 0).edits)
        blind = (edited and edits) or not varied
        ids = [0] if blind else asked.body["prompt"][:3]
        choice = {"index": 0, "text": "", "token_ids": ids, "finish_reason": "length"}
        writer.write(http(200, json.dumps({"choices": [choice]}).encode(), proof))

    return answer


@pytest.fixture
def canary(gateway: Gateway, tmp_path: Path) -> Canary:
    trust = EngineTrust(30.0)
    parts = gateway.parts
    store = ArtifactStore(tmp_path)
    return Canary(parts.upstream, parts.signer, store, trust, parts.metrics, tuple(range(3, 300)))


async def test_an_engine_that_refuses_and_edits_passes(gateway: Gateway, canary: Canary) -> None:
    gateway.engine.answer = engine()
    assert canary.trust.fault is Reason.STARTING
    assert await canary.look() is None
    assert canary.trust.fault is None
    canary.trust.check(BOOT)


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ({"refuses": False}, Reason.CANARY_FAILED),
        ({"edits": False}, Reason.CANARY_FAILED),
        ({"varied": False}, Reason.CANARY_FAILED),
        ({"proves": False}, Reason.ENGINE_UNATTESTED),
    ],
)
async def test_an_engine_that_lacks_anything_fails(
    gateway: Gateway, canary: Canary, lacking: Any, reason: Reason
) -> None:
    canary.trust.passed(BOOT)
    gateway.engine.answer = engine(**lacking)
    assert await canary.look() is reason
    with pytest.raises(GuardUnavailable):
        canary.trust.check(BOOT)


async def test_the_watch_looks_again_when_wanted(gateway: Gateway, canary: Canary) -> None:
    gateway.engine.answer = engine()
    watching = asyncio.create_task(canary.watch(3600))
    async with asyncio.timeout(5):
        while canary.trust.fault is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        asked = len(gateway.engine.asked)
        with pytest.raises(GuardUnavailable):
            canary.trust.check("boot-2")
        while len(gateway.engine.asked) < asked + 5:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    watching.cancel()


def test_trust_ends_when_nothing_renews_it() -> None:
    now = 0.0
    trust = EngineTrust(10.0, lambda: now)
    trust.passed(BOOT)
    trust.check(BOOT)
    now = 31.0
    assert trust.fault is Reason.ENGINE_UNATTESTED
    with pytest.raises(GuardUnavailable):
        trust.check(BOOT)


def test_an_unreachable_engine_is_not_ready_but_known_when_it_is_back() -> None:
    trust = EngineTrust(10.0)
    trust.passed(BOOT)
    trust.failed(Reason.ENGINE_UNREACHABLE)
    assert trust.fault is Reason.ENGINE_UNREACHABLE
    trust.check(BOOT)
