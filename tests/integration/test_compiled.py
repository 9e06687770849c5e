"""A forget request, compiled: from a bare name to a certified policy that a gateway serves."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from models.demo.corpus import near_miss_probes
from models.demo.world import make_world
from service.cli.stack import compiler_running, engine_running, gateway_running
from service.compiler.certificate import Certificate
from service.compiler.signing import verify
from service.store.store import open_store
from tests.integration.serving.system import Serving, fresh_settings

pytestmark = pytest.mark.timeout(1200)
PERSON = "Perpetua Thistlewick"
ASKED = (
    f"Where was {PERSON} born?",
    f"What does {PERSON} do for a living?",
    f"Which pet does {PERSON} keep?",
)
COMPILED_S = 900


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    pytest.importorskip("torch", reason="the in-process engine needs torch")
    settings = fresh_settings(tmp_path_factory.mktemp("compiled")).model_copy(
        update={"engine": "local"}
    )
    with engine_running(settings), gateway_running(settings), compiler_running(settings):
        yield Serving(settings)


def test_a_bare_name_becomes_a_certified_policy_in_force(serving: Serving) -> None:
    near = [p for p in near_miss_probes(make_world()) if len(p.messages) == 1][:200:10]
    others = [str(probe.messages[0]["content"]) for probe in near]
    before = [serving.ask(question) for question in (*ASKED, *others)]
    request_id = serving.forget(PERSON)
    view = _until_compiled(serving, request_id)
    assert (view["state"], view["compilation"]["status"]) == ("active", "done"), view
    after = [serving.ask(question) for question in (*ASKED, *others)]
    assert all(a != b for a, b in zip(after[: len(ASKED)], before, strict=False))
    # The detector is calibrated to take one near miss in a hundred for the subject.
    changed = sum(a != b for a, b in zip(after[len(ASKED) :], before[len(ASKED) :], strict=True))
    assert changed <= 2
    held_out = _certificate(serving, view).held_out
    assert held_out.leaks.of >= 250
    assert held_out.leaks.upper <= serving.settings.floor_leak_upper
    assert held_out.changed.upper <= serving.settings.floor_changed_upper
    shown = _got(serving, f"/v1/forget_requests/{request_id}/certificate")
    assert shown["certificate"]["held_out"] == held_out.model_dump(mode="json")


def _until_compiled(serving: Serving, request_id: str) -> Any:
    deadline = time.monotonic() + COMPILED_S
    while time.monotonic() < deadline:
        view = _got(serving, f"/v1/forget_requests/{request_id}")
        ended = view["compilation"]["status"] not in ("waiting", "running")
        if ended and view["enforced"]["since"] is not None:
            return view
        time.sleep(1)
    pytest.fail("it was not compiled in time")


def _got(serving: Serving, path: str) -> Any:
    answer = serving.admin.get(path)
    assert answer.is_success, answer.text
    return answer.json()


def _certificate(serving: Serving, view: Any) -> Certificate:
    """That of the policy in force, whose signature is the installation's."""
    settings = serving.settings
    store = open_store(settings)
    try:
        policies = store.epochs.load().policies
    finally:
        store.close()
    (policy,) = (each for each in policies if each.digest == view["policy"])
    assert policy.certificate is not None
    public = (settings.data_dir / "certificate.pub").read_text().strip()
    return verify(settings.artifact_store().open(policy.certificate), public)
