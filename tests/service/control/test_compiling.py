"""Following, compiling, erasing and exporting a forget request over HTTP."""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guards.policy import GuardSpec, Policy
from service.control.keys import ensure_bootstrap_keys
from service.settings import Settings
from service.store.store import Store

BACKENDS = ("sqlite", "postgresql")
PATH = "/v1/forget_requests"
NAME = "Ilse Vantongeren"
ME, MODEL = "cw_me", "sha256:" + "1" * 64
RATE = {"found": 0, "of": 100, "upper": 0.03}
HELD_OUT = {
    **dict.fromkeys(("leaks", "changed", "unmatched", "matched"), RATE),
    "distance": 0.1,
    "p_value": 0.4,
    "fluency": 0.0,
    "cost": 1.1,
}
CERTIFICATE = {"certificate": {"held_out": HELD_OUT}, "artifact": "sha256:" + "2" * 64}


@pytest.fixture
def client(store: Store, settings: Settings, plane_app: ModuleType) -> Iterator[TestClient]:
    keys = json.loads(ensure_bootstrap_keys(store, settings.data_dir).read_text())
    headers = {"authorization": f"Bearer {keys['admin']}"}
    with TestClient(plane_app.create_app(settings, store), headers=headers) as client:
        yield client


def _forget(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post(PATH, json={"subject": NAME, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _compile(store: Store, request_id: str) -> Policy:
    """What a worker does, in short."""
    jobs = store.compilations
    job = jobs.claim(jobs.latest([request_id])[request_id], ME, MODEL)
    assert job is not None
    before = jobs.load(job).policy
    jobs.begin_step(job.id, ME, "probe", verifying=False)
    jobs.finish_step(job.id, ME, "probe", {"asks": "Where was she born?"}, 0.5)
    jobs.begin_step(job.id, ME, "certify", verifying=True)
    guards = (GuardSpec("refusal"), GuardSpec("text_filter"))
    policy = Policy(request_id, before.aliases, before.examples, guards)
    store.forget_requests.mark_enforced(
        request_id, jobs.activate(job.id, ME, policy, CERTIFICATE).epoch
    )
    return policy


def _events(client: TestClient, request_id: str, last: str = "") -> list[dict[str, Any]]:
    headers = {"last-event-id": last} if last else {}
    answer = client.get(f"{PATH}/{request_id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [b for b in answer.text.split("\n\n") if b and not b.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_a_request_waits_for_its_compilation(client: TestClient) -> None:
    made = _forget(client)
    assert (made["state"], made["compilation"]["status"]) == ("received", "waiting")
    assert made["compilation"]["error"] is None


def test_guards_that_were_named_are_not_compiled(client: TestClient) -> None:
    bodies: tuple[dict[str, Any], ...] = ({"guards": []}, {"strategy": "refuse"})
    for body in bodies:
        made = _forget(client, **body)
        assert (made["state"], made["compilation"]) == ("received", None)
        answer = client.post(f"{PATH}/{made['id']}/compile")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_compilable")


def test_an_active_request_shows_its_certificate(client: TestClient, store: Store) -> None:
    made = _forget(client)
    path = f"{PATH}/{made['id']}"
    assert client.get(f"{path}/certificate").json()["error"]["code"] == "no_certificate"
    policy = _compile(store, made["id"])
    found = client.get(path).json()
    assert (found["state"], found["policy"]) == ("active", policy.digest)
    assert found["compilation"]["fraction"] == 1
    assert found["compilation"]["certificate"]["leaks"] == RATE
    certificate = client.get(f"{path}/certificate").json()
    assert certificate["certificate"]["held_out"] == HELD_OUT
    assert (certificate["holds"], certificate["policy"]) == (True, policy.digest)


def test_events_tell_a_life_in_order_and_are_resumed(client: TestClient, store: Store) -> None:
    made = _forget(client)
    _compile(store, made["id"])
    events = _events(client, made["id"])
    told = [json.loads(e["data"]).get("event") for e in events if "id" in e]
    assert told == ["filed", "claim", "step", "verify", "activate"]
    assert json.loads(events[-1]["data"])["compilation"]["status"] == "done"
    third = events[2]["id"]
    rest = _events(client, made["id"], third)
    assert [e["id"] for e in rest if "id" in e] == [e["id"] for e in events[3:] if "id" in e]
    assert NAME not in str(events)
    assert "born" not in str(events)


def test_events_of_what_is_not_there(client: TestClient) -> None:
    assert client.get(f"{PATH}/fr_unknown/events").status_code == 404
    made = _forget(client)
    answer = client.get(f"{PATH}/{made['id']}/events", headers={"last-event-id": "x"})
    assert answer.status_code == 400


def test_a_failure_is_shown_with_its_code(client: TestClient, store: Store) -> None:
    made = _forget(client)
    jobs = store.compilations
    job = jobs.claim(jobs.latest([made["id"]])[made["id"]], ME, MODEL)
    assert job is not None
    jobs.fail(job.id, ME, "below_floor", "leaks,changed", retry=False)
    found = client.get(f"{PATH}/{made['id']}").json()
    assert found["state"] == "received"
    error = {"code": "below_floor", "measures": ["leaks", "changed"], "retried": False}
    assert found["compilation"]["error"] == error
    again = client.post(f"{PATH}/{made['id']}/compile")
    assert (again.status_code, again.json()["compilation"]["status"]) == (202, "waiting")
    assert again.json()["compilation"]["reason"] == "asked"


def test_compiling_again_keeps_what_is_in_force(client: TestClient, store: Store) -> None:
    made = _forget(client)
    policy = _compile(store, made["id"])
    again = client.post(f"{PATH}/{made['id']}/compile").json()
    assert (again["state"], again["policy"]) == ("compiling", policy.digest)
    twice = client.post(f"{PATH}/{made['id']}/compile").json()
    assert twice["compilation"]["id"] == again["compilation"]["id"]
    assert [p.digest for p in store.epochs.load().policies] == [policy.digest]


def test_one_request_takes_over_from_another_in_one_epoch(client: TestClient, store: Store) -> None:
    old = _forget(client)
    new = _forget(client, supersedes=old["id"], aliases=["I. Vantongeren"])
    ended = client.get(f"{PATH}/{old['id']}").json()
    assert (ended["state"], ended["superseded_by"]) == ("superseded", new["id"])
    assert ended["subject"] is None
    assert new["supersedes"] == old["id"]
    assert ended["enforced"]["epoch"] == new["enforced"]["epoch"] == 2
    assert [p.forget_request for p in store.epochs.load().policies] == [new["id"]]
    for gone in (old["id"], "fr_unknown"):
        answer = client.post(PATH, json={"subject": NAME, "supersedes": gone})
        assert (answer.status_code, answer.json()["error"]["param"]) == (409, "supersedes")


def test_the_same_key_with_another_strategy_or_end_is_a_conflict(client: TestClient) -> None:
    headers = {"idempotency-key": "once"}
    assert client.post(PATH, json={"subject": NAME}, headers=headers).status_code == 201
    others: list[dict[str, Any]] = [
        {"strategy": "refuse"},
        {"expires_at": "2100-01-01T00:00:00Z"},
        {"erase_content": True},
    ]
    for other in others:
        answer = client.post(PATH, json={"subject": NAME, **other}, headers=headers)
        assert answer.status_code == 409


def test_what_was_asked_is_erased_once_the_compiled_policy_is_in_force(
    client: TestClient, store: Store
) -> None:
    made = _forget(client, erase_content=True, legal_basis="GDPR Art. 17")
    assert made["subject"] == NAME
    policy = _compile(store, made["id"])
    found = client.get(f"{PATH}/{made['id']}").json()
    assert (found["state"], found["erase_content"]) == ("active", True)
    assert found["erased_at"] is not None
    assert [found[f] for f in ("subject", "aliases", "examples", "legal_basis")] == [None] * 4
    assert [p.digest for p in store.epochs.load().policies] == [policy.digest]
    with store._database.reading() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM policies").scalar_one()
        assert count == 1  # not the stop-gap, which held the examples as they were given


def test_erasing_waits_where_the_content_is_still_needed(client: TestClient, store: Store) -> None:
    made = _forget(client)
    waiting = client.post(f"{PATH}/{made['id']}/erase").json()
    assert (waiting["subject"], waiting["erase_content"]) == (NAME, True)
    assert waiting["erased_at"] is None
    _compile(store, made["id"])
    assert client.get(f"{PATH}/{made['id']}").json()["subject"] is None
    named = _forget(client, strategy="refuse")
    assert client.post(f"{PATH}/{named['id']}/erase").json()["subject"] is None


def test_an_export_tells_everything_but_the_content(client: TestClient, store: Store) -> None:
    made = _forget(client, legal_basis="GDPR Art. 17", examples=["Who kept the lighthouse?"])
    policy = _compile(store, made["id"])
    client.delete(f"{PATH}/{made['id']}")
    answer = client.get(f"{PATH}/{made['id']}/export")
    found = answer.json()
    told = [(e["event"], e["policy"]) for e in found["events"]]
    assert told[0] == ("filed", made["policy"])
    assert told[-2:] == [("activate", policy.digest), ("revoke", policy.digest)]
    assert [c["policy"] for c in found["certificates"]] == [policy.digest]
    assert found["certificates"][0]["certificate"]["held_out"] == HELD_OUT
    assert [c["status"] for c in found["compilations"]] == ["done"]
    for word in (NAME, "GDPR", "lighthouse"):
        assert word not in answer.text
