"""Clients of two gateways: some forget and revoke, others ask about what was."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.chaos.history import Asked, Life
from benchmarks.chaos.system import Gateway, System

AGAIN_S = 0.1
LATELY = 12  # how many subjects are asked about: those that something just happened to
_FIRST = ("Alder", "Brisa", "Corvin", "Delphine", "Edda", "Fenwick", "Gudrun", "Hollis", "Isolde")
_LAST = ("Abelwright", "Brackenfeld", "Cinderholt", "Dunmarrow", "Eskelund", "Farthingale")


@dataclass
class Record:
    """What the clients saw.  act_s: seconds from the first try of an act to its 2xx."""

    lives: list[Life] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    act_s: list[float] = field(default_factory=list)
    retried: int = 0
    acts: int = 0


@dataclass
class Clients:
    """Everything that clients do in one run.

    acts: how many 2xx to forget or revoke make it.  until: monotonic time at which it ends anyway.
    """

    system: System
    acts: int
    seed: int
    until: float = float("inf")
    record: Record = field(default_factory=Record)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self.done = asyncio.Event()

    @property
    def enough(self) -> bool:
        """Whether nothing new is to be begun."""
        return self.record.acts >= self.acts or time.monotonic() >= self.until

    async def forget_and_revoke(self) -> None:
        """One operator: forgets somebody, and mostly revokes it again, until there are enough."""
        async with _client(self.system, "admin") as http:
            while not self.enough:
                life = Life(self._subject())
                self.record.lives.append(life)
                await self._forget(http, life)
                await asyncio.sleep(self._chance.uniform(0, 0.3))
                if not self.enough and self._chance.random() < 0.9:
                    await self._revoke(http, life)
        self.done.set()

    async def ask(self) -> None:
        """One user: asks any gateway about two of those that something just happened to."""
        async with _client(self.system, "data") as http:
            while not self.done.is_set():
                lately = self.record.lives[-LATELY:]
                if len(lately) < 2:
                    await asyncio.sleep(AGAIN_S)
                    continue
                subjects = tuple(life.subject for life in self._chance.sample(lately, 2))
                asked = await self._ask(http, self._gateway(), subjects)
                self.record.asked.append(asked)
                if asked.status != 200:
                    await asyncio.sleep(AGAIN_S)

    async def _ask(
        self, http: httpx.AsyncClient, gateway: Gateway, subjects: tuple[str, ...]
    ) -> Asked:
        body = {
            "model": "demo",
            "max_tokens": 1,
            "temperature": 0,
            "messages": [{"role": "user", "content": f"Who are {' and '.join(subjects)}?"}],
        }
        sent, status, case = time.time(), 0, ""
        with suppress(httpx.HTTPError):
            answer = await http.post(f"{gateway.url}/v1/chat/completions", json=body)
            status = answer.status_code
            case = answer.json()["id"] if status == 200 else ""
        return Asked(case, gateway.name, subjects, sent, time.time(), status)

    async def _forget(self, http: httpx.AsyncClient, life: Life) -> None:
        life.forget_sent = time.time()
        headers = {"idempotency-key": life.subject}
        body = {"subject": life.subject}
        said = await self._until_2xx(http, "POST", "/v1/forget_requests", headers, body)
        life.forgotten = time.time()
        life.id, life.digest = said["id"], said["policy"]
        life.epoch = said["enforced"]["epoch"]
        self._count(life.forget_sent)

    async def _revoke(self, http: httpx.AsyncClient, life: Life) -> None:
        life.revoke_sent = time.time()
        said = await self._until_2xx(http, "DELETE", f"/v1/forget_requests/{life.id}", {}, None)
        life.revoked = time.time()
        life.revoke_epoch = said["enforced"]["epoch"]
        self._count(life.revoke_sent)

    async def _until_2xx(
        self, http: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], body: Any
    ) -> Any:
        while True:
            with suppress(httpx.HTTPError):
                url = f"{self._gateway().admin_url}{path}"
                answer = await http.request(method, url, headers=headers, json=body)
                if answer.is_success:
                    return answer.json()
            self.record.retried += 1
            await asyncio.sleep(AGAIN_S)

    def _count(self, began: float) -> None:
        self.record.acts += 1
        self.record.act_s.append(time.time() - began)

    def _gateway(self) -> Gateway:
        return self._chance.choice(self.system.gateways)

    def _subject(self) -> str:
        number = len(self.record.lives)
        first, last = self._chance.choice(_FIRST), self._chance.choice(_LAST)
        return f"{first} {_in_letters(number)} {last}"


def _in_letters(number: int) -> str:
    """A made-up middle name for each number, no two alike."""
    name = ""
    for _ in range(4):
        number, rest = divmod(number, 75)
        name += "bdfgklmnprstvwz"[rest // 5] + "aeiou"[rest % 5]
    return name.capitalize()


@asynccontextmanager
async def _client(system: System, plane: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30, headers=system.headers(plane)) as client:
        yield client
