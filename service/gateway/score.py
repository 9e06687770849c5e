"""``POST /lethe/v1/score`` on the admin plane: how likely given continuations of a prompt are.

The prompt is read, rendered and decided on as on the data plane; the engine applies what its guards
left and treats the continuations' tokens as generated ones.
"""

import asyncio
import secrets
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from models.chat_prompt import Rendered
from service.audit import AdminEntry, AuditLog
from service.control.authentication import Authentication, principal_of
from service.control.body import body_schema, read_body
from service.control.forget_request import Scoped
from service.control.replica import Replica, ReplicaFenced
from service.errors import CONFLICT, ApiError, invalid, unavailable
from service.gateway.prepare import Prepared
from service.gateway.readiness import Readiness
from service.gateway.schema import Schema
from service.gateway.source import Engine
from service.gateway.unavailable import GuardUnavailable, UpstreamFailed
from service.gateway.upstream import Answer
from service.scoring import MOST, MOST_TOKENS, PATH
from service.settings import Settings

Json = Any
AT_ONCE = 4  # requests of this process that an engine scores; further ones wait
_OF_CHAT = ("messages", "tools", "chat_template_kwargs", "reasoning_effort")
_UNSUPPORTED = (404, 501)  # 404: an engine from before this route


class ScoreRequest(BaseModel):
    """A prompt, as one of the data plane's two APIs takes it, and continuations of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: list[Any] | None = Field(None, description="Of a chat.")
    prompt: str | None = Field(None, description="Of a completion.")
    continuations: Annotated[
        list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MOST)
    ]
    tenant: Scoped = Field("default", description="Whose policies apply.")
    model: str | None = Field(None, description="The served model's name; may be left out.")
    tools: list[Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None


class Scores(BaseModel):
    """One continuation, token by token: lists of one length.

    offsets: characters of the continuation that a token stands for.  logprobs: in nats; null for a
    token that a guard forbids.  likeliest: whether it is the argmax.  means, deviations: mean and
    standard deviation of the log probability under the model's distribution there.
    """

    index: int
    tokens: int
    offsets: list[tuple[int, int]]
    logprobs: list[float | None]
    likeliest: list[bool]
    means: list[float]
    deviations: list[float]


class ScoresView(BaseModel):
    """What continuations come to, in the order in which they were asked for."""

    object: Literal["scores"] = "scores"
    model: str
    prompt_tokens: int
    scores: list[Scores]


class _Said(msgspec.Struct):
    logprobs: list[float | None]
    likeliest: list[bool]
    means: list[float]
    deviations: list[float]

    def fits(self, count: int) -> bool:
        others = (self.likeliest, self.means, self.deviations)
        return len(self.logprobs) == count and all(len(each) == count for each in others)


class _Answer(msgspec.Struct):
    scores: list[_Said]


class ScoreRoute:
    """Scores continuations; every answer is audited."""

    def __init__(
        self,
        engine: Engine,
        schema: Schema,
        replica: Replica,
        readiness: Readiness,
        audit: AuditLog,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._schema = schema
        self._replica = replica
        self._readiness = readiness
        self._audit = audit
        self._settings = settings
        self._free = asyncio.Semaphore(AT_ONCE)

    async def score(self, request: Request) -> ScoresView:
        """The continuations' scores under the policies that the prompt would get now."""
        by = principal_of(request)
        asked = await read_body(request, ScoreRequest, self._settings.max_body_bytes)
        try:
            self._readiness.check()
            prepared, continuations = await asyncio.to_thread(self._prepared, asked)
            case = prepared.case
            # What was asked is noted whether or not it can be answered.
            self._audit.write(
                AdminEntry(act="score", key=by.key_id, target=case.id, epoch=case.epoch)
            )
            if case.answer is not None or case.rewrite is not None:
                raise _no_likelihood()
            async with self._free:
                said = await self._asked(prepared, continuations)
        except (GuardUnavailable, ReplicaFenced):
            raise unavailable() from None
        return ScoresView(
            model=self._settings.served_model_name,
            prompt_tokens=len(prepared.rendered.ids),
            scores=[
                Scores(
                    index=index,
                    tokens=len(rendered.ids),
                    offsets=list(rendered.offsets),
                    **msgspec.structs.asdict(each),
                )
                for index, (rendered, each) in enumerate(zip(continuations, said, strict=True))
            ],
        )

    def _prepared(self, asked: ScoreRequest) -> tuple[Prepared, list[Rendered]]:
        """Raises ApiError (400) where prompt and continuations cannot be run."""
        continuations = [self._tokens(i, text) for i, text in enumerate(asked.continuations)]
        if sum(len(each.ids) for each in continuations) > MOST_TOKENS:
            message = f"The continuations have more than {MOST_TOKENS} tokens together."
            raise invalid("continuations", message)
        longest = max(len(each.ids) for each in continuations)
        prepared = self._decided(asked, longest)
        limit = self._settings.max_model_len
        if len(prepared.rendered.ids) + longest > limit:  # with what guards put in front
            message = f"Prompt and continuation have more than the {limit} tokens of the context."
            raise invalid("continuations", message, "context_length_exceeded")
        return prepared, continuations

    def _tokens(self, index: int, text: str) -> Rendered:
        rendered = self._engine.preparer.renderer.plain(text)
        if not rendered.ids:
            raise invalid(f"continuations[{index}]", "A continuation must have a token.")
        return rendered

    def _decided(self, asked: ScoreRequest, longest: int) -> Prepared:
        """Through the data plane's own schema and preparation."""
        preparer, rules = self._engine.preparer, self._replica.rules
        case = f"score-{secrets.token_hex(16)}"
        model = self._settings.served_model_name if asked.model is None else asked.model
        body: dict[str, Json] = {"model": model, "max_tokens": longest}
        if asked.prompt is not None:
            if given := [name for name in _OF_CHAT if getattr(asked, name) is not None]:
                raise invalid(given[0], "This field does not go with 'prompt'.")
            request = self._schema.completion({**body, "prompt": asked.prompt})
            (prepared,) = preparer.completions(request, rules, asked.tenant, case)
            return prepared
        body |= {name: getattr(asked, name) for name in _OF_CHAT}
        return preparer.chat(self._schema.chat(body), rules, asked.tenant, case)

    async def _asked(self, prepared: Prepared, continuations: list[Rendered]) -> list[_Said]:
        """Raises GuardUnavailable, or ApiError (501)."""
        engine = self._engine
        ids = [each.ids for each in continuations]
        body = engine.signer.scores(prepared.case, ids).to_json()
        async with engine.upstream.post(PATH, body, private=True) as answer:
            engine.trust.check(answer.boot_id)
            said = await _read(answer)
        if len(said) != len(ids) or not all(
            each.fits(len(own)) for each, own in zip(said, ids, strict=True)
        ):
            raise UpstreamFailed
        return said


async def _read(answer: Answer) -> list[_Said]:
    if answer.status in _UNSUPPORTED:
        raise ApiError(501, "This engine cannot score.", "not_implemented", code="cannot_score")
    body = await answer.body()
    if answer.status != 200:
        raise UpstreamFailed
    try:
        return msgspec.json.decode(body, type=_Answer).scores
    except msgspec.DecodeError as error:
        raise UpstreamFailed from error


def _no_likelihood() -> ApiError:
    message = "A policy replaces the answer to this prompt, so continuations have no likelihood."
    return ApiError(409, message, CONFLICT, code="no_likelihood")


def score_router(route: ScoreRoute, admin: Authentication) -> APIRouter:
    """The path and what it accepts."""
    router = APIRouter(prefix="/lethe/v1", tags=["scores"], dependencies=[Depends(admin)])
    router.add_api_route(
        "/score", route.score, methods=["POST"], openapi_extra=body_schema(ScoreRequest)
    )
    return router
