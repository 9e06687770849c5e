"""`lethe forget`: forget requests from a terminal."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from typer.core import TyperGroup

from service.cli.certificate import certificate_table, tried_table
from service.cli.connection import admin, console
from service.cli.importing import follow_import
from service.cli.watching import follow

PATH = "/v1/forget_requests"


class _NameOrCommand(TyperGroup):
    """`lethe forget "Some Name"` means `lethe forget add "Some Name"`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = args and (args[0] in self.commands or args[0].startswith("-"))
        return super().resolve_command(ctx, args if known or not args else ["add", *args])


app = typer.Typer(
    cls=_NameOrCommand,
    no_args_is_help=True,
    help="Forget a subject: `lethe forget NAME`; or list, show, follow and revoke forget requests.",
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
    supersedes: Annotated[
        str | None, typer.Option(help="fr_... of a request that this one takes over from.")
    ] = None,
    erase_content: Annotated[
        bool, typer.Option(help="Erase what was asked once the compiled policy is in force.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the compilation to its end.")
    ] = False,
) -> None:
    """File a forget request; returns once it is enforced everywhere."""
    body: dict[str, Any] = {"subject": subject, "aliases": alias or [], "examples": example or []}
    if legal_basis is not None:
        body["legal_basis"] = legal_basis
    if strategy is not None:
        body["strategy"] = strategy
    if guard:
        body["guards"] = [_guard(each) for each in guard]
    if supersedes is not None:
        body["supersedes"] = supersedes
    if erase_content:
        body["erase_content"] = True
    found = admin("POST", PATH, body=body)
    console.print(f"{found['id']}  {found['state']}", highlight=False)
    if wait:
        follow(found["id"])


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


@app.command("watch")
def watch(request_id: Annotated[str, typer.Argument(help="fr_...")]) -> None:
    """Follow a request's compilation until it is active, has failed, or is over."""
    follow(request_id)


@app.command("compile")
def compile_again(request_id: Annotated[str, typer.Argument(help="fr_...")]) -> None:
    """Have it compiled, or compiled again; what is in force stays so meanwhile."""
    found = admin("POST", f"{PATH}/{request_id}/compile")
    console.print(f"{found['id']}  {found['state']}", highlight=False)


@app.command("certificate")
def certificate(
    request_id: Annotated[str, typer.Argument(help="fr_...")],
    *,
    json: Annotated[bool, typer.Option("--json", help="As it was signed.")] = False,
) -> None:
    """Show how well a request's policy forgets, and what it costs."""
    found = admin("GET", f"{PATH}/{request_id}/certificate")
    if json:
        console.print_json(data=found)
    else:
        console.print(certificate_table(found), tried_table(found))


@app.command("erase")
def erase(request_id: Annotated[str, typer.Argument(help="fr_...")]) -> None:
    """Erase what was asked; what enforces it stays."""
    found = admin("POST", f"{PATH}/{request_id}/erase")
    when = "erased" if found["erased_at"] else "will be erased once the compiled policy is in force"
    console.print(f"{found['id']}  {when}", highlight=False)


@app.command("export")
def export(request_id: Annotated[str, typer.Argument(help="fr_...")]) -> None:
    """Everything about a request but its content, as JSON, for auditors."""
    console.print_json(data=admin("GET", f"{PATH}/{request_id}/export"))


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="JSON lines, a forget request each.", exists=True)],
    *,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Makes a repetition harmless.")
    ] = None,
) -> None:
    """File many forget requests; returns once each is enforced or refused."""
    if not follow_import(file, idempotency_key):
        raise typer.Exit(1)
