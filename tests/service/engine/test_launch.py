"""How the engine is started: everything that guards it is on the command line."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from service.engine import launch, plugin
from service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, model=tmp_path / "model", engine_url="http://127.0.0.1:8123")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "installed_version", lambda: "0.32.0+cpu")


def pairs(command: list[str]) -> dict[str, str]:
    return dict(pairwise(command))


@pytest.mark.usefixtures("installed")
def test_worker_and_door_are_named(settings: Settings) -> None:
    named = pairs(launch.engine_command(settings))
    assert named["--worker-cls"] == "service.engine.worker.LetheWorker"
    assert named["--middleware"] == "service.engine.attest.Door"
    assert named["--logits-processors"] == "service.engine.logits_processor:LetheLogits"
    assert (named["--host"], named["--port"]) == ("127.0.0.1", "8123")
    assert named["--max-logprobs"] == "0"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("url", ["https://host:1", "unix:///socket", "host:80"])
def test_an_address_that_vllm_cannot_serve_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(launch.CannotStart):
        launch.engine_command(Settings(data_dir=tmp_path, engine_url=url))


@pytest.mark.parametrize("found", [None, "0.31.9", "0.32.1", "0.33.0", "0.32.0rc1", "0.32.01"])
def test_another_version_stops_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    monkeypatch.setattr(plugin, "installed_version", lambda: found)
    with pytest.raises(plugin.UnknownVersion):
        launch.engine_command(settings)
    with pytest.raises(plugin.UnknownVersion):
        plugin.register()


@pytest.mark.usefixtures("installed")
def test_an_installation_without_the_plugin_stops_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "entry_points", lambda group: [])
    with pytest.raises(launch.CannotStart):
        launch.engine_command(settings)


def test_what_would_open_a_way_around_the_door_is_not_inherited(settings: Settings) -> None:
    inherited = dict.fromkeys(launch._FORBIDDEN, "1") | {"PATH": "/bin", "VLLM_PLUGINS": ""}
    made = launch.engine_environment(settings, inherited)
    assert not set(launch._FORBIDDEN) & set(made)
    assert made["PATH"] == "/bin"
    assert made["VLLM_PLUGINS"] == launch.PLUGIN


def test_the_engine_reads_the_same_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = launch.engine_environment(settings, os.environ)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    seen = Settings()
    assert seen.engine_key() == settings.engine_key()
    assert seen.artifacts == settings.artifacts
    assert seen.served_model_name == settings.served_model_name


def test_main_becomes_vllm(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, installed: None
) -> None:
    became: list[Any] = []
    monkeypatch.setenv("LETHE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setattr(os, "execve", lambda *arguments: became.append(arguments))
    launch.main()
    ((path, command, environment),) = became
    assert path == command[0]
    assert environment["VLLM_PLUGINS"] == launch.PLUGIN
    assert (settings.data_dir / "engine.key").exists()
