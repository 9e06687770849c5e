"""A server of the in-process engine on the tiny model, and a client that signs like a gateway."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from guards.case import Edit, digest_of_ids
from guards.embedding_corruption import manifest
from guards.signed_edits import FIELD, SignedEdits
from models.artifact import ArtifactStore
from models.local_engine import LocalEngine
from service.attestation import App
from service.local.app import create_app
from service.settings import Settings

Json = Any


@dataclass(frozen=True)
class SigningClient:
    """Sends what a gateway would send."""

    http: httpx.AsyncClient
    engine: LocalEngine
    settings: Settings

    def chat_ids(self, messages: Json, **variables: Json) -> list[int]:
        """The prompt of a chat, by transformers alone."""
        found: list[int] = self.engine.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False, **variables
        )
        return found

    def signed(self, body: Json, edits: Sequence[Edit] = (), **changed: Any) -> Json:
        """The body with salt and signature.  changed: fields of SignedEdits to be falsified."""
        ids = body["prompt"] if "prompt" in body else self.chat_ids(body["messages"])
        fields: dict[str, Any] = {
            "request": "r",
            "model": self.settings.served_model_name,
            "epoch": 1,
            "prompt": digest_of_ids(ids),
            "length": len(ids),
            "cache_salt": "salt",
            "expires": int(time.time()) + 60,
            "edits": tuple(edits),
        }
        value = SignedEdits(**{**fields, **changed}).sign(self.settings.engine_key())
        return {"model": "tiny", "cache_salt": "salt", "vllm_xargs": {FIELD: value}, **body}

    async def post(self, body: Json, edits: Sequence[Edit] = (), **changed: Any) -> httpx.Response:
        """Sign and send."""
        path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
        return await self.http.post(path, json=self.signed(body, edits, **changed))

    async def stream(self, body: Json, edits: Sequence[Edit] = ()) -> list[Json]:
        """The chunks of a streamed answer, without the closing [DONE]."""
        response = await self.post({**body, "stream": True}, edits)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        events = response.text.split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


@pytest.fixture(scope="module")
def local_settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("lethe"),
        model=tiny_model,
        served_model_name="tiny",
        max_model_len=200,
    )


@pytest.fixture(scope="module")
def local_app(local_settings: Settings) -> App:
    return create_app(local_settings)


@pytest.fixture(scope="module")
def local_engine(tiny_model: Path) -> LocalEngine:
    return LocalEngine.load(tiny_model)


@pytest.fixture
async def client(
    local_app: App, local_engine: LocalEngine, local_settings: Settings
) -> AsyncIterator[SigningClient]:
    transport = httpx.ASGITransport(app=local_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
        yield SigningClient(http, local_engine, local_settings)


@pytest.fixture(scope="module")
def noise(local_settings: Settings) -> str:
    """Digest of a corruption that no answer of the tiny model survives."""
    return ArtifactStore(local_settings.artifacts).put(manifest("rand_noise", 8.0))
