"""The admin plane over HTTP."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.control.activation import NotEnforcedYet
from service.control.forget_request import MAX_ALIASES, MAX_EXAMPLES, MAX_TEXT
from service.control.keys import ensure_bootstrap_keys
from service.control.subject import MAX_NAME
from service.settings import Settings
from service.store.store import Store

PATH = "/v1/forget_requests"
NAME = "Ilse Vantongeren"


@pytest.fixture
def keys(store: Store, settings: Settings) -> dict[str, str]:
    found: dict[str, str] = json.loads(ensure_bootstrap_keys(store, settings.data_dir).read_text())
    return found


@pytest.fixture
def client(
    store: Store, settings: Settings, keys: dict[str, str], plane_app: ModuleType
) -> Iterator[TestClient]:
    headers = {"authorization": f"Bearer {keys['admin']}"}
    app = plane_app.create_app(settings, store)
    with TestClient(app, headers=headers) as client:
        yield client


def _forget(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post(PATH, json={"subject": NAME, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_request_is_kept_as_it_was_asked(client: TestClient) -> None:
    later = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
    asked = {
        "aliases": ["I. Vantongeren"],
        "examples": ["Who kept the lighthouse?", {"question": "Born where?", "answer": "Oss"}],
        "retain_examples": ["Who is Bertil?"],
        "scope": {"tenants": ["acme"], "models": ["demo"]},
        "legal_basis": "GDPR Art. 21",
        "strategy": "pretend_never_knew",
    }
    made = _forget(client, **asked, expires_at=later.isoformat())
    assert made["id"].startswith("fr_")
    assert made["state"] == "received"
    assert datetime.fromisoformat(made["expires_at"]) == later
    assert {field: made[field] for field in asked} == asked
    assert made["enforced"]["epoch"] == 1
    assert made["enforced"]["since"] is not None
    assert client.get(f"{PATH}/{made['id']}").json() == made


def test_a_revoked_request_keeps_nothing_of_what_was_asked(
    client: TestClient, settings: Settings, store: Store
) -> None:
    made = _forget(client, aliases=["I. Vantongeren"], examples=["Who kept the lighthouse?"])
    ended = client.delete(f"{PATH}/{made['id']}").json()
    assert ended["state"] == "revoked"
    gone = ("subject", "aliases", "examples", "retain_examples", "scope", "legal_basis")
    assert [ended[field] for field in gone] == [None] * len(gone)
    assert store.epochs.load().policies == ()
    again = client.delete(f"{PATH}/{made['id']}")
    assert (again.status_code, again.json()) == (200, ended)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("request_id", ["fr_unknown", "x" * 5000, "%2e%2e", "fr_%00"])
def test_an_unknown_id_is_not_found(client: TestClient, method: str, request_id: str) -> None:
    answer = client.request(method, f"{PATH}/{request_id}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


def test_the_list_goes_through_everything_once_newest_first(client: TestClient) -> None:
    ids = [_forget(client, subject=f"{NAME} {number}")["id"] for number in range(5)]
    client.delete(f"{PATH}/{ids[2]}")
    assert _walk(client, {"limit": 2}) == ids[::-1]
    assert _walk(client, {"limit": 2, "state": "revoked"}) == [ids[2]]
    assert _walk(client, {"limit": 2, "state": "received"}) == [ids[4], ids[3], ids[1], ids[0]]


def _walk(client: TestClient, query: dict[str, Any]) -> list[str]:
    seen: list[str] = []
    while True:
        page = client.get(PATH, params=query).json()
        seen += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            return seen
        assert page["last_id"] == seen[-1]
        query = {**query, "after": page["last_id"]}


past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("subject", {"subject": ""}),
        ("subject", {"subject": "?!"}),
        ("subject", {"subject": "the"}),
        ("subject", {"subject": 7}),
        ("subject", {"subject": "x" * (MAX_NAME + 1)}),
        ("subject", {"subject": None}),
        ("aliases[1]", {"aliases": ["Ilse V.", "a"]}),
        ("aliases", {"aliases": "Ilse"}),
        ("aliases", {"aliases": ["Ilse V."] * (MAX_ALIASES + 1)}),
        ("examples[0]", {"examples": ["?"]}),
        ("examples[0]", {"examples": [7]}),
        ("examples[0]", {"examples": ["x" * (MAX_TEXT + 1)]}),
        ("examples", {"examples": ["x"] * (MAX_EXAMPLES + 1)}),
        ("examples[1].answer", {"examples": ["x", {"question": "q"}]}),
        ("examples[0].answer", {"examples": [{"question": "q", "answer": 1}]}),
        ("examples[0].more", {"examples": [{"question": "q", "answer": "a", "more": 1}]}),
        ("retain_examples[0]", {"retain_examples": [[]]}),
        ("scope.tenants[0]", {"scope": {"tenants": ["a b"]}}),
        ("scope.users", {"scope": {"users": []}}),
        ("scope", {"scope": []}),
        ("legal_basis", {"legal_basis": ["GDPR"]}),
        ("expires_at", {"expires_at": past}),
        ("expires_at", {"expires_at": "2100-01-01T00:00:00"}),
        ("expires_at", {"expires_at": "tomorrow"}),
        ("strategy", {"strategy": "erase"}),
        ("id", {"id": "fr_mine"}),
        ("state", {"state": "active"}),
    ],
)
def test_a_wrong_field_is_named_and_not_quoted(
    client: TestClient, param: str, body: dict[str, Any]
) -> None:
    answer = client.post(PATH, json={"subject": NAME, **body})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert NAME not in answer.text
    assert client.get(PATH).json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{", b'{"subject":"Ilse V","subject":"Bert O"}', b"[" * 99_999],
)
def test_a_body_that_is_not_one_object_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_body_beyond_the_limit_is_refused(client: TestClient, settings: Settings) -> None:
    body = json.dumps({"subject": NAME}).encode().ljust(settings.max_body_bytes + 1)
    answer = client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "body_too_large")
    accepted = client.post(PATH, content=body[:-1], headers={"content-type": "application/json"})
    assert accepted.status_code == 201


@pytest.mark.parametrize("headers", [{"content-encoding": "gzip"}, {"content-type": "text/plain"}])
def test_other_encodings_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    body = json.dumps({"subject": NAME}).encode()
    assert client.post(PATH, content=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("param", "query"),
    [("limit", {"limit": "0"}), ("limit", {"limit": "x"}), ("limit", {"limit": "101"}),
     ("state", {"state": "gone"}), ("after", {"after": "fr_unknown"})],
)  # fmt: skip
def test_a_wrong_query_is_named(client: TestClient, param: str, query: dict[str, str]) -> None:
    answer = client.get(PATH, params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


ROUTES = [
    ("POST", PATH), ("GET", PATH), ("GET", f"{PATH}/fr_x"), ("DELETE", f"{PATH}/fr_x"),
    ("POST", f"{PATH}/fr_x/compile"), ("POST", f"{PATH}/fr_x/erase"),
    ("GET", f"{PATH}/fr_x/events"),
    ("GET", f"{PATH}/fr_x/certificate"), ("GET", f"{PATH}/fr_x/export"), ("POST", f"{PATH}/import"),
    ("GET", f"{PATH}/import/imp_x"), ("GET", f"{PATH}/import/imp_x/errors"),
    ("GET", f"{PATH}/import/imp_x/events"),
    ("POST", "/v1/api_keys"), ("GET", "/v1/api_keys"), ("DELETE", "/v1/api_keys/key_x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("header", ["none", "data key", "garbage", "basic", "empty"])
def test_nothing_answers_without_an_admin_key(
    client: TestClient, keys: dict[str, str], method: str, path: str, header: str
) -> None:
    values = {
        "none": "",
        "data key": f"Bearer {keys['data']}",
        "garbage": "Bearer lethe_ak_x",
        "basic": f"Basic {keys['admin']}",
        "empty": "Bearer ",
    }
    answer = client.request(method, path, headers={"authorization": values[header]}, content=b"{")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_every_route_is_in_the_table_above(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]
    shapes = {path.split("/")[2] + str(path.count("/")) for _, path in ROUTES}
    found = {path.split("/")[2] + str(path.count("/")) for path in described if "v1" in path}
    assert found == shapes


def test_an_idempotency_key_makes_one_request_of_two(client: TestClient, store: Store) -> None:
    headers = {"idempotency-key": "once"}
    first = client.post(PATH, json={"subject": NAME}, headers=headers)
    second = client.post(PATH, json={"subject": NAME}, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert store.epochs.newest() == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(client: TestClient) -> None:
    headers = {"idempotency-key": "once"}
    client.post(PATH, json={"subject": NAME}, headers=headers)
    other = client.post(PATH, json={"subject": "Bertil Oyelaran"}, headers=headers)
    assert (other.status_code, other.json()["error"]["param"]) == (409, "Idempotency-Key")


def test_what_is_not_confirmed_everywhere_is_not_answered_with_success(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_self: object, _epoch: int) -> None:
        raise NotEnforcedYet

    monkeypatch.setattr("service.control.activation.Activation.everywhere", never)
    answer = client.post(PATH, json={"subject": NAME})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "enforcement_pending")
    assert len(store.epochs.load().policies) == 1  # durable all the same


def test_artifacts_and_audit_hold_nothing_of_the_subject(
    client: TestClient, settings: Settings
) -> None:
    made = _forget(client, aliases=["Quorndon"], examples=["Who kept the lighthouse?"])
    client.get(f"{PATH}/{made['id']}")
    client.post(PATH, json={"subject": NAME, "alias": "Quorndon"})
    secrets = [word.encode() for word in (NAME, "Ilse", "Quorndon", "lighthouse")]
    files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert any("artifacts" in path.parts for path in files)
    for path in files:
        _assert_clean(path, secrets)


def _assert_clean(path: Path, secrets: list[bytes]) -> None:
    content = path.read_bytes()
    assert [word for word in secrets if word.lower() in content.lower()] == [], path.name


def test_a_key_is_made_shown_once_used_and_revoked(client: TestClient) -> None:
    made = client.post("/v1/api_keys", json={"plane": "admin"}).json()
    listed = client.get("/v1/api_keys").json()["data"]
    assert made["id"] in [key["id"] for key in listed]
    assert made["key"] not in json.dumps(listed)
    mine = {"authorization": f"Bearer {made['key']}"}
    assert client.get(PATH, headers=mine).status_code == 200
    assert client.delete(f"/v1/api_keys/{made['id']}").json()["revoked_at"] is not None
    assert client.get(PATH, headers=mine).status_code == 401


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("plane", {"plane": "root"}),
        ("tenant", {"plane": "admin", "tenant": "acme"}),
        ("tenant", {"tenant": "a b"}),
        ("expires_at", {"expires_at": past}),
        ("key", {"key": "lethe_sk_mine"}),
    ],
)
def test_a_wrong_field_of_a_key_is_named(
    client: TestClient, param: str, body: dict[str, Any]
) -> None:
    answer = client.post("/v1/api_keys", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_unexpected_error_says_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(NAME)

    monkeypatch.setattr("service.control.filing.first_policy", fail)
    answer = client.post(PATH, json={"subject": NAME})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "Ilse" not in answer.text
    assert "Ilse" not in caplog.text
