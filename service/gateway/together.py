"""Several runs at once, as one answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from service.gateway.run import Out, Run


async def together(runs: list[Run]) -> AsyncGenerator[Out, None]:
    """What several runs let out, as it comes.  The first failure ends them all."""
    if len(runs) == 1:
        async with aclosing(runs[0].outs()) as outs:
            async for out in outs:
                yield out
        return
    # Unbounded: what several prompts may say is bounded by their tokens.
    queue: asyncio.Queue[Out | None] = asyncio.Queue()
    task = asyncio.create_task(_drain_all(runs, queue))
    try:
        while True:
            said = await queue.get()
            if said is None:
                break
            yield said
        await task
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _drain_all(runs: list[Run], queue: asyncio.Queue[Out | None]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(_drain(run, queue))
    finally:
        queue.put_nowait(None)


async def _drain(run: Run, queue: asyncio.Queue[Out | None]) -> None:
    async with aclosing(run.outs()) as outs:
        async for out in outs:
            queue.put_nowait(out)
