"""`lethe forget` says to the admin plane what was typed."""

from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import forget

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bodies that were sent."""
    bodies: list[Any] = []

    def admin(_method: str, _path: str, *, body: Any) -> Any:
        bodies.append(body)
        return {"id": "fr_1", "state": "received"}

    monkeypatch.setattr(forget, "admin", admin)
    return bodies


def run(*args: str) -> None:
    result = CliRunner().invoke(forget.app, [*args])
    assert result.exit_code == 0, result.output


def test_a_name_alone_leaves_the_choice_to_the_gateway(sent: list[Any]) -> None:
    run("Ada Vex")
    assert sent == [{"subject": "Ada Vex", "aliases": [], "examples": []}]


def test_a_strategy(sent: list[Any]) -> None:
    run("Ada Vex", "--strategy", "refuse")
    assert sent[0]["strategy"] == "refuse"


def test_guards_in_order(sent: list[Any]) -> None:
    run("Ada Vex", "--guard", f"steering={DIGEST}", "--guard", "refusal")
    assert sent[0]["guards"] == [
        {"kind": "steering", "options": {"artifact": DIGEST}},
        {"kind": "refusal", "options": {}},
    ]
