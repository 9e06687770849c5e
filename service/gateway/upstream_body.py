"""The body that goes to the engine: built from what was read, never passed through."""

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guards.case import Case, Edit
from guards.signed_edits import FIELD, LIFETIME_S, SignedEdits
from models.artifact import canonical_json
from service.gateway.schema import Generation
from service.scoring import AskedScores

Json = Any
_NOT_OF_COMPLETIONS = {
    *("tool_choice", "parallel_tool_calls", "reasoning_effort", "chat_template_kwargs"),
}


@dataclass(frozen=True, slots=True)
class Signer:
    """Vouches for a case.  key: shared with the engine.  model: its name there."""

    key: bytes
    model: str

    def fields(self, case: Case) -> dict[str, Json]:
        """What every upstream body carries: the model, the salt and the signed edits."""
        salt = cache_salt(self.key, case.tenant, case.edits)
        xargs = {FIELD: self._signed(case, salt)}
        return {"model": self.model, "cache_salt": salt, "vllm_xargs": xargs, "request_id": case.id}

    def scores(self, case: Case, continuations: Sequence[Sequence[int]]) -> AskedScores:
        """What asks for the scores of continuations, each under this case's edits.

        Their keys and values are shared with nothing but each other: no tenant is called so.
        """
        salt = cache_salt(self.key, f"scores of {case.tenant}: {case.id}", case.edits)
        fields = (
            self._signed(replace(case, id=f"{case.id}-{number}"), salt, tuple(ids))
            for number, ids in enumerate(continuations)
        )
        return AskedScores(case.prompt.ids, salt, tuple(fields))

    def _signed(self, case: Case, salt: str, forced: tuple[int, ...] = ()) -> str:
        return SignedEdits(
            request=case.id,
            model=self.model,
            epoch=case.epoch,
            prompt=case.prompt.digest,
            length=len(case.prompt.ids),
            cache_salt=salt,
            expires=int(time.time()) + LIFETIME_S,
            edits=case.edits,
            forced=forced,
        ).sign(self.key)


def cache_salt(key: bytes, tenant: str, edits: tuple[Edit, ...]) -> str:
    """Names the tenant and everything that changes a prompt's keys and values, and hides both."""
    named = sorted([e.guard, e.artifact, [list(span) for span in e.positions]] for e in edits)
    body = canonical_json([tenant, named])
    return hmac.new(key, b"lethe cache salt v1\0" + body, hashlib.sha256).hexdigest()


def chat_body(
    fields: Mapping[str, Json],
    generation: Generation,
    messages: list[Json],
    tools: list[Json] | None,
    n: int,
) -> dict[str, Json]:
    """A chat, so that the engine's tool and reasoning parsers stay of use."""
    body = {**_shared(fields, generation, generation.max_tokens, n), "messages": messages}
    if tools is not None:
        body["tools"] = tools
    return body


def completion_body(
    fields: Mapping[str, Json], generation: Generation, case: Case, most: int, n: int
) -> dict[str, Json]:
    """A completion of exactly the case's token ids.  most: how many tokens."""
    body = {**_shared(fields, generation, most, n), "prompt": list(case.prompt.ids)}
    return {name: value for name, value in body.items() if name not in _NOT_OF_COMPLETIONS}


def _shared(
    fields: Mapping[str, Json], generation: Generation, most: int | None, n: int
) -> dict[str, Json]:
    body = {**generation.passed, **fields, "n": n, "stream": generation.stream}
    if most is not None:
        body["max_tokens"] = most
    if generation.stop:
        body["stop"] = list(generation.stop)
    if generation.stream:
        body["stream_options"] = {"include_usage": True}
    return body
