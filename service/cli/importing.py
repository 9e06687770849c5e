"""A bulk import in a terminal."""

from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from service.cli.connection import admin, admin_events, console, errors

PATH = "/v1/forget_requests/import"


def follow_import(file: Path, idempotency_key: str | None) -> bool:
    """Upload, follow to the end, print what was refused.  Whether every row was accepted."""
    headers = {"content-type": "application/jsonl"}
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    found = admin("POST", PATH, content=file.read_bytes(), headers=headers)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(found["id"], total=found["rows"])
        for _, data in admin_events(f"{PATH}/{found['id']}/events"):
            found = data
            bar.update(task, completed=data["accepted"] + data["refused"])
    console.print(
        f"{found['id']}  {found['status']}: {found['accepted']} enforced, "
        f"{found['refused']} refused",
        highlight=False,
    )
    _say_errors(found["id"])
    return bool(found["status"] == "done" and not found["refused"])


def _say_errors(import_id: str) -> None:
    after: dict[str, Any] = {}
    while True:
        page = admin("GET", f"{PATH}/{import_id}/errors", params={"limit": 1000, **after})
        for each in page["data"]:
            field = f" ({each['param']})" if each["param"] else ""
            errors.print(f"row {each['row']}: {each['message']}{field}", highlight=False)
        if not page["has_more"]:
            return
        after = {"after": page["data"][-1]["row"]}
