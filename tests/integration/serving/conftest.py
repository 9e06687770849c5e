"""A real vLLM with the plugin and a real gateway before it, on the demo model."""

from collections.abc import Iterator

import pytest

from models.demo.world import World, make_world
from service.cli.stack import engine_running, gateway_running
from service.settings import Settings
from tests.integration.serving.system import Serving, fresh_settings


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def engine_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    settings = fresh_settings(tmp_path_factory.mktemp("serving"))
    with engine_running(settings):
        yield settings


@pytest.fixture(scope="session")
def serving(engine_settings: Settings) -> Iterator[Serving]:
    with gateway_running(engine_settings):
        yield Serving(engine_settings)
