"""vLLM's own server behind our door: what it refuses, what it proves, what it still answers."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from guards.case import Edit, Span
from guards.embedding_corruption import NAME, manifest
from service.attestation import (
    NONCE_HEADER,
    PROOF_HEADER,
    SIGNATURE_HEADER,
    new_nonce,
    proven_boot_id,
    sign_nonce,
)
from service.cli.processes import free_port
from service.engine.launch import engine_command, engine_environment
from service.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

IDS = [256, *b"Where was the woman who keeps the lighthouse born?"]
NAMED = (Span(10, 19),)


@dataclass(frozen=True)
class Server:
    bench: Any
    client: httpx.Client

    def complete(self, body: dict[str, Any], path: str = "/v1/completions") -> httpx.Response:
        return self.client.post(path, json=body)


@pytest.fixture(scope="module")
def server(bench: Any) -> Iterator[Server]:
    port = free_port()
    settings = Settings(
        data_dir=bench.root / "data",
        model=bench.model,
        served_model_name="tiny",
        max_model_len=512,
        engine_url=f"http://127.0.0.1:{port}",
    )
    environment = engine_environment(settings, {**os.environ, **bench.environment})
    log = bench.root / "server.log"
    command = [*engine_command(settings), "--enforce-eager"]
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=environment, stdout=output, stderr=output
        )
    with httpx.Client(base_url=settings.engine_url, timeout=60) as client:
        try:
            _wait_until_up(client, process, log)
            yield Server(bench, client)
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_up(
    client: httpx.Client, process: subprocess.Popen[bytes], log: Any, seconds: float = 300
) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(log.read_text()[-4000:])


def signed_body(bench: Any, *edits: Edit, **changed: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "prompt": IDS,
        "max_tokens": 12,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
        "cache_salt": "salt",
        "vllm_xargs": {"lethe": bench.sign(IDS, "salt", *edits)},
        **changed,
    }


def noise(bench: Any) -> Edit:
    return Edit(NAME, bench.artifacts.put(manifest("rand_noise", 5.0)), NAMED)


def answer_ids(response: httpx.Response) -> list[int]:
    assert response.status_code == 200, response.text
    found: list[int] = response.json()["choices"][0]["token_ids"]
    return found


def test_a_signed_request_runs_and_an_edit_changes_its_answer(server: Server, bench: Any) -> None:
    clean = answer_ids(server.complete(signed_body(bench)))
    edit = noise(bench)
    field = bench.sign(IDS, "edited", edit)
    edited = signed_body(bench, cache_salt="edited", vllm_xargs={"lethe": field})
    assert len(clean) == 12
    assert answer_ids(server.complete(edited)) != clean
    assert answer_ids(server.complete(edited)) == answer_ids(server.complete(edited))
    assert answer_ids(server.complete(signed_body(bench))) == clean


def test_a_chat_runs_on_exactly_the_signed_prompt(server: Server, bench: Any) -> None:
    from transformers import AutoTokenizer

    messages = [{"role": "user", "content": "Who keeps the lighthouse?"}]
    tokenizer = AutoTokenizer.from_pretrained(bench.model)
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer.encode(rendered, add_special_tokens=False)
    body = {
        "model": "tiny",
        "messages": messages,
        "n": 2,
        "max_tokens": 4,
        "temperature": 0.5,
        "cache_salt": "chat",
        "vllm_xargs": {"lethe": bench.sign(ids, "chat", noise(bench))},
    }
    response = server.complete(body, "/v1/chat/completions")
    assert response.status_code == 200, response.text
    assert len(response.json()["choices"]) == 2
    body["messages"] = [{"role": "user", "content": "Who keeps the lighthouse!"}]
    assert server.complete(body, "/v1/chat/completions").status_code == 400


REFUSED: dict[str, Any] = {
    "unsigned": lambda bench: {"vllm_xargs": None},
    "signed with another key": lambda bench: {"vllm_xargs": {"lethe": _forged(bench)}},
    "tampered with": lambda bench: {"vllm_xargs": {"lethe": "A" + bench.sign(IDS, "salt")}},
    "expired": lambda bench: _signed(bench, expires=int(time.time()) - 1),
    "signed for another prompt": lambda bench: {"prompt": [*IDS, 64]},
    "signed for another length": lambda bench: _signed(bench, length=len(IDS) + 1),
    "with another salt": lambda bench: {"cache_salt": "another"},
    "without a salt": lambda bench: {"cache_salt": None},
    "signed for another model": lambda bench: _signed(bench, model="another"),
    "with an unknown guard": lambda bench: _edited(bench, "text_filter", "sha256:" + "0" * 64),
    "with a missing artifact": lambda bench: _edited(bench, NAME, "sha256:" + "0" * 64),
    "with an artifact of another guard": lambda bench: _edited(
        bench, NAME, bench.artifacts.put({"format": 1})
    ),
    "with more extra arguments": lambda bench: {
        "vllm_xargs": {"lethe": bench.sign(IDS, "salt"), "other": 1}
    },
    "with a wish for the prompt's scores": lambda bench: {"prompt_logprobs": 0},
    "with transferred ids": lambda bench: {"kv_transfer_params": {"prompt_token_ids": [5, 6]}},
}
REFUSED_BY_VLLM: dict[str, Any] = {
    "beam search": lambda bench: {"use_beam_search": True, "n": 2},
    "prompt embeddings": lambda bench: {
        "prompt": None,
        "prompt_embeds": base64.b64encode(b"x").decode(),
    },
    "log-probabilities": lambda bench: {"logprobs": 1},
    "prompt log-probabilities": lambda bench: {"prompt_logprobs": 1},
}


def _signed(bench: Any, **changed: Any) -> dict[str, Any]:
    return {"vllm_xargs": {"lethe": bench.sign(IDS, "salt", **changed)}}


def _edited(bench: Any, guard: str, digest: str) -> dict[str, Any]:
    return {"vllm_xargs": {"lethe": bench.sign(IDS, "salt", Edit(guard, digest, NAMED))}}


def _forged(bench: Any) -> str:
    import dataclasses

    from guards.signed_edits import SignedEdits

    genuine = SignedEdits.verify(bench.sign(IDS, "salt"), bench.key, time.time())
    return dataclasses.replace(genuine).sign(b"another key of enough bytes, really")


@pytest.mark.parametrize("what", REFUSED)
def test_refused_at_the_door(server: Server, bench: Any, what: str) -> None:
    response = server.complete(signed_body(bench, **REFUSED[what](bench)))
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"].startswith("lethe:")


@pytest.mark.parametrize("what", REFUSED_BY_VLLM)
def test_refused_by_whoever_is_first(server: Server, bench: Any, what: str) -> None:
    response = server.complete(signed_body(bench, **REFUSED_BY_VLLM[what](bench)))
    assert response.status_code == 400, response.text


def test_a_refused_stream_carries_an_error_and_no_text(server: Server, bench: Any) -> None:
    response = server.complete(signed_body(bench, stream=True, cache_salt="another"))
    if response.status_code == 400:
        return
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert json.loads(events[0])["error"]["message"].startswith("lethe:")
    assert events[1:] in ([], ["[DONE]"])


def test_every_answer_proves_where_it_comes_from(server: Server, bench: Any) -> None:
    boot_ids = set()
    for path in ("/health", "/v1/models", "/lethe/status", "/tokenize"):
        nonce = new_nonce()
        response = server.client.get(path, headers={NONCE_HEADER: nonce})
        boot_ids.add(proven_boot_id(bench.key, nonce, response.headers.get(PROOF_HEADER)))
    assert len(boot_ids) == 1
    assert None not in boot_ids


def signed_headers(key: bytes, path: str) -> dict[str, str]:
    nonce = new_nonce()
    return {NONCE_HEADER: nonce, SIGNATURE_HEADER: sign_nonce(key, path, nonce)}


def test_the_status_is_for_those_who_hold_the_key(server: Server, bench: Any) -> None:
    path = "/lethe/status"
    answer_ids(server.complete(signed_body(bench)))
    for headers in (
        {},
        {NONCE_HEADER: new_nonce()},
        signed_headers(b"another key of enough bytes, really", path),
        signed_headers(bench.key, "/lethe/preload"),
    ):
        assert server.client.get(path, headers=headers).status_code == 404
    response = server.client.get(path, headers=signed_headers(bench.key, path))
    (worker,) = response.json()["workers"]
    assert worker["vllm"] == "0.32.0"
    assert worker["capabilities"]["runner"] == "V1"
    assert {"embedding", "activations", "mlp", "logits"} < set(worker["capabilities"]["points"])
    assert worker["calls"]["embedding"] > 10
    assert not [name for name in worker["counts"] if name.startswith("dark")]


def test_artifacts_can_be_opened_ahead(server: Server, bench: Any) -> None:
    path = "/lethe/preload"
    digest = bench.artifacts.put(manifest("rand_noise", 2.0, seed=99))
    for body, status in (
        ({"artifacts": [[NAME, digest], [NAME, "sha256:" + "1" * 64]]}, 200),
        ({"artifacts": "all"}, 400),
        ([], 400),
    ):
        headers = signed_headers(bench.key, path)
        assert server.client.post(path, json=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/tokenize",
        "/detokenize",
        "/invocations",
        "/generative_scoring",
        "/v1/responses",
        "/v1/messages",
        "/v1/completions/render",
        "/inference/v1/generate",
        "/collective_rpc",
        "/docs",
        "/v1//completions",
        "/v1/completions/",
    ],
)
def test_other_routes_are_closed(server: Server, bench: Any, path: str) -> None:
    assert server.complete(signed_body(bench), path).status_code == 404


def test_the_server_is_alive_after_all_this(server: Server, bench: Any) -> None:
    assert server.client.get("/health").status_code == 200
    assert len(answer_ids(server.complete(signed_body(bench)))) == 12
