"""A forget request may name its guards; what is wrong with one is said by its field."""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from guards.embedding_corruption import manifest
from guards.needs import Capabilities
from guards.points import InEngine
from guards.policy import GuardSpec
from guards.registry import GUARDS, guard_class
from service.audit import AuditLog
from service.control.api import admin_router, install_error_handlers
from service.control.engine_abilities import EngineAbilities
from service.control.keys import KeyRing, ensure_bootstrap_keys
from service.settings import Settings
from service.store.store import Store

Json = Any
PATH = "/v1/forget_requests"
NAME = "Ilse Vantongeren"
FILTER = GuardSpec("text_filter", {})
ABLE = Capabilities(frozenset({"embedding"}), "V1")


@pytest.fixture
def engine() -> EngineAbilities:
    return EngineAbilities(ABLE)


@pytest.fixture
def client(store: Store, settings: Settings, engine: EngineAbilities) -> Iterator[TestClient]:
    key = json.loads(ensure_bootstrap_keys(store, settings.data_dir).read_text())["admin"]
    keys, audit = KeyRing(store, settings.pepper()), AuditLog(settings.audit_path)
    app = FastAPI()
    app.include_router(
        admin_router(
            store=store, settings=settings, keys=keys, replica=None, audit=audit, engine=engine
        )
    )
    install_error_handlers(app)
    with TestClient(app, headers={"authorization": f"Bearer {key}"}) as client:
        yield client
    audit.close()


@pytest.fixture
def corruption(settings: Settings) -> str:
    return settings.artifact_store().put(manifest("zero_out", 1.0))


def ask(client: TestClient, **body: Json) -> tuple[int, Json]:
    answer = client.post(PATH, json={"subject": NAME, **body})
    return answer.status_code, answer.json()


def refused(client: TestClient, *guards: Json, status: int = 400) -> Json:
    code, body = ask(client, guards=list(guards))
    assert code == status, body
    assert NAME not in json.dumps(body)
    return body["error"]


def policy_guards(store: Store) -> list[tuple[GuardSpec, ...]]:
    return [policy.guards for policy in store.epochs.load().policies]


def test_the_policy_is_exactly_what_was_named_and_the_text_filter(
    client: TestClient, store: Store, corruption: str
) -> None:
    asked: list[Json] = [
        {"kind": "text_filter", "options": {}},
        {"kind": "embedding_corruption", "options": {"artifact": corruption}},
        {"kind": "refusal", "options": {"text": "No."}},
    ]
    code, made = ask(client, guards=asked)
    assert code == 201
    assert made["guards"] == asked
    assert client.get(f"{PATH}/{made['id']}").json()["guards"] == asked
    wanted = [GuardSpec(each["kind"], each["options"]) for each in asked[1:]]
    assert policy_guards(store) == [(*wanted, FILTER)]
    ended = client.delete(f"{PATH}/{made['id']}").json()
    assert ended["guards"] is None


def test_options_may_be_left_out_and_the_list_may_be_empty(
    client: TestClient, store: Store
) -> None:
    assert ask(client, guards=[])[0] == 201
    assert policy_guards(store) == [(FILTER,)]
    assert ask(client, guards=[{"kind": "refusal"}])[0] == 201
    assert (GuardSpec("refusal", {}), FILTER) in policy_guards(store)


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        ("refuse", "refusal"),
        ("in_context_instruction", "in_context_instruction"),
        ("agent_rewrite", "agent_rewrite"),
        ("auto", "embedding_corruption"),
        ("pretend_never_knew", "embedding_corruption"),
    ],
)
def test_a_strategy_stands_for_a_guard(
    client: TestClient, store: Store, strategy: str, kind: str
) -> None:
    code, made = ask(client, strategy=strategy)
    assert (code, made["strategy"], made["guards"]) == (201, strategy, None)
    (guards,) = policy_guards(store)
    assert [guard.kind for guard in guards] == [kind, "text_filter"]


def test_guards_and_another_strategy_exclude_each_other(client: TestClient) -> None:
    code, body = ask(client, guards=[], strategy="refuse")
    assert (code, body["error"]["param"]) == (400, "guards")


@pytest.mark.parametrize(
    ("param", "guard"),
    [
        ("guards[0].kind", {"kind": "no_such_guard"}),
        ("guards[0].kind", {"kind": ""}),
        ("guards[0].kind", {"options": {}}),
        ("guards[0].options", {"kind": "refusal", "options": []}),
        ("guards[0].more", {"kind": "refusal", "more": 1}),
        ("guards[0].options.words", {"kind": "refusal", "options": {"words": "x"}}),
        ("guards[0].options.text", {"kind": "refusal", "options": {"text": 7}}),
        ("guards[0].options.text", {"kind": "refusal", "options": {"text": ""}}),
        ("guards[0].options.variants", {"kind": "agent_rewrite", "options": {"variants": 9}}),
        ("guards[0].options.variants", {"kind": "agent_rewrite", "options": {"variants": "3"}}),
        ("guards[0].options.artifact", {"kind": "embedding_corruption"}),
        (
            "guards[0].options.artifact",
            {"kind": "embedding_corruption", "options": {"artifact": 3}},
        ),
        (
            "guards[0].options.artifact",
            {"kind": "embedding_corruption", "options": {"artifact": "sha256:" + "0" * 64}},
        ),
        (
            "guards[0].options.artifact",
            {"kind": "embedding_corruption", "options": {"artifact": "../../etc/passwd"}},
        ),
        (
            "guards[0].options.demonstrations.correct",
            {
                "kind": "in_context_instruction",
                "options": {"demonstrations": {"flipped": [], "correct": 1}},
            },
        ),
    ],
)
def test_what_is_wrong_is_said_by_its_field(client: TestClient, param: str, guard: Json) -> None:
    assert refused(client, guard)["param"] == param


def test_too_many_guards_are_refused(client: TestClient) -> None:
    assert refused(client, *[{"kind": "refusal"}] * 17)["param"] == "guards"


def test_artifacts_are_opened_before_anything_is_accepted(
    client: TestClient, settings: Settings, store: Store, corruption: str
) -> None:
    artifacts = settings.artifact_store()
    foreign = artifacts.put({"format": 1, "guard": "somebody"})
    digest = corruption.removeprefix("sha256:")
    (artifacts.root / "sha256" / digest / "manifest.json").write_bytes(b"{}")
    words = {}
    for name, artifact in (("corrupt", corruption), ("foreign", foreign)):
        guard = {"kind": "embedding_corruption", "options": {"artifact": artifact}}
        error = refused(client, {"kind": "refusal"}, guard)
        assert error["param"] == "guards[1].options.artifact"
        assert error["code"] == "invalid_artifact"
        words[name] = error["message"]
    assert "corrupt" in words["corrupt"]
    assert "cannot be applied" in words["foreign"]
    assert policy_guards(store) == []


def test_what_the_engine_cannot_do_is_refused_by_name(
    client: TestClient, engine: EngineAbilities, corruption: str
) -> None:
    engine.learn(Capabilities(frozenset({"logits"}), "V1"))
    guard = {"kind": "embedding_corruption", "options": {"artifact": corruption}}
    error = refused(client, guard)
    assert error["param"] == "guards[0].kind"
    assert error["message"] == (
        "'embedding_corruption' needs embedding, which this engine does not offer."
    )


def test_while_no_engine_was_reached_only_gateway_guards_are_taken(
    store: Store, settings: Settings, corruption: str, plane_app: ModuleType
) -> None:
    key = json.loads(ensure_bootstrap_keys(store, settings.data_dir).read_text())["admin"]
    app = plane_app.create_app(settings, store)
    with TestClient(app, headers={"authorization": f"Bearer {key}"}) as client:
        guard = {"kind": "embedding_corruption", "options": {"artifact": corruption}}
        assert refused(client, guard, status=503)["code"] == "guard_unavailable"
        assert ask(client, guards=[{"kind": "refusal"}])[0] == 201


def test_options_of_every_guard_can_be_checked_by_their_annotations() -> None:
    for kind in GUARDS:
        guard = guard_class(kind)
        TypeAdapter(guard)
        if issubclass(guard, InEngine):
            assert "artifact" in guard.__dataclass_fields__  # type: ignore[attr-defined]
