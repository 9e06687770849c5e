"""`lethe keys`: API keys from a terminal."""

from typing import Annotated

import typer
from rich.table import Table

from service.cli.connection import admin, console

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")
PATH = "/v1/api_keys"


@app.command("create")
def create(
    plane: Annotated[str, typer.Option(help="data or admin")] = "data",
    tenant: Annotated[str | None, typer.Option(help="Whose requests a data key signs.")] = None,
) -> None:
    """Create a key.  It is shown once."""
    body = {"plane": plane, **({"tenant": tenant} if tenant else {})}
    found = admin("POST", PATH, body=body)
    console.print(f"{found['id']}  {found['key']}", highlight=False, soft_wrap=True)


@app.command("list")
def list_keys() -> None:
    """List keys, without their secrets."""
    table = Table("id", "plane", "tenant", "created", "revoked")
    for key in admin("GET", PATH)["data"]:
        cells = (key["id"], key["plane"], key["tenant"], key["created_at"], key["revoked_at"])
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    console.print(table)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument()]) -> None:
    """Revoke a key."""
    admin("DELETE", f"{PATH}/{key_id}")
    console.print(f"{key_id}  revoked", highlight=False)
