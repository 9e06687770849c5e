"""Requests that somebody with a place in the network might send to the engine itself."""

import time
from typing import Any

import httpx

from evals.probe import Answered, Probe, Reply
from guards.case import Case, Prompt, Span, digest_of_ids
from guards.signed_edits import FIELD, SignedEdits
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from service.gateway.upstream_body import Signer
from service.settings import Settings

_OTHER_KEY = b"somebody else's key, 32 bytes long"


def knock(settings: Settings, probe: Probe, how: str) -> Answered:
    """The probe's first turn, signed in a way that must not count.

    how: ``another key``, ``another prompt``, ``another salt`` or ``expired``.
    """
    renderer = PromptRenderer(settings.model)
    chat = renderer.conversation([Message("user", (probe.prompt.turns[0],))], None)
    ids = renderer.chat(chat, {}).ids
    signed = ids[:-1] if how == "another prompt" else ids
    key = _OTHER_KEY if how == "another key" else settings.engine_key()
    case = Case(f"knock-{time.time_ns()}", "default", "", 0, _prompt(signed))
    body: dict[str, Any] = {
        **Signer(key, settings.served_model_name).fields(case),
        "prompt": list(ids),
        "max_tokens": probe.prompt.max_tokens,
        "temperature": 0,
    }
    if how == "another salt":
        body["cache_salt"] = "mine"
    if how == "expired":
        body["vllm_xargs"] = {FIELD: _over(settings, signed, body["cache_salt"])}
    answer = httpx.post(f"{settings.engine_url}/v1/completions", json=body, timeout=30)
    if answer.status_code != 200:
        return Answered(probe=probe, status=answer.status_code)
    text = str(answer.json()["choices"][0]["text"])
    return Answered(probe=probe, conversations=((Reply(text=text, finish="stop"),),))


def _over(settings: Settings, ids: tuple[int, ...], salt: str) -> str:
    return SignedEdits(
        request="knock",
        model=settings.served_model_name,
        epoch=0,
        prompt=digest_of_ids(ids),
        length=len(ids),
        cache_salt=salt,
        expires=int(time.time()) - 5,
    ).sign(settings.engine_key())


def _prompt(ids: tuple[int, ...]) -> Prompt:
    return Prompt("", ids, (Span(0, 0),) * len(ids), ())
