"""`lethe audit`: verifying, anchoring and handing out the audit log."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.audit_anchors import Anchor, sink_of
from service.audit_export import export
from service.audit_lines import Files
from service.audit_verify import Report, files_of, verify_logs
from service.cli.connection import console, errors, fail
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The audit log: verify, anchor, export.")

Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Log files or folders; default: this installation's, of all processes."),
]


@app.command("verify")
def verify(
    paths: Paths = None,
    *,
    anchors: Annotated[
        Path | None, typer.Option(help="File of anchors; default: LETHE_AUDIT_ANCHOR, if a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
    store: Annotated[
        bool, typer.Option(help="Compare with the database's acts, where it is at hand.")
    ] = True,
) -> None:
    """Check every line of every file; exit status 1 and file:line where something is wrong."""
    settings = Settings()
    chains = _chains(paths, settings)
    try:
        report = verify_logs(
            chains, anchors=anchors or _anchor_file(settings), key=settings.audit_key()
        )
        if store and not paths:
            report = _with_acts(report, chains, settings)
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}")
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        _say(report)
    raise typer.Exit(1 if report.findings else 0)


@app.command("anchor")
def anchor(
    paths: Paths = None,
    *,
    to: Annotated[
        str, typer.Option(help="A file, an http(s) URL or command:...; default: standard output.")
    ] = "",
) -> None:
    """Say how far each chain has come, now, to be kept elsewhere."""
    settings = Settings()
    key = settings.audit_key()
    for chain in _chains(paths, settings):
        lines = [line for line in Files(chain, key).lines() if line.good]
        if not lines:
            continue
        head, first = max(lines, key=lambda line: line.seq), lines[0]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        made = Anchor(chain[-1].name, first.chain, head.seq, head.hash, now).to_line(key)
        if not to:
            sys.stdout.write(made.decode())
            continue
        try:
            sink_of(to)(made)
        except OSError as error:
            fail(f"the anchor was not taken: {error}")


@app.command("export")
def export_lines(
    paths: Paths = None,
    *,
    out: Annotated[Path, typer.Option(help="File to write; must not exist.")],
    since: Annotated[datetime | None, typer.Option(help="UTC; from then on.")] = None,
    until: Annotated[datetime | None, typer.Option(help="UTC; before then.")] = None,
) -> None:
    """Write the lines between two times into one file, in the order of time, for an auditor."""
    chains = _chains(paths, Settings())
    try:
        with out.open("xb") as file:
            count = export(chains, file, since=_utc(since), until=_utc(until))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    console.print(f"{count} lines", highlight=False)


def _chains(paths: list[Path] | None, settings: Settings) -> list[list[Path]]:
    found = [chain for path in paths or [settings.audit_path] for chain in files_of(path)]
    if not found:
        fail(f"there is no audit log at {', '.join(map(str, paths or [settings.audit_path]))}")
    return found


def _anchor_file(settings: Settings) -> Path | None:
    target = settings.audit_anchor
    if not target or target.startswith(("http://", "https://", "command:")):
        return None
    return Path(target) if Path(target).exists() else None


def _with_acts(report: Report, chains: list[list[Path]], settings: Settings) -> Report:
    if not settings.database_url and not (settings.data_dir / "lethe.db").exists():
        return report
    # Not with the module: whoever only asks or verifies needs no database library.
    from service.audit_acts import compare_acts
    from service.store.store import KeyUnavailable, StoreUnavailable, open_store

    try:
        store = open_store(settings)
    except (StoreUnavailable, KeyUnavailable) as error:
        errors.print(f"not compared with the database: {error}", highlight=False)
        return report
    try:
        compared = compare_acts(chains, store.acts())
    finally:
        store.close()
    findings = (*report.findings, *compared.unknown)
    return replace(report, findings=findings, unlogged=compared.unlogged)


def _say(report: Report) -> None:
    for finding in report.findings:
        console.print(str(finding), highlight=False, soft_wrap=True, markup=False)
    for log in report.logs:
        name = Path(log.files[-1]).name
        text = f"{name}: {log.lines} lines in {len(log.files)} files"
        text += f", anchored up to line {log.vouched}" if log.vouched else ", no anchor"
        console.print(text, highlight=False, soft_wrap=True)
        for place in log.torn:
            console.print(f"{place}: torn by a crash", highlight=False, soft_wrap=True)
    for act in report.unlogged:
        console.print(f"in the database, but in no line: {act}", highlight=False, soft_wrap=True)
    if report.findings:
        errors.print(f"{len(report.findings)} findings", highlight=False)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
