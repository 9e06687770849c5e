"""A real store in a folder of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.settings import Settings
from service.store.store import Store, open_store


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings)
    yield opened
    opened.close()
