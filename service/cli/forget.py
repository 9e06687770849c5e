"""`lethe forget`: forget requests from a terminal."""

from typing import Annotated, Any

import typer
from rich.table import Column, Table
from typer.core import TyperGroup

from service.cli.connection import admin, console

PATH = "/v1/forget_requests"


class _NameOrCommand(TyperGroup):
    """`lethe forget "Some Name"` means `lethe forget add "Some Name"`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = args and (args[0] in self.commands or args[0].startswith("-"))
        return super().resolve_command(ctx, args if known or not args else ["add", *args])


app = typer.Typer(
    cls=_NameOrCommand,
    no_args_is_help=True,
    help="Forget a subject: `lethe forget NAME`; or list, show and revoke forget requests.",
)


@app.command("add")
def add(
    subject: Annotated[str, typer.Argument(help="Whom or what to forget.")],
    *,
    alias: Annotated[list[str] | None, typer.Option(help="Another name; repeatable.")] = None,
    example: Annotated[
        list[str] | None, typer.Option(help="A question that must be caught; repeatable.")
    ] = None,
    legal_basis: Annotated[str | None, typer.Option(help="For the record.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="auto, refuse, in_context_instruction or agent_rewrite."),
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(help="KIND=DIGEST of an artifact, or KIND; repeatable, in order."),
    ] = None,
) -> None:
    """File a forget request; returns once it is enforced everywhere."""
    body: dict[str, Any] = {"subject": subject, "aliases": alias or [], "examples": example or []}
    if legal_basis is not None:
        body["legal_basis"] = legal_basis
    if strategy is not None:
        body["strategy"] = strategy
    if guard:
        body["guards"] = [_guard(each) for each in guard]
    found = admin("POST", PATH, body=body)
    console.print(f"{found['id']}  {found['state']}", highlight=False)


def _guard(given: str) -> dict[str, Any]:
    kind, named, digest = given.partition("=")
    return {"kind": kind, "options": {"artifact": digest} if named else {}}


@app.command("list")
def list_requests(
    *, state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None
) -> None:
    """List forget requests, newest first."""
    params = {"state": state} if state else {}
    table = Table(Column("id", no_wrap=True), "subject", "state", "created")
    after: str | None = None
    while True:
        page = admin("GET", PATH, params={**params, **({"after": after} if after else {})})
        for item in page["data"]:
            created = str(item["created_at"])[:10]
            table.add_row(item["id"], item["subject"], item["state"], created)
        if not page.get("has_more"):
            break
        after = page["last_id"]
    console.print(table)


@app.command("show")
def show(request_id: Annotated[str, typer.Argument(help="fr_...")]) -> None:
    """Show one forget request."""
    console.print_json(data=admin("GET", f"{PATH}/{request_id}"))


@app.command("revoke")
def revoke(request_id: Annotated[str, typer.Argument(help="fr_...")]) -> None:
    """Revoke a forget request: the model answers as before."""
    found = admin("DELETE", f"{PATH}/{request_id}")
    console.print(f"{found['id']}  {found['state']}", highlight=False)
