import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, read_secret
from service.settings_page import settings_page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_tells_what_the_settings_are() -> None:
    assert PAGE.read_text() == settings_page()


def test_every_setting_says_what_it_means() -> None:
    assert [n for n, f in Settings.model_fields.items() if not f.description] == []


def test_a_bad_value_stops_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_WORKERS", "0")
    with pytest.raises(ValidationError, match="workers"):
        Settings()


def test_a_misspelt_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_WORKRES", "2")
    with pytest.raises(ValidationError, match="LETHE_WORKRES"):
        Settings()


def test_a_child_process_reads_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, port=1234, require_api_key=False, lease_s=0.5)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "engine.key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: read_secret(path), range(32)))
    assert made == {path.read_bytes().strip()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["engine.key"]


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.key"
    path.write_text("short")
    with pytest.raises(ValueError, match="shorter"):
        read_secret(path)
