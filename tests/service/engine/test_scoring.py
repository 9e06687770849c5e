"""Given tokens are scored on their way through the batch, and fetched once."""

import json
import time
from collections.abc import AsyncGenerator, Sequence
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from guards.case import Edit, Span, digest_of_ids
from guards.signed_edits import SignedEdits
from models.artifact import ArtifactStore
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, sign_nonce
from service.scoring import PATH, AskedScores, token_scores
from service.settings import Settings
from tests.service.engine.test_batched_edits import (  # noqa: F401  (a fixture)
    END,
    KEY,
    _guards,
    requests_of,
    store,
)

torch = pytest.importorskip("torch")

from service.engine import attest, scoring  # noqa: E402 - these import torch
from service.engine.readings import Readings  # noqa: E402
from service.engine.rows import Announced, EverythingDark, Requests, Rows  # noqa: E402
from service.engine.sampling import LogitsEdits, LogitsRow  # noqa: E402

VOCABULARY = 12
PROMPT = [3, 4, 5]


def signed(name: str, forced: Sequence[int], *edits: Edit, key: bytes = KEY) -> str:
    expires = int(time.time()) + 60
    made = SignedEdits(
        name, "m", 1, digest_of_ids(PROMPT), len(PROMPT), "salt", expires, edits, tuple(forced)
    )
    return made.sign(key)


def ban(store: ArtifactStore, how: str = "last") -> Edit:  # noqa: F811
    return Edit("banning", store.put({"how": how}), (Span(0, 1),))


class Batch:
    """Requests whose answers grow; says whose rows come by."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.outputs: dict[str, list[int]] = {}
        self.edits = LogitsEdits(requests, lambda _: self._rows())
        self._draw = torch.Generator().manual_seed(0)

    def add(self, name: str, forced: Sequence[int], *edits: Edit) -> None:
        self.requests.add(Announced(f"{name}-0", signed(name, forced, *edits), PROMPT))
        self.outputs[f"{name}-0"] = []

    def _rows(self) -> list[LogitsRow]:
        found = []
        for row, (name, output) in enumerate(self.outputs.items()):
            found.append(LogitsRow(name, row, lambda output=output: list(output)))  # type: ignore[misc]
        return found

    def step(self, *, chosen: bool = True) -> tuple[Any, Any]:
        """The logits before and after.  chosen: not the end of a chunk within the prompt."""
        logits = torch.randn(len(self.outputs), VOCABULARY, generator=self._draw)
        before = logits.clone()
        self.edits.edit(logits, None)
        if chosen:
            for row, output in enumerate(self.outputs.values()):
                output.append(int(logits[row].argmax()))
        return before, logits


def test_given_tokens_are_chosen_and_scored_by_edited_logits(store: ArtifactStore) -> None:  # noqa: F811
    batch = Batch(requests_of(store))
    batch.add("plain", [7, 7, END, 1])
    batch.add("banned", [7, 7, 5, 1], ban(store))
    batch.add("ordinary", [])
    wanted: dict[str, list[Any]] = {"plain": [], "banned": []}
    batch.step(chosen=False)  # a chunk of the prompt: what is read there is read again
    for step in range(4):
        before, after = batch.step()
        assert torch.equal(after[2], before[2]), "nobody else's row is written"
        wanted["plain"] += token_scores(before[:1], [[7, 7, END, 1][step]])
        if step:
            before[1, [7, 7, 5, 1][step - 1]] = -torch.inf
        wanted["banned"] += token_scores(before[1:2], [[7, 7, 5, 1][step]])
    assert batch.outputs["plain-0"] == [7, 7, END, 1]
    assert batch.outputs["banned-0"] == [7, 7, 5, 1]
    readings = batch.requests.readings
    assert wanted["banned"][1].logprob is None
    for name, each in wanted.items():
        found = readings.taken(name)
        assert found == [list(score) for score in each]
        assert json.loads(json.dumps(found)) == found, "plain types alone cross processes"
        assert readings.taken(name) is None
    assert readings.taken("ordinary") is None


def test_what_is_not_complete_is_not_given_out(store: ArtifactStore) -> None:  # noqa: F811
    batch = Batch(requests_of(store))
    batch.add("short", [7, 8, 9])
    batch.step()
    assert batch.requests.readings.taken("short") is None


@pytest.mark.parametrize("what", ["diverged", "outside", "failing", "dark"])
def test_a_request_that_goes_wrong_goes_dark_alone(
    store: ArtifactStore,  # noqa: F811
    what: str,
) -> None:
    batch = Batch(requests_of(store))
    batch.add("other", [1, 2])
    if what == "failing":
        batch.add("wrong", [9, 2], ban(store, "fail at 9"))
    else:
        batch.add("wrong", [VOCABULARY, 2] if what == "outside" else [9, 2])
    if what == "dark":
        request = batch.requests.get("wrong-0")
        assert request
        batch.requests.darken(request)
    batch.step()
    if what == "diverged":
        batch.outputs["wrong-0"] = [4]
    _, after = batch.step()
    assert int(after[1].argmax()) == END
    assert batch.requests.readings.taken("wrong") is None
    assert len(batch.requests.readings.taken("other") or ()) == 2
    assert batch.requests.counts["dark_failed"] == 1


def test_what_ran_in_a_batch_that_nobody_could_map_is_not_given_out(
    store: ArtifactStore,  # noqa: F811
) -> None:
    batch = Batch(requests_of(store))
    batch.add("one", [7, 8])
    EverythingDark(batch.requests).embed(torch.ones(3, 4))
    batch.step()
    batch.step()
    assert batch.requests.readings.taken("one") is None


@pytest.mark.parametrize("what", ["dark", "unmapped"])
def test_what_was_read_within_the_prompt_is_not_given_out(
    store: ArtifactStore,  # noqa: F811
    what: str,
) -> None:
    batch = Batch(requests_of(store))
    batch.add("one", [7])
    batch.step(chosen=False)  # the only place has a score, but of the middle of the prompt
    if what == "dark":
        request = batch.requests.get("one-0")
        assert request
        batch.requests.darken(request)
        batch.step()
    else:

        def nobody(_context: Any) -> list[LogitsRow]:
            raise RuntimeError

        LogitsEdits(batch.requests, nobody).edit(torch.zeros(1, VOCABULARY), None)
    assert batch.requests.readings.taken("one") is None


def test_a_request_that_is_begun_again_keeps_what_was_read(store: ArtifactStore) -> None:  # noqa: F811
    batch = Batch(requests_of(store))
    batch.add("one", [7, 8])
    batch.step()
    field = batch.requests.get("one-0")
    assert field
    batch.requests.add(Announced("one-0", field.field, PROMPT))
    batch.step()
    assert len(batch.requests.readings.taken("one") or ()) == 2


def test_answers_whose_logits_never_came_by_go_dark(store: ArtifactStore) -> None:  # noqa: F811
    batch = Batch(requests_of(store))
    batch.add("one", [7, 8])
    batch.requests.step([Rows("one-0", 0, 1, len(PROMPT))])
    assert batch.requests.counts["dark_unguarded"] == 1


def test_a_runner_that_asks_is_told_of_given_tokens(store: ArtifactStore) -> None:  # noqa: F811
    requests = requests_of(store)
    field = signed("one", [7])
    assert not requests.concerned(field)
    requests.add(Announced("one-0", field, PROMPT))
    assert requests.concerned(field)


def test_memory_is_bounded_and_names_are_used_once() -> None:
    def begin(readings: Readings, name: str, size: int) -> None:
        readings.begun(SignedEdits.verify(signed(name, [1] * size), KEY, 0))

    readings = Readings(limit=10)
    for name in "abc":
        begin(readings, name, 4)
    assert list(readings._kept) == ["b", "c"]
    with pytest.raises(ValueError, match="cannot be read"):
        begin(readings, "d", 11)
    with pytest.raises(ValueError, match="cannot be read"):
        begin(readings, "c", 1)
    assert readings.taken("b") is readings.taken("c") is None
    assert (len(readings._kept), readings._tokens) == (0, 0)


# --- the door ------------------------------------------------------------------------------------


class Engine:
    """vLLM's client of its engine: generates what was signed, as one worker of two."""

    def __init__(self, *, complete: bool = True, refuses: type[Exception] | None = None) -> None:
        self.asked: list[Any] = []
        self.taken: list[str] = []
        self._complete, self._refuses = complete, refuses

    async def generate(self, prompt: Any, params: Any, name: str) -> AsyncGenerator[Any, None]:
        assert scoring.BY_DOOR.get()
        self.asked.append((prompt, params, name))
        if self._refuses:
            raise self._refuses("what the prompt was")
        yield None

    async def collective_rpc(self, method: str, args: tuple[Any, ...]) -> list[Any]:
        assert method == "lethe_scores"
        self.taken += args[0]
        read = [[-0.5, True, -1.0, 0.25]] if self._complete else None
        return [[None] * len(args[0]), [read] * len(args[0])]


async def ask(
    engine: Engine,
    key: bytes,
    monkeypatch: pytest.MonkeyPatch,
    sent: Any,
    signature_of: str = PATH,
) -> httpx.Response:
    monkeypatch.setattr("service.engine.vllm_0_32.admission_installed", lambda: True)
    monkeypatch.setattr("service.engine.vllm_0_32.refusals", lambda: (ValueError, LookupError))
    monkeypatch.setattr("service.engine.vllm_0_32.scored_request", lambda *asked: (asked, "params"))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("vLLM's own routes are not asked")

    door = attest.Door(application)
    state = SimpleNamespace(state=SimpleNamespace(engine_client=engine))

    async def with_app(scope: Any, receive: Any, send: Any) -> None:
        await door({**scope, "app": state}, receive, send)

    headers = {NONCE_HEADER: "n", SIGNATURE_HEADER: sign_nonce(key, signature_of, "n")}
    transport = httpx.ASGITransport(with_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        return await client.post(PATH, json=sent, headers=headers)


@pytest.fixture
def key(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path))
    return Settings().engine_key()


def body(*fields: str) -> Any:
    return AskedScores(tuple(PROMPT), "salt", fields).to_json()


async def test_each_continuation_runs_as_a_request(
    key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, fields = Engine(), [signed(name, [7, 8], key=key) for name in ("a", "b")]
    answer = await ask(engine, key, monkeypatch, body(*fields))
    one = {"logprobs": [-0.5], "likeliest": [True], "means": [-1.0], "deviations": [0.25]}
    assert (answer.status_code, answer.json()) == (200, {"scores": [one, one]})
    assert engine.asked == [
        ((PROMPT, "salt", field, 2), "params", name)
        for name, field in zip(("a", "b"), fields, strict=True)
    ]
    assert engine.taken == ["a", "b"]
    assert not scoring.BY_DOOR.get()


@pytest.mark.parametrize(
    ("engine", "status"),
    [
        (Engine(complete=False), 500),
        (Engine(refuses=ValueError), 400),
        (Engine(refuses=LookupError), 400),
        (Engine(refuses=RuntimeError), 500),
    ],
)
async def test_what_is_not_read_to_its_end_is_no_answer(
    key: bytes, monkeypatch: pytest.MonkeyPatch, engine: Engine, status: int
) -> None:
    answer = await ask(engine, key, monkeypatch, body(signed("a", [7], key=key)))
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith("lethe:")
    assert "prompt was" not in answer.text
    assert engine.taken == ["a"], "nothing is left behind"


async def test_only_who_holds_the_key_has_anything_scored(
    key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, good = Engine(), signed("a", [7], key=key)
    for sent, route, status in (
        (body(good), attest.STATUS, 404),
        (body(signed("a", [7])), PATH, 400),
        (body(signed("a", [], key=key)), PATH, 400),
        (body(), PATH, 400),
        ([], PATH, 400),
    ):
        assert (await ask(engine, key, monkeypatch, sent, route)).status_code == status
    assert engine.asked == []
