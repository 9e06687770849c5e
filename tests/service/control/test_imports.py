"""Many forget requests in one upload."""

import json
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.audit import AuditLog
from service.control import import_routes, import_runner
from service.control.activation import Activation
from service.control.engine_abilities import EngineAbilities
from service.control.import_runner import ImportRunner
from service.control.keys import ensure_bootstrap_keys
from service.control.stopgap import stop_gap_artifact
from service.settings import Settings
from service.store.imports import ImportLost
from service.store.store import Store

BACKENDS = ("sqlite", "postgresql")
PATH = "/v1/forget_requests/import"
JSONL = {"content-type": "application/jsonl"}
NAME = "Ilse Vantongeren"


@pytest.fixture
def client(store: Store, settings: Settings, plane_app: ModuleType) -> Iterator[TestClient]:
    keys = json.loads(ensure_bootstrap_keys(store, settings.data_dir).read_text())
    headers = {"authorization": f"Bearer {keys['admin']}"}
    with TestClient(plane_app.create_app(settings, store), headers=headers) as client:
        yield client


def _lines(*rows: Any) -> bytes:
    return b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows)


def _posted(client: TestClient, content: bytes, **headers: str) -> dict[str, Any]:
    answer = client.post(PATH, content=content, headers={**JSONL, **headers})
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


def _done(client: TestClient, import_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = client.get(f"{PATH}/{import_id}").json()
        if found["status"] == "done":
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_row_is_enforced_or_refused_by_number(client: TestClient, store: Store) -> None:
    made = _posted(
        client,
        _lines(
            {"subject": f"{NAME} 1"},
            {"subject": "the"},
            b"",
            {"subject": f"{NAME} 2", "aliases": ["I. V. Two"], "strategy": "refuse"},
            b"{",
            b"\xff",
            {"subject": f"{NAME} 3", "idempotency_key": "k"},
            {"subject": f"{NAME} 4", "idempotency_key": "k"},
            {"subject": f"{NAME} 3", "idempotency_key": "k"},
            {"subject": f"{NAME} 5", "supersedes": "fr_unknown"},
            {"subject": f"{NAME} 6", "alias": [NAME]},
            {"subject": f"{NAME} 7", "idempotency_key": ""},
            {"subject": "Vantongeren", "guards": [{"kind": "steer"}]},
        ),
    )
    found = _done(client, made["id"])
    assert (found["rows"], found["accepted"], found["refused"]) == (12, 4, 8)
    errors = {e["row"]: (e["param"], e["code"]) for e in found["errors"]}
    assert errors == {
        2: ("subject", "invalid_value"),
        5: (None, None),
        6: (None, None),
        8: ("idempotency_key", "key_reused"),
        10: ("supersedes", "not_in_force"),
        11: ("alias", "unknown_field"),
        12: (None, "invalid_value"),
        13: ("guards[0].kind", "unknown_guard"),
    }
    assert "Vantongeren" not in json.dumps(found)
    names = {p.aliases[0] for p in store.epochs.load().policies}
    assert names == {f"{NAME} {number}" for number in (1, 2, 3)}
    listed = client.get("/v1/forget_requests").json()["data"]
    assert all(each["enforced"]["since"] for each in listed)
    while (answer := client.get("/enforced", params={"text": f"{NAME} 2"})).status_code == 503:
        time.sleep(0.05)  # on a busy machine the replica may have lost its lease meanwhile
    assert answer.json() is True


def test_an_upload_is_kept_once(client: TestClient, store: Store) -> None:
    content = _lines({"subject": NAME})
    first = _posted(client, content, **{"idempotency-key": "once"})
    again = client.post(PATH, content=content, headers={**JSONL, "idempotency-key": "once"})
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    other = client.post(PATH, content=b"{}", headers={**JSONL, "idempotency-key": "once"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")
    _done(client, first["id"])
    assert len(store.epochs.load().policies) == 1


@pytest.mark.parametrize(
    ("content", "headers", "code"),
    [
        (b"", {}, "no_rows"),
        (b"\n \n", {}, "no_rows"),
        (b"{}\n" * 4, {}, "too_many_rows"),
        (b"x" * 300, {}, "body_too_large"),
        (b"{}\n" + b"x" * 300 + b"\n{}", {}, "body_too_large"),
        (b"{}", {"content-type": "application/json"}, "unsupported_media_type"),
        (b"{}", {"content-encoding": "gzip"}, "unsupported_encoding"),
    ],
)
def test_an_upload_that_is_none_is_refused(
    store: Store,
    settings: Settings,
    plane_app: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    headers: dict[str, str],
    code: str,
) -> None:
    monkeypatch.setattr(import_routes, "MAX_ROWS", 3)
    small = settings.model_copy(update={"max_body_bytes": 200})
    keys = json.loads(ensure_bootstrap_keys(store, settings.data_dir).read_text())
    admin = {"authorization": f"Bearer {keys['admin']}"}
    with TestClient(plane_app.create_app(small, store), headers=admin) as client:
        answer = client.post(PATH, content=content, headers={**JSONL, **headers})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert store.imports.under_way() == ()


def test_events_end_when_every_row_is_settled(client: TestClient) -> None:
    made = _posted(client, _lines(*({"subject": f"{NAME} {n}"} for n in range(60))))
    answer = client.get(f"{PATH}/{made['id']}/events")
    told = [json.loads(x[6:]) for x in answer.text.splitlines() if x.startswith("data: ")]
    assert [each["accepted"] for each in told] == sorted(each["accepted"] for each in told)
    assert (told[-1]["status"], told[-1]["accepted"], told[-1]["fraction"]) == ("done", 60, 1.0)
    assert client.get(f"{PATH}/imp_unknown/events").status_code == 404


def test_errors_are_read_in_pages(client: TestClient) -> None:
    made = _posted(client, _lines(*({"subject": "the"} for _ in range(5))))
    _done(client, made["id"])
    first = client.get(f"{PATH}/{made['id']}/errors", params={"limit": 3}).json()
    assert ([e["row"] for e in first["data"]], first["has_more"]) == ([1, 2, 3], True)
    rest = client.get(f"{PATH}/{made['id']}/errors", params={"after": 3}).json()
    assert ([e["row"] for e in rest["data"]], rest["has_more"]) == ([4, 5], False)


def _runner(store: Store, settings: Settings) -> ImportRunner:
    activation = Activation(store, settings.lease_s)
    audit = AuditLog(settings.audit_path)
    return ImportRunner(store, settings, activation, EngineAbilities(), audit)


def test_an_import_is_gone_on_with_where_it_was_left(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(n, json.dumps({"subject": f"{NAME} {n}"}).encode()) for n in range(1, 101)]
    record, _ = store.imports.add(rows, "key_x", None)
    monkeypatch.setattr(import_runner, "_LEAST", 10)
    first, second = _runner(store, settings), _runner(store, settings)
    assert store.imports.claim(record, first.id)
    left = store.imports.rows(record.id, 30)
    corruption = stop_gap_artifact("x", settings, settings.artifact_store())
    first._settle(record.id, "key_x", corruption, left)  # and then it is gone
    second._patience_s = 0.3
    second.start()
    deadline = time.monotonic() + 60
    while store.imports.get(record.id).status != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second.stop()
    found = store.imports.get(record.id)
    assert (found.accepted, found.refused) == (100, 0)
    names = [p.aliases[0] for p in store.epochs.load().policies]
    assert names == [f"{NAME} {n}" for n in range(1, 101)]
    with pytest.raises(ImportLost):
        first._settle(record.id, "key_x", corruption, left)
    assert len(store.epochs.load().policies) == 100


def test_rows_that_were_handled_are_erased(client: TestClient, store: Store) -> None:
    made = _posted(client, _lines({"subject": NAME}, {"subject": "the"}))
    _done(client, made["id"])
    with store._database.reading() as connection:
        query = "SELECT count(*) FROM import_rows WHERE sealed IS NOT NULL"
        assert connection.exec_driver_sql(query).scalar_one() == 0
