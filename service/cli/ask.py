"""`lethe ask` and `lethe status`: the data plane from a terminal."""

from typing import Annotated

import httpx
import openai
import typer
from rich.table import Table

from service.cli.connection import ClientSettings, console, fail, openai_client


def ask(
    question: Annotated[str, typer.Argument(help="What to ask the served model.")],
    *,
    model: Annotated[str, typer.Option(help="Default: the first that is served.")] = "",
    stream: Annotated[bool, typer.Option(help="Print the answer as it comes.")] = True,
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
) -> None:
    """Ask the model a question through the gateway."""
    client = openai_client()
    try:
        chosen = model or client.models.list().data[0].id
        _answer(client, chosen, question, max_tokens, stream=stream)
    except openai.APIConnectionError:
        fail(f"no gateway answers at {ClientSettings().url}")
    except openai.APIStatusError as error:
        fail(f"HTTP {error.status_code}: {error.message}")


def _answer(
    client: openai.OpenAI, model: str, question: str, max_tokens: int, *, stream: bool
) -> None:
    if not stream:
        answer = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            max_tokens=max_tokens,
            temperature=0,
        )
        typer.echo(answer.choices[0].message.content)
        return
    chunks = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        max_tokens=max_tokens,
        temperature=0,
        stream=True,
    )
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            typer.echo(chunk.choices[0].delta.content, nl=False)
    typer.echo()


def status() -> None:
    """Say whether the gateway is ready, and if not, why."""
    url = ClientSettings().url
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5)
    except httpx.HTTPError:
        fail(f"no gateway answers at {url}")
    table = Table(show_header=False, box=None)
    for name, value in answer.json().items():
        table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    console.print(table)
    raise typer.Exit(0 if answer.is_success else 1)
