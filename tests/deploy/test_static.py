"""What can be said about the files of a deployment without running it."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from service.settings import Settings
from tests.deploy.files import (
    DASHBOARDS,
    DEPLOY,
    ROOT,
    RULES,
    RUNBOOKS,
    Json,
    alerts,
    metrics_in,
    questions,
    read_yaml,
    write_yaml,
)

MAKE_DASHBOARDS = DEPLOY / "grafana/make_dashboards.py"
OVERLAYS = DEPLOY / "kubernetes/overlays"


def tool(name: str) -> str:
    """Where the program is, beside this interpreter or on the PATH; without it the test skips."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def says(command: Sequence[str | Path]) -> str:
    """What a program says; the test fails where it fails."""
    done = subprocess.run(  # noqa: S603  (tools found above, our own files)
        [str(part) for part in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def exported() -> set[str]:
    """The names of all series that a gateway may show."""
    metrics, found = Metrics(), set()
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        found |= {sample.name for sample in family.samples}
        if family.type == "histogram":
            found |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
    return found


def test_the_dockerfile_is_clean() -> None:
    says([tool("hadolint"), "Dockerfile"])


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_compose_file_is_valid(profile: str) -> None:
    says([tool("docker-compose"), "--profile", profile, "config", "-q"])


def test_versions_in_images_are_those_of_the_locks() -> None:
    vllm = re.search(r'"vllm==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert vllm is not None
    assert f"vllm/vllm-openai:v{vllm[1]}" in (ROOT / "Dockerfile").read_text()


def test_nothing_in_the_compose_file_reaches_the_engine_but_the_gateway() -> None:
    compose = read_yaml(ROOT / "docker-compose.yml")
    on_it = {n for n, s in compose["services"].items() if "engine" in s.get("networks", ())}
    assert on_it == {"gateway", "engine-cpu", "engine-gpu"}
    for name in ("engine-cpu", "engine-gpu"):
        assert set(compose["services"][name]["networks"]) == {"engine"}
        assert "ports" not in compose["services"][name]
    assert compose["networks"]["engine"]["internal"] is True
    for service in compose["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    config = read_yaml(DEPLOY / "prometheus/prometheus.yml")
    # Its rules lie elsewhere in the container.
    inside = Path("/etc/prometheus")
    config["rule_files"] = [
        str(DEPLOY / "prometheus" / Path(path).relative_to(inside)) for path in config["rule_files"]
    ]
    write_yaml(tmp_path / "prometheus.yml", config)
    says([tool("promtool"), "check", "config", tmp_path / "prometheus.yml"])


def test_the_alert_rules_do_what_they_say() -> None:
    promtool = tool("promtool")
    says([promtool, "check", "rules", RULES])
    says([promtool, "test", "rules", DEPLOY / "prometheus/tests/lethe.yml"])


def test_every_alert_is_tested_both_ways() -> None:
    cases = read_yaml(DEPLOY / "prometheus/tests/lethe.yml")["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    for alert in alerts():
        mine = [check for check in checks if check["alertname"] == alert["alert"]]
        assert {bool(check["exp_alerts"]) for check in mine} == {True, False}, alert["alert"]


def test_alertmanager_takes_its_configuration() -> None:
    says([tool("amtool"), "check-config", DEPLOY / "alertmanager/alertmanager.yml"])


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    found = {alert["alert"]: alert for alert in alerts()}
    for name, alert in found.items():
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
        assert alert["labels"]["severity"] in ("critical", "warning")
        text = (RUNBOOKS / f"{name}.md").read_text()
        for part in ("**Means.**", "**See.**", "**Do.**", "**Afterwards.**"):
            assert part in text or (part == "**See.**" and name == "LetheEngineNotGuarded"), name
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(found)
    listed = re.findall(r"\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text())
    assert dict(listed) == {name: alert["labels"]["severity"] for name, alert in found.items()}


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_links_in_runbooks_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        file, _, anchor = target.partition("#")
        text = (path.parent / file).read_text()
        headings = {_anchor(line) for line in text.splitlines() if line.startswith("#")}
        assert not anchor or anchor in headings, target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_the_dashboards_are_what_the_code_makes() -> None:
    made = _dashboards().files()
    assert set(made) == {path.name for path in DASHBOARDS.glob("*")}
    for name, text in made.items():
        assert (DASHBOARDS / name).read_text() == text, f"run {MAKE_DASHBOARDS}"


def _dashboards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_dashboards", MAKE_DASHBOARDS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_dashboards_are_for_the_grafana_that_is_deployed() -> None:
    compose = read_yaml(ROOT / "docker-compose.yml")
    assert compose["services"]["grafana"]["image"].startswith("grafana/grafana:12.1.")
    assert _dashboards().GRAFANA_SCHEMA == 41


def test_panels_and_alerts_ask_for_metrics_that_there_are() -> None:
    there = exported()
    asked = {question.expr for question in questions()} | {alert["expr"] for alert in alerts()}
    for expr in asked:
        assert metrics_in(expr) <= there, expr


def test_no_metric_is_watched_by_nobody() -> None:
    asked = {name for question in questions() for name in metrics_in(question.expr)}
    asked |= {name for alert in alerts() for name in metrics_in(alert["expr"])}
    parts = re.compile(r"_(bucket|sum|count)$")
    names = {parts.sub("", name) for name in asked}
    unwatched = {parts.sub("", name) for name in exported()} - names
    # An age is what people can read; the time itself is for those who compute.
    assert unwatched == {"lethe_canary_passed_timestamp_seconds"}


@pytest.fixture(params=sorted(OVERLAYS.glob("*")), ids=lambda path: path.name)
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """All resources of an overlay in one file."""
    path = tmp_path / "built.yaml"
    path.write_text(says([*_kustomize(), request.param]))
    return path


def test_the_manifests_are_valid(manifests: Path) -> None:
    says([tool("kubernetes-validate"), "--strict", manifests])


def test_pods_may_do_as_little_as_can_be(manifests: Path) -> None:
    deployments = [each for each in _resources(manifests) if each["kind"] == "Deployment"]
    assert {each["metadata"]["name"] for each in deployments} == {"lethe-gateway", "lethe-engine"}
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        keys = [env for env in container.get("env", ()) if "secretKeyRef" in str(env)]
        assert keys == [], "secrets come by files"


def test_only_gateways_reach_the_engine(manifests: Path) -> None:
    policies = [each["spec"] for each in _resources(manifests) if each["kind"] == "NetworkPolicy"]
    everything = [spec for spec in policies if spec["podSelector"] == {}]
    assert [spec.keys() & {"ingress", "egress"} for spec in everything] == [set()]
    engine = {"app.kubernetes.io/name": "lethe-engine"}
    gateway = {"app.kubernetes.io/name": "lethe-gateway"}
    (only,) = [spec for spec in policies if spec["podSelector"].get("matchLabels") == engine]
    assert [rule["from"] for rule in only["ingress"]] == [
        [{"podSelector": {"matchLabels": gateway}}]
    ]
    assert not only["egress"]


def test_a_gateway_is_given_the_time_that_its_answers_may_take(manifests: Path) -> None:
    (gateway,) = [
        each
        for each in _resources(manifests)
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "lethe-gateway")
    ]
    longest = Settings.model_fields["upstream_timeout_s"].default
    assert gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > longest + 10
    compose = read_yaml(ROOT / "docker-compose.yml")["services"]["gateway"]
    assert int(compose["stop_grace_period"].removesuffix("m")) * 60 > longest


def _resources(path: Path) -> list[Json]:
    yaml: Any = pytest.importorskip("yaml", reason="PyYAML reads the manifests")
    return list(yaml.safe_load_all(path.read_text()))


def _kustomize() -> list[str]:
    kustomize = shutil.which("kustomize")
    return [kustomize, "build"] if kustomize else [tool("kubectl"), "kustomize"]
