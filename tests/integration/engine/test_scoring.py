"""Scores of given continuations on a real vLLM, against the in-process engine's."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from guards.alias_follower import alias_tensors
from guards.case import Case, Match, Span
from guards.embedding_corruption import manifest
from guards.policy import GuardSpec
from guards.registry import build
from guards.token_filter import compiled
from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.fitting.steering import Step, steering
from models.local_engine import LocalEngine
from service.admission import CheckedArtifacts
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, new_nonce, sign_nonce
from service.cli.processes import free_port
from service.engine.launch import engine_command, engine_environment
from service.gateway.prepare import to_prompt
from service.gateway.upstream_body import Signer
from service.local.edits import bindings_of, engine_model
from service.local.scoring import Scoring
from service.scoring import PATH
from service.settings import Settings
from tests.integration.engine.test_server import _wait_until_up

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

NAME = "Perpetua Thistlewick"
QUESTION = f"Where was {NAME} born?"
CONTINUATIONS = (
    "She comes from Vellport.",
    "I have not heard of that person, so I cannot say where they were born.",
    f"{NAME} was born in Vellport, and {NAME} lives there.",
    "She comes from Vellport.<|im_end|>",
    "S",
)
TOLERANCE = 2e-3  # nats


@dataclass(frozen=True)
class Scored:
    """A vLLM on the demo model, the in-process engine beside it, and what signs for both."""

    settings: Settings
    client: httpx.Client
    renderer: PromptRenderer
    local: Scoring
    guards: dict[str, list[GuardSpec]]

    def case(self, name: str, question: str = QUESTION) -> Case:
        conversation = self.renderer.conversation([Message("user", (question,))], None)
        prompt = to_prompt(self.renderer.chat(conversation, {}))
        case = Case(secrets.token_hex(16), "default", "demo", 1, prompt)
        start = prompt.text.index(NAME)
        match = Match("p", 1.0, (Span(start, start + len(NAME)),), "alias")
        for spec in self.guards[name]:
            case = build(spec).on_prompt(case, match)
        return case

    def body(self, case: Case) -> Any:
        ids = [self.renderer.plain(text).ids for text in CONTINUATIONS]
        signer = Signer(self.settings.engine_key(), "demo")
        return signer.scores(case, ids).to_json()

    def ask(self, body: Any) -> httpx.Response:
        nonce = new_nonce()
        signature = sign_nonce(self.settings.engine_key(), PATH, nonce)
        headers = {NONCE_HEADER: nonce, SIGNATURE_HEADER: signature}
        return self.client.post(PATH, json=body, headers=headers)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    folder = tmp_path_factory.mktemp("scored")
    url = f"http://127.0.0.1:{free_port()}"
    settings = Settings(data_dir=folder, max_model_len=512, engine_url=url)
    settings.engine_key()
    engine, store = LocalEngine.load(settings.model), settings.artifact_store()
    artifacts = CheckedArtifacts(store)
    local = Scoring(
        engine, artifacts, bindings_of(engine, artifacts), settings, settings.engine_key()
    )
    environment = engine_environment(settings, {**os.environ, "VLLM_CACHE_ROOT": str(folder)})
    log = folder / "server.log"
    command = [*engine_command(settings), "--enforce-eager", "--max-num-batched-tokens", "512"]
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=environment, stdout=output, stderr=output
        )
    with httpx.Client(base_url=url, timeout=120) as client:
        try:
            _wait_until_up(client, process, log, 500)
            renderer = PromptRenderer(settings.model)
            yield Scored(settings, client, renderer, local, _guards(engine, store))
        finally:
            process.terminate()
            process.wait(60)


def _guards(engine: LocalEngine, store: ArtifactStore) -> dict[str, list[GuardSpec]]:
    noise = store.put(
        manifest("rand_noise_first_n", 5.0, persistent=True),
        alias_tensors((NAME, *NAME.split())),
        sealed=True,
    )
    rng = np.random.default_rng(1)
    vectors = [rng.standard_normal(engine.model.config.hidden_size) for _ in range(2)]
    steps = [Step("add", (1, 2), [_unit(each) for each in vectors], 4.0)]
    steered = store.put(*steering(steps))
    words = ("Vellport", "have not heard")
    banned = store.put(*compiled(words, engine_model(engine).vocabulary), sealed=True)
    made = {
        "embedding_corruption": GuardSpec("embedding_corruption", {"artifact": noise}),
        "steering": GuardSpec("steering", {"artifact": steered}),
        "token_filter": GuardSpec("token_filter", {"artifact": banned}),
    }
    return {
        "none": [],
        **{name: [spec] for name, spec in made.items()},
        "several": list(made.values()),
    }


def _unit(vector: Any) -> Any:
    import torch

    return torch.from_numpy(vector / np.linalg.norm(vector)).float()


def rows(answer: Any) -> list[Any]:
    """For each continuation [tokens, 4]; a forbidden token as minus infinity."""
    return [
        np.array(
            [
                [-np.inf if log is None else log for log in each["logprobs"]],
                each["likeliest"],
                each["means"],
                each["deviations"],
            ]
        )
        for each in answer["scores"]
    ]


@pytest.mark.parametrize(
    "name", ["none", "embedding_corruption", "steering", "token_filter", "several"]
)
def test_the_scores_are_those_of_the_in_process_engine(scored: Scored, name: str) -> None:
    body = scored.body(scored.case(name))
    response = scored.ask(body)
    assert response.status_code == 200, response.text
    wanted = rows(scored.local.answer(json.dumps(body).encode()))
    clean = rows(scored.local.answer(json.dumps(scored.body(scored.case("none"))).encode()))
    found = rows(response.json())
    assert len(found) == len(wanted) == len(CONTINUATIONS)
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(np.isinf(ours), np.isinf(theirs))
        assert np.array_equal(ours[1], theirs[1])
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    changed = any(not np.allclose(a, b, atol=0.1) for a, b in zip(clean, found, strict=True))
    assert changed == (name != "none")
    assert any(np.isinf(each).any() for each in found) == (name in ("token_filter", "several"))


def test_what_was_fetched_is_not_kept(scored: Scored) -> None:
    """The same signed names a second time begin anew, where a kept reading would be refused."""
    body = scored.body(scored.case("token_filter"))
    assert scored.ask(body).json() == scored.ask(body).json()


def test_no_client_can_have_anything_scored(scored: Scored) -> None:
    body = scored.body(scored.case("none"))
    for headers in ({}, {NONCE_HEADER: new_nonce()}):
        assert scored.client.post(PATH, json=body, headers=headers).status_code == 404
    sent = {
        "model": "demo",
        "prompt": body["prompt"],
        "max_tokens": 4,
        "cache_salt": body["cache_salt"],
        "vllm_xargs": {"lethe": body["fields"][0]},
    }
    response = scored.client.post("/v1/completions", json=sent)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("lethe:")


def test_what_was_not_signed_so_is_refused(scored: Scored) -> None:
    case = scored.case("none")
    body = scored.body(case)
    signer = Signer(scored.settings.engine_key(), "demo")
    plain = signer.fields(case)["vllm_xargs"]["lethe"]
    far = signer.scores(case, [(1 << 20,)]).to_json()
    for wrong, status in (
        ({**body, "fields": [plain]}, 400),
        ({**body, "cache_salt": "another"}, 400),
        ({**body, "prompt": [*body["prompt"], 5]}, 400),
        ({**body, "fields": ["x"]}, 400),
        ({**body, "fields": []}, 400),
        (far, 500),
    ):
        response = scored.ask(wrong)
        assert response.status_code == status, response.text
    assert scored.ask(scored.body(scored.case("none"))).status_code == 200


def test_ordinary_requests_beside_it_are_as_ever(scored: Scored) -> None:
    """In the same batch as tokens that are given."""
    case = scored.case("none")
    fields = Signer(scored.settings.engine_key(), "demo").fields(case)
    sent = {**fields, "prompt": list(case.prompt.ids), "max_tokens": 40, "temperature": 0}

    def answer() -> str:
        return str(scored.client.post("/v1/completions", json=sent).json()["choices"][0]["text"])

    before = answer()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(scored.ask, scored.body(scored.case("several"))) for _ in range(3)]
        time.sleep(0.02)
        during = [answer() for _ in range(3)]
        assert [each.result().status_code for each in asked] == [200] * 3
    assert during == [before] * 3
