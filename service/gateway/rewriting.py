"""Agent rewrite: audit and erase, criticise, compose; bounded in calls and in time.

Source: Sanyal and Mandal, "Agents Are All You Need for LLM Unlearning" (ALU, 2025).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from guards.case import Rewrite
from service.gateway.agent_prompts import Material, rating
from service.gateway.agents import Agents, AgentsFailed, Ask
from service.metric_labels import RewriteOutcome
from service.metrics import Metrics

BEST = 3  # edited answers that are composed into one
LEAST_MEAN = 4.0  # of their ratings
AUDIT_TEMPERATURE = 0.7
RATING_TOKENS = 256  # a digit, and room for models that think before they write
SPARE_TOKENS, SPARE_CHARS = 64, 1_000


class Task(NamedTuple):
    """One draft to be rewritten.

    leaks: whether the text filter would catch something in a text.  tokens: of the draft.
    """

    material: Material
    plan: Rewrite
    tenant: str
    seed: int
    tokens: int
    leaks: Callable[[str], bool]


class Budget:
    """What all rewriting for one prompt may still cost.  deadline: by the event loop's clock."""

    def __init__(self, calls: int, deadline: float) -> None:
        self._calls = calls
        self.deadline = deadline

    def spend(self) -> None:
        """One call.  Raises AgentsFailed where there is none left."""
        if self._calls <= 0:
            raise AgentsFailed
        self._calls -= 1


class _NotGoodEnough(Exception):
    """The critic thinks too little of the edited answers."""


@dataclass(frozen=True)
class Rewriter:
    """Carries out plans.  key: for the marks about material.  timeout_s: for one prompt."""

    agents: Agents
    metrics: Metrics
    key: bytes
    timeout_s: float
    max_calls: int

    def budget(self) -> Budget:
        """A fresh one, beginning now."""
        return Budget(self.max_calls, asyncio.get_running_loop().time() + self.timeout_s)

    async def rewritten(self, task: Task, budget: Budget) -> str:
        """The rewritten draft, or the plan's fallback where that fails or takes too long."""
        text, outcome = task.plan.fallback, RewriteOutcome.FAILED
        try:
            async with asyncio.timeout_at(budget.deadline):
                text = await self._composed(task, budget)
                outcome = RewriteOutcome.COMPOSED
        except TimeoutError:
            outcome = RewriteOutcome.LATE
        except _NotGoodEnough:
            outcome = RewriteOutcome.POOR
        except AgentsFailed:
            pass
        self.metrics.rewrites.labels(outcome.value).inc()
        return text

    async def _composed(self, task: Task, budget: Budget) -> str:
        if not task.material.draft.strip():
            raise AgentsFailed
        system, user = task.material.audit(task.plan.fallback)
        asked = _ask(task, system, user, n=task.plan.variants, temperature=AUDIT_TEMPERATURE)
        edited = await self._usable(task, budget, asked)
        async with asyncio.TaskGroup() as group:
            rated = [group.create_task(self._rating(task, budget, each)) for each in edited]
        ratings = [each.result() for each in rated]
        order = sorted(range(len(edited)), key=lambda number: -ratings[number])[:BEST]
        if sum(ratings[number] for number in order) < LEAST_MEAN * len(order):
            raise _NotGoodEnough
        if len(order) == 1:
            return edited[order[0]]
        system, user = task.material.compose([edited[number] for number in order])
        return (await self._usable(task, budget, _ask(task, system, user)))[0]

    async def _rating(self, task: Task, budget: Budget, edited: str) -> int:
        """The worst one where there is no answer, or one that is no rating."""
        system, user = task.material.criticise(edited)
        asked = _ask(task, system, user)._replace(max_tokens=RATING_TOKENS)
        try:
            budget.spend()
            replies = await self.agents.replies(asked)
        except AgentsFailed:
            return 1
        return (rating(replies[0]) if replies else None) or 1

    async def _usable(self, task: Task, budget: Budget, ask: Ask) -> list[str]:
        """Different texts, none of them too long or with a protected phrase; at least one."""
        budget.spend()
        longest = 4 * len(task.material.draft) + len(task.plan.fallback) + SPARE_CHARS
        found = [
            text
            for text in dict.fromkeys(await self.agents.replies(ask))
            if len(text) <= longest and not task.leaks(text)
        ]
        if not found:
            raise AgentsFailed
        return found


def _ask(task: Task, system: str, user: str, n: int = 1, temperature: float = 0.0) -> Ask:
    most = 2 * task.tokens + SPARE_TOKENS
    return Ask(system, user, n, most, temperature, task.seed, task.tenant)
