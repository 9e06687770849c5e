"""What readiness says about an engine that cannot do what policies need."""

import httpx
import openai
import pytest

from guards.rules import Lack
from service.control.fence import FenceReason
from tests.service.gateway.stand_ins import Gateway, joined


async def test_it_names_guard_and_need(gateway: Gateway) -> None:
    gateway.replica.fenced = FenceReason.ENGINE_LACKS
    gateway.replica.lacking = (Lack("steering", "activations"),)
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{gateway.url}/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "reasons": ["engine_lacks"],
        "details": ["'steering' needs activations, which this engine does not offer"],
    }


async def test_a_newest_epoch_that_cannot_be_prepared_is_told_while_the_one_before_is_served(
    gateway: Gateway,
) -> None:
    gateway.replica.refusal = FenceReason.ARTIFACT_CORRUPT
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{gateway.url}/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "reasons": [], "pending": ["artifact_corrupt"]}


async def test_clients_see_the_same_503_as_for_every_cause(gateway: Gateway) -> None:
    gateway.replica.fenced = FenceReason.ENGINE_LACKS
    with pytest.raises(openai.InternalServerError) as caught:
        await joined(gateway, [{"role": "user", "content": "Hello"}])
    assert caught.value.code == "guard_unavailable"
    (entry,) = await gateway.audited()
    assert entry.outcome == "unavailable"
