"""Every method is a file, is in the registry, and says whose it is."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

import evals.methods
from evals.methods.__main__ import app
from evals.methods.registry import METHODS, method_named

FOLDER = Path(evals.methods.__file__).parent


def test_files_with_a_method_are_those_of_the_registry() -> None:
    with_method = {
        file.stem
        for file in FOLDER.glob("*.py")
        if re.search(r"^METHOD = ", file.read_text(), re.MULTILINE)
    }
    assert with_method == set(METHODS)
    assert {path.rpartition(".")[2] for path in METHODS.values()} == with_method


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_whose_it_is_and_where_it_differs(name: str) -> None:
    method = method_named(name)
    assert method is import_module(METHODS[name]).METHOD
    assert method.source
    published = "arXiv" in method.source or "20" in method.source
    assert bool(method.differs) == published or name.startswith("lethe")


def test_list_names_every_method_with_its_settings() -> None:
    said = CliRunner().invoke(app, ["list"])
    assert said.exit_code == 0
    heads = [line for line in said.output.splitlines() if not line.startswith(" ")]
    assert heads == list(METHODS)
    assert '"strength": 42.0' in said.output
