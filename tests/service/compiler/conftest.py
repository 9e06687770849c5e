"""The demo model as the compiler has it, once for all tests."""

import secrets
from pathlib import Path

import pytest

from models.artifact import ArtifactStore
from models.demo.train import DEMO, WEIGHTS
from models.demo.world import World, make_world
from service.compiler.served import Served


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    return WEIGHTS / DEMO


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("artifacts"), secrets.token_bytes(32))


@pytest.fixture(scope="session")
def served(demo_folder: Path, artifacts: ArtifactStore) -> Served:
    """The demo model.  It remembers plain answers between tests; they do not change."""
    return Served.load(demo_folder, artifacts, 1024)
