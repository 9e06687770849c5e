"""The canary: does the engine refuse what is not signed, and really apply edits?

Two prompts of one length get different answers as they are, and must get the same one when every
embedding of either is zeroed: an engine that ignores edits cannot do that by chance.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from guards.case import Case, Edit, Prompt, Span
from guards.embedding_corruption import NAME, manifest
from models.artifact import ArtifactStore
from service.control.engine_abilities import EngineAbilities
from service.gateway.asking import refused
from service.gateway.engine_status import engine_status
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason, UpstreamFailed
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.metrics import Metrics

Json = Any
TENANT = "lethe:canary"  # no tenant can be called so: keeps the canary's cache apart
PROMPT_TOKENS = 12
ANSWER_TOKENS = 6
ATTEMPTS = 5
RETRY_S = 1.0


@dataclass(frozen=True)
class Canary:
    """Asks the engine and tells ``trust``.  ids: the token ids that prompts are drawn from.

    engine: told what the engine can do, before the engine is trusted.
    """

    upstream: Upstream
    signer: Signer
    artifacts: ArtifactStore
    trust: EngineTrust
    metrics: Metrics
    ids: tuple[int, ...]
    engine: EngineAbilities

    async def watch(self, interval_s: float) -> None:
        """Look at once, then every interval, and whenever somebody wants it."""
        while True:
            self.trust.wanted.clear()
            fault = await self.look()
            wait_s = interval_s if fault is None else min(RETRY_S, interval_s)
            if fault is not None:
                await asyncio.sleep(wait_s)
                continue
            try:
                await asyncio.wait_for(self.trust.wanted.wait(), wait_s)
            except TimeoutError:
                continue

    async def look(self) -> Reason | None:
        """One look.  None where the engine passed."""
        try:
            boot_id = await self._prove()
            status = await engine_status(self.upstream, boot_id)
        except GuardUnavailable as error:
            self.trust.failed(error.reason)
            return error.reason
        self.engine.learn(status.capabilities)
        self.trust.passed(boot_id)
        self.metrics.engine_dark(status.dark)
        self.metrics.canary_passed.set(time.time())
        return None

    async def _prove(self) -> str:
        zeroing = await asyncio.to_thread(self.artifacts.put, manifest("zero_out", 1.0))
        boot_id = await self._check_refusal()
        for _ in range(ATTEMPTS):
            first, second = self._prompt(), self._prompt()
            plain = [await self._ask(each, None, boot_id) for each in (first, second)]
            if plain[0] == plain[1]:
                continue  # these two say nothing: draw others
            zeroed = [await self._ask(each, zeroing, boot_id) for each in (first, second)]
            if zeroed[0] == zeroed[1]:
                return boot_id
        raise GuardUnavailable(Reason.CANARY_FAILED)

    async def _check_refusal(self) -> str:
        """The boot id of an engine that refuses what is not signed."""
        body = {
            "model": self.signer.model,
            "prompt": list(self._prompt().ids),
            "max_tokens": 1,
            "temperature": 0,
        }
        async with self.upstream.post("/v1/completions", body) as answer:
            if answer.boot_id is None:
                raise GuardUnavailable(Reason.ENGINE_UNATTESTED)
            said = await answer.body()
            if answer.status >= 500:
                raise UpstreamFailed
            if answer.status != 400 or not refused(said):
                raise GuardUnavailable(Reason.CANARY_FAILED)
            return answer.boot_id

    async def _ask(self, prompt: Prompt, zeroing: str | None, boot_id: str) -> Json:
        """What the engine makes of a prompt, as it is or with every embedding zeroed."""
        everywhere = (Span(0, len(prompt.ids)),)
        edits = (Edit(NAME, zeroing, everywhere),) if zeroing else ()
        case = Case(f"canary-{random.getrandbits(64):016x}", TENANT, "", 0, prompt, edits=edits)
        body: Mapping[str, Json] = {
            **self.signer.fields(case),
            "prompt": list(prompt.ids),
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0,
            "return_token_ids": True,
        }
        async with self.upstream.post("/v1/completions", body) as answer:
            if answer.boot_id != boot_id:
                raise GuardUnavailable(Reason.ENGINE_UNATTESTED)
            said = await answer.body()
        if answer.status >= 500:
            raise UpstreamFailed
        if answer.status != 200:
            raise GuardUnavailable(Reason.CANARY_FAILED)
        return _essence(said)

    def _prompt(self) -> Prompt:
        ids = tuple(random.choices(self.ids, k=PROMPT_TOKENS))
        return Prompt("", ids, (Span(0, 0),) * len(ids), ())


def _essence(body: bytes) -> Json:
    """What two answers are compared by."""
    try:
        choice = msgspec.json.decode(body)["choices"][0]
        return choice.get("token_ids") or [choice["text"], choice["finish_reason"]]
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise UpstreamFailed from error
