"""What the in-process engine's server does not run."""

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from guards.case import Edit, Span
from guards.embedding_corruption import manifest
from guards.signed_edits import FIELD
from models.artifact import ArtifactStore
from service.local.body import _NEUTRAL, ChatBody, CompletionBody

if TYPE_CHECKING:
    from tests.service.local.conftest import SigningClient

Json = Any
CHAT = {"messages": [{"role": "user", "content": "Zebulon?"}], "max_tokens": 2, "temperature": 0}


def message_of(response: Any, status: int = 400) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == status
    assert "Zebulon" not in response.text
    message: str = error["message"]
    return message


@pytest.mark.parametrize(
    "falsified",
    [
        {"prompt": "0" * 64},
        {"length": 1},
        {"cache_salt": "another"},
        {"model": "another"},
        {"expires": int(time.time()) - 5},
    ],
)
async def test_what_was_signed_for_something_else_is_refused(
    client: "SigningClient", falsified: dict[str, Any]
) -> None:
    assert message_of(await client.post(CHAT, **falsified)).startswith("lethe:")
    assert message_of(await client.post({**CHAT, "stream": True}, **falsified))


@pytest.mark.parametrize("extra", [None, {}, {FIELD: ""}, {FIELD: "a.b"}, {FIELD: 7}])
async def test_what_is_unsigned_is_refused(client: "SigningClient", extra: Json) -> None:
    body = {**CHAT, "model": "tiny", "vllm_xargs": extra}
    response = await client.http.post("/v1/chat/completions", json=body)
    assert message_of(response).startswith("lethe:")


async def test_other_extra_arguments_are_refused(client: "SigningClient") -> None:
    body = client.signed(CHAT)
    body["vllm_xargs"]["more"] = 1
    response = await client.http.post("/v1/chat/completions", json=body)
    assert message_of(response).startswith("lethe:")


async def test_other_messages_than_the_signed_ones_are_refused(client: "SigningClient") -> None:
    body = client.signed(CHAT)
    body["messages"] = [{"role": "user", "content": "Zebulon!"}]
    response = await client.http.post("/v1/chat/completions", json=body)
    assert message_of(response).startswith("lethe:")


@pytest.mark.parametrize("guard", ["embedding_corruption", "text_filter", "unheard_of"])
async def test_an_edit_that_cannot_be_applied_is_refused(
    client: "SigningClient", guard: str
) -> None:
    edit = Edit(guard, "sha256:" + "0" * 64, (Span(0, 1),))
    assert message_of(await client.post(CHAT, [edit])).startswith("lethe:")


async def test_a_missing_artifact_is_looked_for_again(client: "SigningClient") -> None:
    store = ArtifactStore(client.settings.artifacts)
    content = manifest("rand_noise", 3.25, seed=99)
    digest = ArtifactStore(client.settings.data_dir / "elsewhere").put(content)
    edit = Edit("embedding_corruption", digest, (Span(0, 1),))
    assert message_of(await client.post(CHAT, [edit])).startswith("lethe:")
    store.put(content)
    assert (await client.post(CHAT, [edit])).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("structured_outputs", {"choice": ["Zebulon"]}),
        ("logprobs", True),
        ("use_beam_search", True),
        ("unheard_of", 1),
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 0),
        ("n", 0),
        ("max_tokens", 0),
        ("max_tokens", 100_000),
        ("max_completion_tokens", 100_000),
        ("stop", [""]),
        ("stop_token_ids", [100_000]),
        ("logit_bias", {"Zebulon": 1}),
        ("stream_options", {"continuous_usage_stats": True}),
        ("messages", []),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
    ],
)
async def test_a_field_that_cannot_be_honoured_is_refused_by_name(
    client: "SigningClient", field: str, value: Json
) -> None:
    body = {**client.signed(CHAT), field: value}
    response = await client.http.post("/v1/chat/completions", json=body)
    message_of(response)
    assert response.json()["error"]["param"] == field


@pytest.mark.parametrize("prompt", ["Zebulon", ["Zebulon"], [[5, 6]], [], [5, 999_999]])
async def test_a_prompt_must_be_token_ids(client: "SigningClient", prompt: Json) -> None:
    body = {**client.signed({"prompt": [5, 6]}), "prompt": prompt}
    response = await client.http.post("/v1/completions", json=body)
    message_of(response)


async def test_too_long_a_prompt_is_refused(client: "SigningClient") -> None:
    assert message_of(await client.post({"prompt": [5] * 200, "max_tokens": 1}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_what_is_no_json_object_is_refused(client: "SigningClient", body: bytes) -> None:
    message_of(await client.http.post("/v1/chat/completions", content=body))


async def test_another_model_is_not_found(client: "SigningClient") -> None:
    message_of(await client.post({**CHAT, "model": "another"}), 404)


async def test_an_error_ends_only_its_own_request(
    client: "SigningClient", noise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guards.embedding_corruption import EmbeddingCorruption

    def broken(*_: object) -> None:
        raise ValueError("Zebulon")

    edits = [Edit("embedding_corruption", noise, (Span(0, 1),))]
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingCorruption, "on_embedding", staticmethod(broken))
        message_of(await client.post(CHAT, edits), 500)
        message_of(await client.post({**CHAT, "stream": True}, edits), 500)
        assert (await client.post(CHAT)).status_code == 200
    assert (await client.post(CHAT, edits)).status_code == 200


@pytest.mark.engine
def test_every_field_of_vllms_bodies_has_a_place() -> None:
    """A field that vLLM declares is either read here or refused by its own name."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    for theirs, ours in ((ChatCompletionRequest, ChatBody), (CompletionRequest, CompletionBody)):
        known = set(ours.model_fields) | set(_NEUTRAL)
        neutral = {
            name: field.get_default(call_default_factory=True)
            for name, field in theirs.model_fields.items()
            if name in _NEUTRAL and not field.is_required()
        }
        wrong = [name for name, value in neutral.items() if value not in _NEUTRAL[name]]
        assert wrong == [], "what vLLM does by default must be taken"
        assert json.dumps(sorted(set(theirs.model_fields) - known)) == "[]"
