"""What the gateway measures of a request, and that nothing of the request shows in it."""

import asyncio

import httpx
import openai
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from service.gateway.timed_changes import TimedChanges
from service.metric_labels import allowed
from service.metrics import Metrics
from tests.service.gateway.stand_ins import MODEL, Asked, Gateway, joined, scripted, streamed

SECRET_PROMPT, SECRET_NAME, SECRET_ANSWER = "quincunx", "Ada Vex", "zymurgist"


def values(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {f"{s.name}{s.labels or ''}": s.value for family in families for s in family.samples}


async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.3)
    await scripted(lambda _: [{"content": ["Hello", " there."]}])(asked, writer)


async def test_the_engines_time_is_not_counted_as_ours(gateway: Gateway) -> None:
    gateway.engine.answer = slow
    await streamed(gateway, [{"role": "user", "content": "Hello"}])
    await gateway.audited()
    found = values(gateway.parts.metrics)
    ours = found["lethe_added_first_token_seconds_sum"]
    theirs = found["lethe_stage_seconds_sum{'stage': 'upstream'}"]
    label = {"gen_ai_operation_name": "chat", "gen_ai_request_model": MODEL}
    whole = found[f"gen_ai_server_time_to_first_token_seconds_sum{label}"]
    assert theirs >= 0.3
    assert ours == pytest.approx(whole - theirs)
    assert 0 < found["lethe_hold_back_seconds_sum"] < ours


async def test_each_chunk_of_a_stream_has_its_hop(gateway: Gateway) -> None:
    await streamed(gateway, [{"role": "user", "content": "Hello"}])
    await gateway.audited()
    before = values(gateway.parts.metrics)["lethe_hop_seconds_count"]
    assert before == 2  # "Hello" and " there."; beginning and end are not made of a piece's text
    await joined(gateway, [{"role": "user", "content": "Hello"}])
    await gateway.audited(2)
    assert values(gateway.parts.metrics)["lethe_hop_seconds_count"] == before


async def test_edits_are_counted_with_how_the_case_ended(gateway: Gateway) -> None:
    await joined(gateway, [{"role": "user", "content": f"Who is {SECRET_NAME}?"}])
    await gateway.audited()
    found = values(gateway.parts.metrics)
    label = {"guard": "embedding_corruption", "outcome": "completed"}
    assert found[f"lethe_edits_total{label}"] == 1


async def test_nothing_of_requests_shows_and_labels_are_closed(gateway: Gateway) -> None:
    gateway.engine.answer = scripted(lambda b: [{"content": [SECRET_ANSWER]}] * b.get("n", 1))
    await joined(gateway, f"{SECRET_PROMPT} {SECRET_NAME}", n=2, temperature=1, user=SECRET_PROMPT)
    await streamed(gateway, [{"role": "user", "content": SECRET_NAME}])
    with pytest.raises(openai.BadRequestError):
        await joined(gateway, "Hello", extra_body={SECRET_PROMPT: 1})
    async with httpx.AsyncClient() as client:
        for method, path in (("PUT", "completions"), ("POST", SECRET_PROMPT)):
            headers = {"authorization": SECRET_PROMPT, "x-request-id": SECRET_PROMPT}
            await client.request(method, f"{gateway.url}/v1/{path}", headers=headers)
    await gateway.audited(4)
    shown = gateway.parts.metrics.exposition().decode()
    for secret in (SECRET_PROMPT, SECRET_NAME, SECRET_ANSWER, "acme", "key_1", "sha256", "a" * 8):
        assert secret not in shown
    for family in text_string_to_metric_families(shown):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label == "gen_ai_request_model":
                    assert value == MODEL
                elif label != "le":
                    assert value in allowed(family.name, label), (family.name, label, value)


@pytest.mark.parametrize(
    ("method", "path", "status", "counted"),
    [
        ("POST", "/v1/forget_requests", 201, ("forget", "enforced")),
        ("POST", "/v1/forget_requests", 503, ("forget", "pending")),
        ("POST", "/v1/forget_requests", 400, ("forget", "refused")),
        ("DELETE", "/v1/forget_requests/fr_1", 200, ("revoke", "enforced")),
        ("GET", "/v1/forget_requests", 200, None),
        ("POST", "/v1/api_keys", 201, None),
    ],
)
async def test_changes_are_timed_until_they_are_in_force(
    method: str, path: str, status: int, counted: tuple[str, str] | None
) -> None:
    metrics, app = Metrics(), FastAPI()
    app.add_middleware(TimedChanges, metrics=metrics)

    @app.api_route("/{rest:path}", methods=["GET", "POST", "DELETE"], status_code=status)
    async def answer(rest: str) -> str:
        return rest

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.request(method, path)).status_code == status
    found = values(metrics)
    changed = {name for name, value in found.items() if "lethe_changes" in name and value}
    if counted is None:
        assert changed == set()
        return
    change, outcome = counted
    assert changed == {f"lethe_changes_total{ {'change': change, 'outcome': outcome} }"}
    timed = found.get(f"lethe_activation_seconds_count{ {'change': change} }", 0)
    assert timed == (outcome == "enforced")
