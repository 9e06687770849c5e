import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, read_secret
from service.settings_example import settings_example
from service.settings_page import settings_page

ROOT = Path(__file__).parents[2]
PAGE, EXAMPLE = ROOT / "docs" / "settings.md", ROOT / ".env.example"


def test_the_page_tells_what_the_settings_are() -> None:
    assert PAGE.read_text() == settings_page()


def test_the_example_of_an_environment_has_every_setting_and_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert EXAMPLE.read_text() == settings_example(), "python -m service.settings_example"
    lines = [line.removeprefix("#") for line in EXAMPLE.read_text().splitlines()]
    given = [line.split("=", 1) for line in lines if line.startswith("LETHE_")]
    assert [name for name, _ in given] == [f"LETHE_{n.upper()}" for n in Settings.model_fields]
    plain = Settings()
    for name, value in given:
        if value:  # an empty one stands for "none", which no variable can say
            monkeypatch.setenv(name, value)
    assert Settings() == plain.model_copy(update={"model": Path("models/demo/weights/demo")})


def test_a_password_comes_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("p@ss/word\n")
    url = "postgresql+psycopg://lethe@postgres/lethe"
    settings = Settings(database_url=url, database_password_file=path)
    assert settings.database == "postgresql+psycopg://lethe:p%40ss%2Fword@postgres/lethe"
    assert "p@ss" not in repr(settings)


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
