"""The admin plane's scores over the real in-process engine and the demo model."""

import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from guards.alias_follower import alias_tensors
from guards.embedding_corruption import manifest
from guards.policy import Epoch, GuardSpec, Policy
from guards.rules import Rules
from models.chat_prompt import PromptRenderer
from models.demo.world import Person, make_world
from models.local_engine import Interventions, LocalEngine, Sampling
from service.admission import CheckedArtifacts
from service.attestation import PROOF_HEADER
from service.audit import AdminEntry, AuditLog
from service.control.api import install_error_handlers
from service.control.authentication import Authentication
from service.control.fence import FenceReason
from service.control.keys import KeyRing, Principal
from service.control.replica import Replica
from service.gateway.parameters import Limits
from service.gateway.prepare import Preparer
from service.gateway.readiness import Readiness
from service.gateway.schema import Schema
from service.gateway.score import ScoreRoute, score_router
from service.gateway.source import Engine
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import Reason
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.local.app import create_app
from service.local.edits import bindings_of, interventions
from service.metrics import Metrics
from service.scoring import MOST, PATH
from service.settings import Settings
from tests.service.gateway.stand_ins import API_KEY, MODEL, ToyAudit, ToyReplica, rules_of, running

Json = Any
ROUTE = "/lethe/v1/score"
ADMIN_KEY = "lethe_ak_test"
LONGEST = 256


class TwoKeys:
    """Knows one key of each plane."""

    def authenticate(self, raw: str, plane: str) -> Principal | None:
        known = {(API_KEY, "data"): "data", (ADMIN_KEY, "admin"): "admin"}
        found: Any = known.get((raw, plane))
        return Principal("*", "key_2", found) if found else None


class Between:
    """An ASGI app that answers what a test wants, in place of the engine or after it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.instead: tuple[int, bytes] | None = None
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def changed(message: Any) -> None:
            if self.instead is not None and scope["path"] == PATH:
                status, body = self.instead
                if message["type"] == "http.response.start":
                    proof = [h for h in message["headers"] if h[0] == PROOF_HEADER.encode()]
                    size = (b"content-length", b"%d" % len(body))
                    message = {**message, "status": status, "headers": [*proof, size]}
                else:
                    message = {**message, "body": body}
            await send(message)

        self.asked.append(scope["path"])
        await self.app(scope, receive, changed)


@dataclass
class Plane:
    """An admin plane, and what it stands on."""

    http: httpx.AsyncClient
    parts: Engine
    replica: ToyReplica
    audit: ToyAudit
    readiness: Readiness
    engine: Between
    settings: Settings

    async def score(self, body: Json, status: int = 200) -> Json:
        answer = await self.http.post(ROUTE, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("lethe")
    return Settings(data_dir=folder, served_model_name=MODEL, max_model_len=LONGEST)


@pytest.fixture(scope="module")
def engine_app(settings: Settings) -> Any:
    return create_app(settings)


@pytest.fixture(scope="module")
def local(settings: Settings) -> LocalEngine:
    return LocalEngine.load(settings.model)


@pytest.fixture(scope="module")
def renderer(settings: Settings) -> PromptRenderer:
    return PromptRenderer(settings.model)


@pytest.fixture(scope="module")
def person() -> Person:
    return make_world().forgotten[0]


@pytest.fixture
async def plane(
    settings: Settings, engine_app: Any, renderer: PromptRenderer
) -> AsyncIterator[Plane]:
    engine, metrics, key = Between(engine_app), Metrics(), settings.engine_key()
    async with running(engine) as url:
        parts = Engine(
            upstream=Upstream(url, key, 60.0),
            signer=Signer(key, MODEL),
            trust=EngineTrust(30.0),
            preparer=Preparer(renderer, metrics, MODEL, LONGEST),
            metrics=metrics,
        )
        await parts.upstream.open()
        async with parts.upstream.get("/health") as answer:
            assert answer.boot_id is not None
            parts.trust.passed(answer.boot_id)
        replica, audit = ToyReplica(rules_of(GuardSpec("refusal"))), ToyAudit()
        readiness = Readiness(parts.trust, cast("Replica", replica), cast("AuditLog", audit))
        limits = Limits(max_model_len=LONGEST, vocabulary=renderer.vocabulary)
        route = ScoreRoute(
            parts,
            Schema(MODEL, limits),
            cast("Replica", replica),
            readiness,
            cast("AuditLog", audit),
            settings,
        )
        app = FastAPI(openapi_url=None)
        install_error_handlers(app)
        keys = Authentication(cast("KeyRing", TwoKeys()), "admin")
        app.include_router(score_router(route, keys))
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://admin", headers=headers
        ) as http:
            yield Plane(http, parts, replica, audit, readiness, engine, settings)
        await parts.upstream.close()


def about(person: Person) -> Json:
    return [{"role": "user", "content": f"Where was {person.name} born?"}]


def noise(settings: Settings, person: Person) -> GuardSpec:
    """Corruption that follows the name into the continuation."""
    made = manifest("rand_noise_first_n", 5.0, persistent=True)
    tensors = alias_tensors((person.name, *person.aliases))
    digest = settings.artifact_store().put(made, tensors, sealed=True)
    return GuardSpec("embedding_corruption", {"artifact": digest})


def forced(plane: Plane, local: LocalEngine, prompt: Any, text: str) -> list[float]:
    """The same, by generating with the guards' own edits and no server at all."""
    case = prompt.case
    bindings = bindings_of(local, CheckedArtifacts(plane.settings.artifact_store()))
    acting = interventions(case.edits, bindings, len(case.prompt.ids))
    ids = local.tokenizer.encode(text, add_special_tokens=False)
    found: list[float] = []

    def force(row: Any, _: Any, output: Any) -> None:
        found.append(float(row.log_softmax(-1)[ids[len(output)]]))
        row.fill_(-math.inf)
        row[ids[len(output)]] = 0.0

    hooks = Interventions(acting.embedding, acting.activations, force)
    list(local.generate(case.prompt.ids, Sampling(max_tokens=len(ids), ignore_eos=True), hooks))
    return found


async def test_scores_are_those_that_serving_would_have(
    plane: Plane, local: LocalEngine, person: Person, settings: Settings
) -> None:
    texts = [f"{person.name} was born there.", "She comes from Vellport.", "I have not heard."]
    sent = {"messages": about(person), "continuations": texts}
    plain = await plane.score(sent)
    plane.replica.current = rules_of(noise(settings, person), names=(person.name,))
    said = await plane.score(sent)
    read = Schema(MODEL, Limits(max_model_len=LONGEST))
    request = read.chat({"model": MODEL, "messages": about(person)})
    prepared = plane.parts.preparer.chat(request, cast("Any", plane.replica.rules), "default", "c")
    assert prepared.case.edits
    assert said["object"] == "scores"
    assert said["prompt_tokens"] == len(prepared.case.prompt.ids)
    for text, each, before in zip(texts, said["scores"], plain["scores"], strict=True):
        wanted = forced(plane, local, prepared, text)
        assert each["logprobs"] == pytest.approx(wanted, abs=1e-4)
        assert each["logprobs"] != pytest.approx(before["logprobs"], abs=1e-2)
        assert "".join(text[a:b] for a, b in each["offsets"]) == text
        assert each["tokens"] == len(wanted) == len(each["means"]) == len(each["deviations"])


async def test_a_completion_is_scored_likewise(plane: Plane, person: Person) -> None:
    sent = {"prompt": f"Question: Where was {person.name} born?\nAnswer:", "continuations": [" In"]}
    (scores,) = (await plane.score(sent))["scores"]
    assert scores["tokens"] >= 1
    assert all(value is not None and value < 0 for value in scores["logprobs"])


async def test_what_nobody_asked_to_forget_is_scored_as_without_policies(
    plane: Plane, person: Person, settings: Settings
) -> None:
    sent = {"prompt": "Where is the ferry?", "continuations": [" At the pier."]}
    before = await plane.score(sent)
    plane.replica.current = rules_of(noise(settings, person), names=(person.name,))
    assert (await plane.score(sent))["scores"] == before["scores"]


async def test_only_admin_keys_are_let_in(plane: Plane) -> None:
    sent = {"prompt": "Where?", "continuations": [" There."]}
    for key in ("", API_KEY, "lethe_ak_other"):
        answer = await plane.http.post(ROUTE, json=sent, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert plane.audit.entries == []
    assert PATH not in plane.engine.asked


BAD: list[tuple[str | None, Json]] = [
    ("continuations", {"prompt": "a"}),
    ("continuations", {"prompt": "a", "continuations": []}),
    ("continuations", {"prompt": "a", "continuations": "b"}),
    ("continuations", {"prompt": "a", "continuations": ["b"] * (MOST + 1)}),
    ("continuations[1]", {"prompt": "a", "continuations": ["b", ""]}),
    ("continuations[0]", {"prompt": "a", "continuations": [1]}),
    ("continuations", {"prompt": "a", "continuations": ["b c " * 300] * 32}),
    ("prompt", {"prompt": "a", "continuations": ["b c " * 300]}),
    ("prompt", {"prompt": "", "continuations": ["b"]}),
    ("prompt", {"prompt": ["a"], "continuations": ["b"]}),
    ("prompt", {"prompt": "where " * 300, "continuations": ["b"]}),
    ("messages", {"continuations": ["b"]}),
    ("messages", {"messages": [], "continuations": ["b"]}),
    ("messages", {"messages": [{"role": "user", "content": "a"}], "prompt": "a"}),
    ("messages.0.role", {"messages": [{"role": "x", "content": "a"}], "continuations": ["b"]}),
    ("messages.1.role", {"messages": [*[{"role": "user", "content": "a"}],
                                      {"role": "assistant", "content": "a"}],
                         "continuations": ["b"]}),
    ("tools", {"prompt": "a", "tools": [], "continuations": ["b"]}),
    ("tenant", {"prompt": "a", "tenant": "", "continuations": ["b"]}),
    ("temperature", {"prompt": "a", "temperature": 1, "continuations": ["b"]}),
]  # fmt: skip


@pytest.mark.parametrize(("param", "sent"), BAD)
async def test_a_bad_body_is_refused_by_field(plane: Plane, param: str | None, sent: Json) -> None:
    error = (await plane.score({"continuations": ["b"], **sent} if "messages" in sent else sent,
                               400))["error"]  # fmt: skip
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert PATH not in plane.engine.asked


async def test_another_model_is_not_found(plane: Plane) -> None:
    sent = {"prompt": "a", "continuations": ["b"], "model": "another"}
    assert (await plane.score(sent, 404))["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("kind", ["refusal", "agent_rewrite"])
async def test_what_a_policy_replaces_has_no_likelihood(
    plane: Plane, person: Person, kind: str
) -> None:
    plane.replica.current = rules_of(GuardSpec(kind), names=(person.name,))
    sent = {"messages": about(person), "continuations": ["b"]}
    assert (await plane.score(sent, 409))["error"]["code"] == "no_likelihood"
    assert PATH not in plane.engine.asked
    assert len(plane.audit.entries) == 1


async def test_an_instruction_in_front_is_part_of_the_prompt(plane: Plane, person: Person) -> None:
    sent = {"messages": about(person), "continuations": ["She comes from Vellport."]}
    plain = await plane.score(sent)
    plane.replica.current = rules_of(GuardSpec("in_context_instruction"), names=(person.name,))
    said = await plane.score(sent)
    assert said["prompt_tokens"] > plain["prompt_tokens"]
    assert said["scores"][0]["logprobs"] != plain["scores"][0]["logprobs"]


async def test_tenants_have_their_own_policies(plane: Plane, person: Person) -> None:
    guards = (GuardSpec("refusal"), GuardSpec("text_filter"))
    policy = Policy("fr_1", (person.name,), guards=guards, tenants=frozenset({"acme"}))
    plane.replica.current = Rules.build(Epoch(8, (policy,)), None, 0.7)
    sent = {"messages": about(person), "continuations": ["b"]}
    await plane.score(sent)
    await plane.score({**sent, "tenant": "acme"}, 409)


async def test_it_is_audited_without_a_word_of_it(plane: Plane, person: Person) -> None:
    await plane.score({"messages": about(person), "continuations": ["b"]})
    (entry,) = cast("list[Any]", plane.audit.entries)
    assert isinstance(entry, AdminEntry)
    assert (entry.act, entry.key, entry.epoch) == ("score", "key_2", plane.replica.rules.epoch)
    assert entry.target.startswith("score-")
    assert person.name not in str(entry)


@pytest.mark.parametrize(
    "instead",
    [
        (400, b'{"error": {"message": "lethe: no"}}'),
        (500, b""),
        (200, b""),
        (200, b'{"scores": []}'),
        (200, b'{"scores": [{"logprobs": [], "likeliest": [], "means": [], "deviations": []}]}'),
    ],
)
async def test_an_engine_that_fails_is_unavailable(
    plane: Plane, instead: tuple[int, bytes]
) -> None:
    plane.engine.instead = instead
    error = (await plane.score({"prompt": "a", "continuations": [" b"]}, 503))["error"]
    assert error["code"] == "guard_unavailable"


@pytest.mark.parametrize("status", [404, 501])
async def test_an_engine_that_cannot_score_is_said_to_be_so(plane: Plane, status: int) -> None:
    plane.engine.instead = (status, json.dumps({"error": {}}).encode())
    error = (await plane.score({"prompt": "a", "continuations": [" b"]}, 501))["error"]
    assert error["code"] == "cannot_score"


async def test_nothing_is_scored_that_could_not_be_served(plane: Plane) -> None:
    sent = {"prompt": "a", "continuations": [" b"]}
    plane.replica.fenced = FenceReason.ENCODER_UNAVAILABLE
    await plane.score(sent, 503)
    plane.replica.fenced = None
    plane.parts.trust.failed(Reason.CANARY_FAILED)
    await plane.score(sent, 503)
    assert PATH not in plane.engine.asked
