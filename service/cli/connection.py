"""How the command line finds a gateway and speaks to it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import httpx
import typer
from openai import OpenAI
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console

EVENTS_TIMEOUT_S = 60.0  # the gateway sends something every ten seconds

console = Console()
errors = Console(stderr=True)


class ClientSettings(BaseSettings):
    """Where the gateway is and which keys to use (``LETHE_...``)."""

    model_config = SettingsConfigDict(env_prefix="LETHE_", frozen=True, extra="ignore")

    url: str = Field("http://127.0.0.1:8080", description="Data plane.")
    admin_url: str = Field("http://127.0.0.1:8081", description="Admin plane.")
    api_key: str = Field("", description="Data key; empty: from the data folder.")
    admin_key: str = Field("", description="Admin key; empty: from the data folder.")
    data_dir: Path = Path(".lethe")

    def key(self, plane: str) -> str:
        """The key of a plane ("data" or "admin").  Ends the program where there is none."""
        given = self.api_key if plane == "data" else self.admin_key
        return given or self._key_on_disk(plane)

    def _key_on_disk(self, plane: str) -> str:
        path = self.data_dir / "keys.json"
        try:
            keys: dict[str, str] = json.loads(path.read_text())
        except FileNotFoundError:
            variable = "LETHE_API_KEY" if plane == "data" else "LETHE_ADMIN_KEY"
            fail(f"no {plane} key: set {variable}, or run where {path} exists")
        return keys[plane]


def fail(message: str) -> NoReturn:
    """Say what is wrong and leave with status 1."""
    errors.print(f"[red]lethe:[/red] {message}", highlight=False)
    raise typer.Exit(1)


def openai_client() -> OpenAI:
    """The official client, pointed at the data plane."""
    settings = ClientSettings()
    return OpenAI(base_url=f"{settings.url}/v1", api_key=settings.key("data"), max_retries=0)


def admin(
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """One call of the admin plane; its JSON.  Ends the program with the server's own message."""
    settings = ClientSettings()
    try:
        answer = httpx.request(
            method,
            settings.admin_url + path,
            json=body,
            content=content,
            params=params,
            headers={"authorization": f"Bearer {settings.key('admin')}", **(headers or {})},
            timeout=30,
        )
    except httpx.HTTPError as error:
        fail(f"no gateway answers at {settings.admin_url} ({type(error).__name__})")
    if answer.is_success:
        return answer.json() if answer.content else None
    fail(message_of(answer))


def admin_events(path: str) -> Iterator[tuple[str, Any]]:
    """Server-sent events of the admin plane: name and JSON.  Ends as ``admin`` does."""
    settings = ClientSettings()
    headers = {"authorization": f"Bearer {settings.key('admin')}"}
    try:
        with httpx.stream(
            "GET", settings.admin_url + path, headers=headers, timeout=EVENTS_TIMEOUT_S
        ) as answer:
            if not answer.is_success:
                answer.read()
                fail(message_of(answer))
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)
    except httpx.HTTPError as error:
        fail(f"the gateway at {settings.admin_url} is gone ({type(error).__name__})")


def message_of(answer: httpx.Response) -> str:
    """What an OpenAI-shaped error says, with the field that it names."""
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
    field = f" ({error['param']})" if error.get("param") else ""
    return f"{error['message']}{field}"
