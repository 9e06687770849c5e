"""The ASGI application of the in-process engine: the routes of vLLM that a gateway uses."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from models.chat_prompt import PromptRenderer
from models.local_engine import LocalEngine
from service.admission import CheckedArtifacts, Refused
from service.attestation import App, AttestingApp, Receive, Scope, Send
from service.errors import ApiError
from service.local import wire
from service.local.admin import Admin
from service.local.body import BAD_REQUEST, ChatBody, CompletionBody, parsed
from service.local.choice import Delta
from service.local.edits import bindings_of, prove_effect
from service.local.generation import Admission, Generation
from service.local.http import ClientGone, Events, read_body, reply, until_gone
from service.local.scoring import Scoring
from service.local.turns import Ended, Turns
from service.settings import Settings

log = logging.getLogger(__name__)

_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_BODIES: Mapping[str, type[ChatBody | CompletionBody]] = {
    _CHAT: ChatBody,
    _COMPLETIONS: CompletionBody,
}


class GenerationFailed(RuntimeError):
    """A generation ended by an error; nothing more of it is said."""


def create_app(settings: Settings) -> App:
    """Load the model, prove that edits reach it, and build the application.

    Raises OSError where the model cannot be read, ValueError where a setting does not fit it, and
    NotEffective.
    """
    engine = LocalEngine.load(settings.model)
    if settings.max_model_len > engine.max_model_len:
        raise ValueError(f"LETHE_MAX_MODEL_LEN is more than the model's {engine.max_model_len}")
    prove_effect(engine)
    key = settings.engine_key()
    artifacts = CheckedArtifacts(settings.artifact_store())
    bindings = bindings_of(engine, artifacts)
    renderer = PromptRenderer(settings.model)
    admission = Admission(engine, renderer, artifacts, bindings, settings, key)
    turns = Turns()
    boot_id = secrets.token_hex(16)
    scoring = Scoring(engine, artifacts, bindings, settings, key)
    admin = Admin(settings, engine, bindings, turns, scoring, key, boot_id)
    return AttestingApp(LocalApp(admission, admin, turns), key, boot_id)


class _Item(NamedTuple):
    """What a choice delivers: its deltas, then Ended.  choice: its number; -1: nobody's."""

    choice: int
    value: Delta | Ended


_GONE = _Item(-1, Ended())


class LocalApp:
    """Routes, and the way of one generation from body to answer."""

    def __init__(self, admission: Admission, admin: Admin, turns: Turns) -> None:
        self._admission = admission
        self._admin = admin
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._turns.stop)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = Events(send)
        try:
            if (kind := _BODIES.get(scope["path"])) is None:
                await self._admin.answer(scope, receive, send)
            elif scope["method"] != "POST":
                await reply(send, 405, wire.error(405, "Method Not Allowed", "MethodNotAllowed"))
            else:
                await self._generate(kind, receive, send, started)
        except Refused as refused:
            await reply(send, 400, wire.error(400, str(refused), BAD_REQUEST))
        except ApiError as error:
            body = wire.error(error.status, error.message, error.type, error.param)
            await reply(send, error.status, body)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the door of the process: no text goes out
            log.error("a request failed: %s", type(error).__name__)
            failed = wire.error(500, "the in-process engine failed", "InternalServerError")
            if started.begun:
                await started.end(wire.event(failed), wire.DONE)
            else:
                await reply(send, 500, failed)

    async def _generate(
        self,
        kind: type[ChatBody | CompletionBody],
        receive: Receive,
        send: Send,
        events: Events,
    ) -> None:
        body = parsed(kind, await read_body(receive))
        self._check_model(body)
        # Rendering and the digest take a while for a long prompt: not in the event loop.
        generation = await asyncio.to_thread(self._admission.generation, body)
        prefix = "chatcmpl" if kind is ChatBody else "cmpl"
        answer = wire.Answer(
            kind="chat" if kind is ChatBody else "completion",
            id=f"{prefix}-{body.request_id or secrets.token_hex(16)}",
            model=self._admission.settings.served_model_name,
            prompt_ids=generation.prompt_ids,
            show_ids=bool(body.return_token_ids),
        )
        async with aclosing(self._items(generation, receive)) as items:
            if body.stream:
                await self._stream(generation, answer, items, events)
            else:
                choices: list[list[Delta]] = [[] for _ in range(generation.choices)]
                async for index, delta in items:
                    choices[index].append(delta)
                await reply(send, 200, answer.whole(choices))

    def _check_model(self, body: ChatBody | CompletionBody) -> None:
        if body.model not in (None, self._admission.settings.served_model_name):
            raise ApiError(404, "The model does not exist.", "NotFoundError", "model")

    async def _stream(
        self,
        generation: Generation,
        answer: wire.Answer,
        items: AsyncIterator[tuple[int, Delta]],
        events: Events,
    ) -> None:
        counts = [0] * generation.choices
        async for index, delta in items:
            if not events.begun:
                await events.send(*map(wire.event, answer.opening(generation.choices)))
            first = counts[index] == 0
            counts[index] += 1
            await events.send(wire.event(answer.chunk(index, delta, first=first)))
        options = generation.body.stream_options
        closing = [wire.DONE]
        if options is not None and options.include_usage:
            closing.insert(0, wire.event(answer.usage_chunk(sum(counts))))
        await events.end(*closing)

    async def _items(
        self, generation: Generation, receive: Receive
    ) -> AsyncGenerator[tuple[int, Delta], None]:
        """The deltas of all choices as they come.

        Raises ClientGone or GenerationFailed.  Closing it ends the generations.
        """
        queue: asyncio.Queue[_Item] = asyncio.Queue()
        deliver = partial(_deliver, asyncio.get_running_loop(), queue)
        gone = asyncio.create_task(until_gone(receive, partial(queue.put_nowait, _GONE)))
        tickets = [
            self._turns.submit(generation.deltas(index), partial(deliver, index))
            for index in range(generation.choices)
        ]
        try:
            left = len(tickets)
            while left:
                item = await queue.get()
                if item is _GONE:
                    raise ClientGone
                if isinstance(item.value, Delta):
                    yield item.choice, item.value
                elif item.value.failed:
                    raise GenerationFailed
                else:
                    left -= 1
        finally:
            gone.cancel()
            for ticket in tickets:
                ticket.cancel()


def _deliver(
    loop: asyncio.AbstractEventLoop,
    queue: "asyncio.Queue[_Item]",
    choice: int,
    value: Delta | Ended,
) -> None:
    loop.call_soon_threadsafe(queue.put_nowait, _Item(choice, value))
