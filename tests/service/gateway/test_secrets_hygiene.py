"""A whole gateway and engine: what is to be forgotten is written nowhere in plain."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.demo.world import make_world
from service.gateway.app import create_apps
from service.local.app import create_app
from service.settings import Settings
from service.store.store import open_store
from tests.service.gateway.stand_ins import running

MARKS = ("Quillonby Ferrismark", "Ferrismark the Elder", "lanternmouth", "Ottobarrow")
PERSON = next(p for p in make_world().people if p not in make_world().forgotten)
TOWN = PERSON.fact("birth_town").value  # an alias of the request, and in an answer of the model


class Installation:
    """Both planes, and everything that they answered."""

    def __init__(self, folder: Path, data: str, admin: str) -> None:
        self.folder = folder
        keys = json.loads((folder / "keys.json").read_text())
        self.data = self._client(data, keys["data"])
        self.admin = self._client(admin, keys["admin"])
        self.errors: list[bytes] = []

    def _client(self, url: str, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60
        )

    async def until_ready(self) -> None:
        for _ in range(600):
            if (await self.data.get("/health/ready")).is_success:
                return
            await asyncio.sleep(0.1)
        pytest.fail("not ready")

    async def refused(self, body: Any) -> None:
        answer = await self.admin.post("/v1/forget_requests", json=body)
        assert answer.is_client_error
        self.errors.append(answer.content)

    async def ask(self, question: str) -> str:
        body = {
            "model": "demo",
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 32,
            "temperature": 0,
        }
        answer = await self.data.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        return str(answer.json()["choices"][0]["message"]["content"])

    async def metrics(self) -> bytes:
        answer = await self.admin.get("/metrics")
        answer.raise_for_status()
        return answer.content


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    settings = Settings(data_dir=tmp_path, canary_interval_s=1.0)
    async with running(create_app(settings)) as engine:
        apps = create_apps(settings.model_copy(update={"engine_url": engine}))
        async with running(apps.data, "on") as data, running(apps.admin) as admin:
            found = Installation(tmp_path, data, admin)
            await found.until_ready()
            yield found
            await found.data.aclose()
            await found.admin.aclose()


def plain_in(content: bytes, mark: str) -> bool:
    """Whether the mark stands there, in one of the forms in which something could be written."""
    lowered = content.lower()
    forms = [mark.lower().encode(codec) for codec in ("utf-8", "utf-16-le", "utf-32-le")]
    forms += [each.encode().hex().encode() for each in (mark, mark.lower())]
    return any(form in lowered for form in forms) or any(
        base64.b64encode(b" " * shift + mark.encode())[4:-4] in content for shift in range(3)
    )


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def readable(folder: Path) -> list[tuple[str, str]]:
    marks = (*MARKS, TOWN)
    files = written(folder).items()
    found = [(name, mark) for name, data in files for mark in marks if plain_in(data, mark)]
    names = [str(path.relative_to(folder)).lower() for path in folder.rglob("*")]
    return found + [(name, mark) for name in names for mark in marks if mark.lower() in name]


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "hex", "base64"])
def test_the_search_finds_what_is_there(tmp_path: Path, codec: str) -> None:
    text = f"so {MARKS[0]} it is"
    forms = {"hex": text.encode().hex().encode(), "base64": base64.b64encode(text.encode())}
    data = forms[codec] if codec in forms else text.encode(codec)
    (tmp_path / "file").write_bytes(b"\0before" + data + b"after")
    assert readable(tmp_path) == [("file", MARKS[0])]


async def test_nothing_is_written_in_plain(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = installation.folder
    before = await installation.ask(f"Where was {PERSON.name} born?")
    assert TOWN in before
    artifact = (
        Settings(data_dir=folder)
        .artifact_store()
        .put(
            {"kind": "note", "names": list(MARKS), "blind": "0" * 64},
            {"ids": np.frombuffer("".join(MARKS).encode(), np.uint8)},
            sealed=True,
        )
    )
    asked = {
        "subject": MARKS[0],
        "aliases": [MARKS[1], TOWN],
        "examples": [f"Who kept the {MARKS[2]}?", {"question": "Who?", "answer": MARKS[3]}],
        "retain_examples": [f"What is near {MARKS[3]}?"],
        "legal_basis": f"as {MARKS[0]} asked",
    }
    for wrong in (
        {**asked, MARKS[0]: 1},
        {**asked, "expires_at": MARKS[2]},
        {**asked, "strategy": MARKS[3]},
        {**asked, "guards": [{"kind": MARKS[0]}]},
        {**asked, "guards": [{"kind": "steering", "options": {"artifact": artifact}}]},
        {**asked, "aliases": [MARKS[1], "!!"]},
    ):
        await installation.refused(wrong)
    made = await installation.admin.post("/v1/forget_requests", json=asked)
    assert made.status_code == 201
    assert TOWN not in await installation.ask(f"Where was {PERSON.name} born?")  # caught
    assert await installation.ask(f"Tell me about {MARKS[0]} and {MARKS[3]}.")  # matched
    unknown = await installation.data.post("/v1/chat/completions", json={"model": MARKS[0]})
    installation.errors.append(unknown.content)
    metrics = await installation.metrics()
    assert b'"output"' in b"".join(written(folder).values())  # the audit tells of the catch
    assert readable(folder) == []
    ended = await installation.admin.delete(f"/v1/forget_requests/{made.json()['id']}")
    assert ended.is_success
    assert TOWN in await installation.ask(f"Where was {PERSON.name} born?")
    assert readable(folder) == []
    answered = b"".join(installation.errors) + metrics + await installation.metrics()
    logged = caplog.text.encode() + ended.content
    # A model's name that the client made up may be quoted back to that client, and nowhere else.
    for mark in MARKS[1:]:
        assert not plain_in(answered, mark)
    for mark in (*MARKS, TOWN):
        assert not plain_in(logged, mark)
        assert not plain_in(metrics, mark)


async def test_after_its_end_the_keys_open_nothing_of_a_copy(
    installation: Installation,
) -> None:
    """Whoever copied the database's ciphertext before, and has the keys after."""
    folder = installation.folder
    made = await installation.admin.post("/v1/forget_requests", json={"subject": MARKS[0]})
    request_id = made.json()["id"]
    settings = Settings(data_dir=folder)
    store = open_store(settings)
    try:
        place = f"forget_requests/{request_id}"
        query = "SELECT sealed FROM forget_requests"
        with store._database.reading() as connection:
            sealed = connection.exec_driver_sql(query).scalar_one()
            assert store.seals.open(connection, request_id, place, sealed)["subject"] == MARKS[0]
        await installation.admin.delete(f"/v1/forget_requests/{request_id}")
        with store._database.reading() as connection:
            assert store.seals.of(connection, [request_id]) == {}
    finally:
        store.close()
