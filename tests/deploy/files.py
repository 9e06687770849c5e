"""The files of a deployment, read for tests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/rules/lethe.yml"
DASHBOARDS = DEPLOY / "grafana/dashboards"
RUNBOOKS = ROOT / "docs/runbooks"

_OURS = re.compile(r"\b(?:lethe|gen_ai)_[a-z_]+\b")
_QUOTED = re.compile(r'"[^"]*"')
_LABELS = {"gen_ai_token_type", "gen_ai_operation_name", "gen_ai_request_model"}

Json = Any


class Question(NamedTuple):
    """One expression of a dashboard."""

    dashboard: str
    panel: str
    expr: str


def read_yaml(path: Path) -> Json:
    """A file's content."""
    yaml: Any = pytest.importorskip("yaml", reason="PyYAML reads the manifests")
    return yaml.safe_load(path.read_text())


def write_yaml(path: Path, value: Json) -> None:
    """Write it so that programs read it."""
    path.write_text(json.dumps(value))  # which is YAML too


def alerts() -> list[Json]:
    """Every alert, as it is written down."""
    groups = read_yaml(RULES)["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def questions() -> Iterator[Question]:
    """Every expression of every panel."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield Question(path.stem, panel["title"], target["expr"])


def metrics_in(expr: str) -> set[str]:
    """The names of our metrics in an expression."""
    return set(_OURS.findall(_QUOTED.sub("", expr))) - _LABELS
