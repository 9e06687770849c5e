"""What `lethe forget` shows of compilations and imports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import forget, importing, watching

RATE = {"found": 1, "of": 200, "upper": 0.0235}
MEASURES = {
    **dict.fromkeys(("leaks", "changed", "unmatched", "matched"), RATE),
    "distance": 0.1,
    "p_value": 0.41,
    "fluency": -0.2,
    "cost": 1.08,
}


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(forget.app, [*args])
    assert result.exit_code == code, result.output
    return result.output


def _progress(state: str, fraction: float, error: Any = None) -> tuple[str, Any]:
    compilation = {"status": "running", "step": "probe", "fraction": fraction, "error": error}
    return "progress", {"state": state, "compilation": compilation}


def test_waiting_ends_with_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def events(path: str) -> Iterator[tuple[str, Any]]:
        asked.append(path)
        yield "state", {"event": "claim"}
        yield _progress("compiling", 0.5)
        yield _progress("active", 1.0)

    monkeypatch.setattr(watching, "admin_events", events)
    monkeypatch.setattr(forget, "admin", lambda *_a, **_k: {"id": "fr_1", "state": "received"})
    said = run("Ada Vex", "--wait")
    assert "fr_1  received" in said
    assert said.rstrip().endswith("fr_1  active")
    assert asked == ["/v1/forget_requests/fr_1/events"]


def test_a_failure_is_said(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    error = {"code": "below_floor", "measures": ["leaks"], "retried": False}
    monkeypatch.setattr(
        watching, "admin_events", lambda _path: iter([_progress("received", 0.8, error)])
    )
    watching.follow("fr_1")
    assert "below_floor (leaks)" in " ".join(capsys.readouterr().err.split())


def test_a_certificate_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = {
        "held_out": MEASURES,
        "tried": [{"name": "steering", "kept": True, "why": "least leaks"}],
    }
    found = {"policy": "sha256:" + "a" * 64, "holds": True, "certificate": certificate}
    monkeypatch.setattr(forget, "admin", lambda *_args: found)
    said = " ".join(run("certificate", "fr_1").split())
    for words in ("1 of 200", "2.35%", "1.08", "│ steering │ yes │ least leaks"):
        assert words in said


def test_an_import_says_what_was_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"subject": "the"}\n{"subject": "Ada Vex"}\n')
    sent: list[Any] = []
    start = {"id": "imp_1", "rows": 2}
    done = {**start, "status": "done", "accepted": 1, "refused": 1}

    def admin(method: str, path: str, **given: Any) -> Any:
        sent.append((method, path, given))
        if method == "POST":
            return start
        row = {"row": 1, "param": "subject", "code": "invalid_value", "message": "Too common."}
        return {"data": [row], "has_more": False}

    monkeypatch.setattr(importing, "admin", admin)
    monkeypatch.setattr(importing, "admin_events", lambda _path: iter([("progress", done)]))
    said = run("import", str(file), "--idempotency-key", "k", code=1)
    assert "1 enforced, 1 refused" in " ".join(said.split())
    method, path, given = sent[0]
    assert (method, path) == ("POST", "/v1/forget_requests/import")
    assert given["content"] == file.read_bytes()
    assert given["headers"] == {"content-type": "application/jsonl", "idempotency-key": "k"}
