"""`lethe secrets`, as somebody types it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.settings import Settings
from service.store.store import open_store

RUN = CliRunner().invoke


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path))
    found = Settings()
    open_store(found).close()
    return found


def test_status_and_rotation(settings: Settings) -> None:
    before = RUN(app, ["secrets", "status"]).stdout
    assert before.count("mk_") == 1
    secret = settings.store_key_path.read_text()
    result = RUN(app, ["secrets", "rotate"])
    assert result.exit_code == 0
    assert "wraps every data key" in result.stdout
    after = RUN(app, ["secrets", "status"]).stdout
    assert after.count("mk_") == 1
    assert after != before
    assert settings.store_key_path.read_text() == secret
    assert RUN(app, ["secrets", "rotate", "--new-secret"]).exit_code == 0
    assert settings.store_key_path.read_text() != secret
    open_store(settings).close()


def test_a_wrong_key_is_said_and_not_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_STORE_KEY", "a-secret-that-must-not-be-shown-anywhere")
    result = RUN(app, ["secrets", "rotate", "--new-secret"])
    assert result.exit_code == 1
    assert "must-not-be-shown" not in result.output
    assert "does not hold the key" in result.output.replace("\n", " ")


def test_the_environments_secret_is_not_ours_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("LETHE_STORE_KEY", "e" * 40)
    result = RUN(app, ["secrets", "rotate", "--new-secret"])
    assert result.exit_code == 1
    assert "only a key file" in result.output
