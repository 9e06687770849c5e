"""An engine is believed only once it has shown that it refuses and that it edits."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guards.needs import Capabilities
from guards.signed_edits import SignedEdits
from models.artifact import ArtifactStore
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, sign_nonce
from service.control.engine_abilities import EngineAbilities
from service.gateway.canary import Canary
from service.gateway.engine_status import PATH
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason
from tests.service.gateway.stand_ins import BOOT, KEY, Asked, Gateway, http

Json = Any
CAPABLE = Capabilities(frozenset({"embedding", "logits"}), "V1")
WORKERS: Json = [{"capabilities": CAPABLE.to_json(), "counts": {"dark_failed": 2, "edited": 9}}]
REFUSAL = b'{"error": {"message": "lethe: signed edits: absent"}}'


def engine(
    *,
    refuses: bool = True,
    edits: bool = True,
    proves: bool = True,
    varied: bool = True,
    workers: Json = WORKERS,
) -> Any:
    """An engine with or without each thing that the canary looks for."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        proof = asked.proof if proves else None
        if asked.path == PATH:
            assert asked.headers[SIGNATURE_HEADER] == sign_nonce(
                KEY, PATH, asked.headers[NONCE_HEADER]
            )
            writer.write(http(200, json.dumps({"workers": workers}).encode(), proof))
            return
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
    return Canary(
        parts.upstream,
        parts.signer,
        store,
        trust,
        parts.metrics,
        tuple(range(3, 300)),
        EngineAbilities(),
    )


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
        ({"workers": []}, Reason.CAPABILITIES_UNKNOWN),
        ({"workers": [{}]}, Reason.CAPABILITIES_UNKNOWN),
        ({"workers": [{"capabilities": 3}]}, Reason.CAPABILITIES_UNKNOWN),
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


async def test_it_learns_what_all_workers_can_do(gateway: Gateway, canary: Canary) -> None:
    less = Capabilities(frozenset({"embedding"}), "V1", history=False)
    both = [*WORKERS, {"capabilities": less.to_json(), "counts": {"dark_failed": 3}}]
    gateway.engine.answer = engine(workers=both)
    assert canary.engine.known is None
    assert await canary.look() is None
    assert canary.engine.known == less
    shown = canary.metrics.exposition().decode()
    assert "# TYPE lethe_engine_dark_total counter" in shown
    assert 'lethe_engine_dark_total{reason="failed"} 3.0' in shown


async def test_reasons_of_darkness_are_a_closed_set(gateway: Gateway, canary: Canary) -> None:
    counts = {"dark_Ada Vex": 1, "dark_more": 2, "dark_rows": 5}
    gateway.engine.answer = engine(workers=[{**WORKERS[0], "counts": counts}])
    assert await canary.look() is None
    shown = canary.metrics.exposition().decode()
    assert 'lethe_engine_dark_total{reason="other"} 3.0' in shown
    assert 'lethe_engine_dark_total{reason="rows"} 5.0' in shown
    assert "Ada" not in shown


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
