"""A model of this process behind the OpenAI API, without gateway: chat and completions."""

import threading
from pathlib import Path
from typing import Any

from evals.probe import Ask, Probe
from tests.evals.in_process import InProcess
from tests.evals.openai_server import (
    Answering,
    Sent,
    chat,
    chunk,
    completion,
    completion_chunk,
    error,
    usage,
)

Json = Any
TOKENS = (5, 3)  # as the joined answers say


def answering(folder: Path) -> Answering:
    """Greedy, one at a time; parameters besides the prompt and its length have no effect."""
    model, one_at_a_time = InProcess(folder, read=False), threading.Lock()

    def answer(path: str, body: Json) -> Sent:
        ask = _ask(body)
        if ask is None:
            return Sent(400, error("text only"))
        with one_at_a_time:
            [answered] = model.answers([Probe(id="0", group="", ask=ask)])
        return _sent(answered.reply.text, is_chat=path.endswith("/chat/completions"), **body)

    return answer


def _ask(body: Json) -> Ask | None:
    most = body["max_tokens"]
    if "prompt" in body:
        return Ask(turns=(body["prompt"],), kind="completion", max_tokens=most)
    *opening, last = body["messages"]
    if not all(isinstance(each["content"], str) for each in body["messages"]):
        return None
    return Ask(turns=(last["content"],), opening=tuple(opening), max_tokens=most)


def _sent(text: str, *, is_chat: bool, stream: bool = False, **_: Json) -> Sent:
    if not stream:
        return chat(text) if is_chat else completion(text)
    said = chunk(content=text) if is_chat else completion_chunk(text)
    return Sent(events=[said, usage(*TOKENS)])
