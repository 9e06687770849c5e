"""The private route on which tokens are scored: each continuation runs as a request of its own.

Its tokens are chosen in advance, by our logits processor, which reads their scores on the way.
"""

import asyncio
import time
from contextvars import ContextVar
from typing import Any

from guards.signed_edits import InvalidSignedEdits, SignedEdits
from service.admission import Refused
from service.engine import vllm_0_32 as seams
from service.scoring import AskedScores, TokenScore, to_json

BY_DOOR: ContextVar[bool] = ContextVar("lethe_scoring", default=False)
"""Whether the request that is being admitted comes by the private route: no client can say so."""


class NotScored(RuntimeError):
    """A continuation could not be followed to its end."""


async def scores(engine: Any, asked: AskedScores, key: bytes) -> dict[str, Any]:
    """The answer's body.  engine: vLLM's client of its engine.

    Raises Refused where no gateway signed it or vLLM does not accept it, and NotScored.
    """
    try:
        signed = [SignedEdits.verify(field, key, time.time()) for field in asked.fields]
    except InvalidSignedEdits as error:
        raise Refused(f"signed edits: {error}") from error
    names = [each.request for each in signed]
    token = BY_DOOR.set(True)
    try:
        async with asyncio.TaskGroup() as group:
            for each, field in zip(signed, asked.fields, strict=True):
                group.create_task(_run(engine, asked, each, field))
    except ExceptionGroup as failed:
        await _taken(engine, names)  # nothing is left behind
        raise failed.exceptions[0] from failed
    finally:
        BY_DOOR.reset(token)
    return {"scores": [to_json(each) for each in await _taken(engine, names, whole=True)]}


async def _run(engine: Any, asked: AskedScores, signed: SignedEdits, field: str) -> None:
    if not signed.forced:
        raise Refused("signed for another route")
    prompt, params = seams.scored_request(
        list(asked.prompt), asked.cache_salt, field, len(signed.forced)
    )
    try:
        async for _ in engine.generate(prompt, params, signed.request):
            pass
    except seams.refusals() as error:
        raise Refused("not to be scored") from error  # vLLM's own words may quote the prompt


async def _taken(engine: Any, names: list[str], *, whole: bool = False) -> list[list[TokenScore]]:
    """What some worker read.  whole: raises NotScored where one is missing."""
    workers = await engine.collective_rpc("lethe_scores", args=(names,))
    found = []
    for of_workers in zip(*workers, strict=True):
        read = next((each for each in of_workers if each is not None), None)
        if read is None and whole:
            raise NotScored("a continuation was not scored")
        found.append([TokenScore(*each) for each in read or ()])
    return found
