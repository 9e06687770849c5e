"""Answers in the shapes of vLLM 0.32, key by key: chat and completions, streamed and whole."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from service.local.choice import Delta

Json = dict[str, Any]
Kind = Literal["chat", "completion"]

DONE = b"data: [DONE]\n\n"


def event(value: Json) -> bytes:
    """One server-sent event."""
    return (
        b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    )


def error(status: int, message: str, kind: str, param: str | None = None) -> Json:
    """An error as vLLM writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass(frozen=True)
class Answer:
    """The envelope of one answer.  show_ids: token ids travel along, on the gateway's demand."""

    kind: Kind
    id: str
    model: str
    prompt_ids: Sequence[int]
    show_ids: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    def opening(self, choices: int) -> list[Json]:
        """What a chat stream says before its first text: the role, for each choice."""
        if self.kind == "completion":
            return []
        delta = {"role": "assistant", "content": ""}
        given = {"prompt_token_ids": self._prompt(), "prompt_text": None}
        return [
            self._chunk(
                {"index": i, "delta": delta, "logprobs": None, "finish_reason": None}, **given
            )
            for i in range(choices)
        ]

    def chunk(self, index: int, delta: Delta, *, first: bool) -> Json:
        """One token's chunk.  first: the first of its choice."""
        choice: Json = {"index": index}
        if self.kind == "chat":
            choice["delta"] = {"content": delta.text}
        else:
            choice["text"] = delta.text
        choice |= {"logprobs": None, "finish_reason": delta.finish_reason}
        if self.kind == "completion":
            choice["stop_reason"] = delta.stop_reason
            choice["prompt_token_ids"] = self._prompt() if first else None
        elif delta.finish_reason is not None:
            choice["stop_reason"] = delta.stop_reason
        choice["token_ids"] = [delta.token] if self.show_ids else None
        return self._chunk(choice)

    def usage_chunk(self, completion_tokens: int) -> Json:
        """The last chunk of a stream that reports usage."""
        return {**self._envelope(), "choices": [], "usage": self._usage(completion_tokens)}

    def whole(self, choices: Sequence[Sequence[Delta]]) -> Json:
        """The answer in one piece."""
        usage = self._usage(sum(len(deltas) for deltas in choices))
        usage |= {"prompt_tokens_details": None, "completion_tokens_details": None}
        value: Json = {
            "id": self.id,
            "object": "chat.completion" if self.kind == "chat" else "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [self._choice(i, deltas) for i, deltas in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": usage,
        }
        if self.kind == "chat":
            value |= {"prompt_logprobs": None, "prompt_token_ids": self._prompt()}
            value["prompt_text"] = None
        return value | {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}

    def _choice(self, index: int, deltas: Sequence[Delta]) -> Json:
        text = "".join(delta.text for delta in deltas)
        ids = [delta.token for delta in deltas] if self.show_ids else None
        choice: Json = {"index": index}
        if self.kind == "chat":
            empty = ("refusal", "annotations", "audio", "function_call", "reasoning")
            choice["message"] = {
                "role": "assistant",
                "content": text,
                **dict.fromkeys(empty, None),
            }
        else:
            choice["text"] = text
        choice |= {
            "logprobs": None,
            "finish_reason": deltas[-1].finish_reason,
            "stop_reason": deltas[-1].stop_reason,
            "token_ids": ids,
        }
        if self.kind == "completion":
            choice |= {"prompt_logprobs": None, "prompt_token_ids": self._prompt()}
        return choice | {"routed_experts": None}

    def _envelope(self) -> Json:
        name = "chat.completion.chunk" if self.kind == "chat" else "text_completion"
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def _chunk(self, choice: Json, **more: Any) -> Json:
        return {**self._envelope(), "choices": [choice], **more}

    def _prompt(self) -> list[int] | None:
        return list(self.prompt_ids) if self.show_ids else None

    def _usage(self, completion_tokens: int) -> Json:
        prompt_tokens = len(self.prompt_ids)
        return {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
        }
