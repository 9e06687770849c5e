"""The closed schema: a row for every field of vLLM's, and refusals that tell nothing."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.errors import ApiError
from service.gateway.parameter_page import page
from service.gateway.parameters import Api, Limits, table
from service.gateway.schema import Schema
from tests.service.gateway.stand_ins import API_KEY, Gateway

Json = Any
DOCS = Path(__file__).parents[3] / "docs" / "api.md"
ASK: dict[Api, Json] = {
    "chat": {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "demo", "prompt": "Hi"},
}
PATH: dict[Api, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
# What a client might send to each parameter that is refused.
HOSTILE: Json = {
    "prompt_logprobs": 1,
    "logprob_token_ids": [5],
    "logprobs": 1,
    "top_logprobs": 5,
    "use_beam_search": True,
    "best_of": 2,
    "length_penalty": 0.5,
    "echo": True,
    "allowed_token_ids": [1],
    "bad_words": ["no"],
    "min_tokens": 4,
    "ignore_eos": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "truncate_prompt_tokens": 4,
    "truncation_side": "left",
    "kv_transfer_params": {"prompt_token_ids": [5, 6]},
    "ec_transfer_params": {"a": 1},
    "vllm_xargs": {"lethe": "x"},
    "cache_salt": "x",
    "request_id": "x\r\ny",
    "priority": 1,
    "stream_interval": 100,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "return_token_offsets": True,
    "routed_experts_prompt_start": 1,
    "mm_payload": "none",
    "return_mm_kwargs": True,
    "repetition_detection": {"max_pattern_size": 2},
    "thinking_token_budget": 4,
    "watermarking": True,
    "add_generation_prompt": False,
    "continue_final_message": True,
    "include_reasoning": False,
    "chat_template": "{{ messages }}",
    "documents": [{"text": "x"}],
    "media_io_kwargs": {},
    "mm_processor_kwargs": {},
    "return_prompt_text": True,
    "store": True,
    "modalities": ["audio"],
    "suffix": "x",
    "prompt_embeds": "AAAA",
}
NEUTRAL: Json = {
    "use_beam_search": False,
    "best_of": 1,
    "length_penalty": 1.0,
    "echo": False,
    "bad_words": [],
    "min_tokens": 0,
    "ignore_eos": False,
    "skip_special_tokens": True,
    "priority": 0,
    "logprob_token_ids": [],
    "n": 1,
    "kv_transfer_params": None,
}


def refused(api: Api) -> list[str]:
    return [row.name for row in table(api, Limits()).values() if row.handling == "reject"]


def hostile(api: Api, name: str) -> Json:
    if name == "add_special_tokens":
        return api == "chat"
    if name == "logprobs":
        return True if api == "chat" else 1
    return HOSTILE.get(name, {"x": 1})


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_every_field_of_vllms_has_a_row(api: Api) -> None:
    chat = pytest.importorskip("vllm.entrypoints.openai.chat_completion.protocol")
    completion = pytest.importorskip("vllm.entrypoints.openai.completion.protocol")
    model = {"chat": chat.ChatCompletionRequest, "completions": completion.CompletionRequest}[api]
    assert set(model.model_fields) - set(table(api, Limits())) == set()


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_refusals_name_the_field_and_tell_nothing(gateway: Gateway, api: Api) -> None:
    known, unknown = dict(ASK[api]), dict(ASK[api])
    if api == "chat":
        unknown["messages"] = [{"role": "user", "content": "Who is Ada Vex?"}]
    else:
        unknown["prompt"] = "Who is Ada Vex?"
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {API_KEY}"}) as client:
        for name in refused(api):
            answers = [
                await client.post(gateway.url + PATH[api], json={**ask, name: hostile(api, name)})
                for ask in (known, unknown)
            ]
            assert answers[0].status_code == answers[1].status_code == 400, name
            assert answers[0].content == answers[1].content
            assert answers[0].json()["error"]["param"] == name
            assert answers[0].json()["error"]["code"] == "parameter_not_allowed"
    assert gateway.engine.asked == []


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_values_that_change_nothing_are_accepted(api: Api) -> None:
    schema = Schema("demo", Limits())
    read = {"chat": schema.chat, "completions": schema.completion}[api]
    read({**ASK[api], **NEUTRAL})
    read({**ASK[api], **dict.fromkeys(refused(api))})


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_unknown_fields_are_refused(api: Api) -> None:
    schema = Schema("demo", Limits())
    read = {"chat": schema.chat, "completions": schema.completion}[api]
    with pytest.raises(ApiError) as caught:
        read({**ASK[api], "policy\n": 1})
    assert (caught.value.status, caught.value.param) == (400, "policy?")
    assert caught.value.code == "unknown_parameter"


BAD_CHATS = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "zzz", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": "x", "task": "y"}]}, "messages.0.task"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Sure"}]},
     "messages.1.role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
     "messages.0.content.0.type"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
     "messages.0.content.0.text"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "", "uuid": ""}]}]},
     "messages.0.content.0.uuid"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"n": 5}, "n"),
    ({"n": 1.0}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"logit_bias": {"x": -1}}, "logit_bias"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"continuous_usage_stats": True}},
     "stream_options.continuous_usage_stats"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tools": []}, "tools"),
    ({"tools": [{"type": "mcp"}]}, "tools.0.type"),
    ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
    ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
    ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a" * 20_000}}, "structured_outputs.regex"),
    ({"model": None}, "model"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param"), BAD_CHATS)
def test_bad_values_are_refused_by_name(change: Json, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        Schema("demo", Limits()).chat({**ASK["chat"], **change})
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    "prompt", [[], [[]], [1, "a"], [True], [-1], ["a"] * 17, [[1], "a"], {"a": 1}, [1 << 31]]
)
def test_odd_prompts_are_refused(prompt: Json) -> None:
    with pytest.raises(ApiError) as caught:
        Schema("demo", Limits()).completion({"model": "demo", "prompt": prompt})
    assert caught.value.param == "prompt"


def test_all_that_steers_an_answer_is_classified() -> None:
    request = Schema("demo", Limits()).chat(
        {
            "model": "demo",
            "messages": [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}],
            "stop": "stop-text",
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"enum": ["e"]}}}
            ],
            "structured_outputs": {"json": json.dumps({"const": "deep"})},
        }
    )
    extra = request.generation.extra
    assert {"stop-text", "f", "e", "deep", "ab"} <= set(extra)


def test_the_documented_table_is_the_one_in_force() -> None:
    assert page() in DOCS.read_text()
