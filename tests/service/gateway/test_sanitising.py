"""Of an engine's 400, only the name of a parameter that we know is passed on."""

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.service.gateway.stand_ins import Asked, Gateway, http, joined

ASK: Any = [{"role": "user", "content": "Where is the ferry?"}]


@pytest.mark.parametrize(
    ("param", "shown"),
    [
        ("top_p", "top_p"),
        ("max_tokens", "max_tokens"),
        ("vllm_xargs", None),
        ("Ada Vex", None),
        (["top_p"], None),
        (None, None),
    ],
)
async def test_only_known_parameters_are_named(
    gateway: Gateway, param: Any, shown: str | None
) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        error = {"message": "Ada Vex is out of range", "param": param, "code": 400}
        writer.write(http(400, json.dumps({"error": error}).encode(), asked.proof))

    gateway.engine.answer = answer
    with pytest.raises(openai.BadRequestError) as caught:
        await joined(gateway, ASK)
    assert caught.value.param == shown
    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize("body", [b"{}", b'{"error": 3}', b"\xff", b"[]"])
async def test_a_400_without_an_error_is_one_all_the_same(gateway: Gateway, body: bytes) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(http(400, body, asked.proof))

    gateway.engine.answer = answer
    with pytest.raises(openai.BadRequestError):
        await joined(gateway, ASK)
