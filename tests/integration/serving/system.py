"""A running gateway, and clients with its keys."""

from dataclasses import dataclass
from pathlib import Path

import httpx
from openai import OpenAI

from service.cli.processes import free_port
from service.cli.stack import bootstrap_key
from service.settings import Settings


@dataclass(frozen=True)
class Serving:
    """Where a running gateway is, and clients with its keys."""

    settings: Settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def client(self) -> OpenAI:
        key = bootstrap_key(self.settings.data_dir, "data")
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    @property
    def admin(self) -> httpx.Client:
        key = bootstrap_key(self.settings.data_dir, "admin")
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.settings.admin_port}",
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
        )

    def ask(self, question: str, max_tokens: int = 48) -> str:
        answer = self.client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": question}],
            max_tokens=max_tokens,
            temperature=0,
        )
        return answer.choices[0].message.content or ""

    def forget(self, subject: str, *aliases: str) -> str:
        body = {"subject": subject, "aliases": aliases}
        answer = self.admin.post("/v1/forget_requests", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def revoke(self, request_id: str) -> None:
        answer = self.admin.delete(f"/v1/forget_requests/{request_id}")
        assert answer.is_success, answer.text


def fresh_settings(folder: Path) -> Settings:
    return Settings(
        data_dir=folder,
        port=free_port(),
        admin_port=free_port(),
        engine_url=f"http://127.0.0.1:{free_port()}",
    )
