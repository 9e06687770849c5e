"""Scores of given continuations, against generating them token by token with the same hooks."""

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guards.adapter_routing import NAME as ADAPTER
from guards.case import Case, Edit, Match, Prompt, Span, digest_of_ids
from guards.embedding_corruption import NAME
from guards.policy import GuardSpec
from guards.registry import build
from guards.signed_edits import FIELD, SignedEdits
from models.adapter import MODULES, Base, manifest_of
from models.artifact import ArtifactStore
from models.local_engine import Interventions, LocalEngine, Sampling
from service.acting import Bindings
from service.admission import CheckedArtifacts
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, new_nonce, sign_nonce
from service.local.edits import bindings_of, engine_model, interventions
from service.local.scoring import Scoring
from service.scoring import PATH, AskedScores, token_scores
from service.settings import Settings
from tests.integration.engine.mechanisms import HIDDEN, LAYERS, WIDE, every_mechanism
from tests.service.local.conftest import SigningClient

torch = pytest.importorskip("torch")

Json = Any
MODEL = "tiny"
EDITED = (Span(6, 12), Span(20, 25))
MECHANISMS = (
    "none",
    "corruption",
    "persistent",
    "token filter",
    "steering",
    "neuron adjust",
    "key space",
    "uld",
    "divergence",
    "head probe",
    "adapter",
    "several",
)


@dataclass(frozen=True)
class Workshop:
    """A model, what makes edits for it, and continuations of one prompt."""

    settings: Settings
    engine: LocalEngine
    bindings: Bindings
    prompt: list[int]
    continuations: list[list[int]]
    edits: dict[str, tuple[Edit, ...]]

    @property
    def scoring(self) -> Scoring:
        artifacts = CheckedArtifacts(self.settings.artifact_store())
        key = self.settings.engine_key()
        return Scoring(self.engine, artifacts, self.bindings, self.settings, key)


@pytest.fixture(scope="module")
def workshop(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("wider")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.15,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("lethe"),
        model=folder,
        served_model_name=MODEL,
        max_model_len=128,
    )
    engine = LocalEngine.load(folder)
    rng = np.random.default_rng(4)
    prompts = [rng.integers(5, len(tokenizer), 30).tolist() for _ in range(4)]
    said = engine.generate_batch(prompts, Sampling(max_tokens=24, ignore_eos=True))
    drawn = rng.integers(5, len(tokenizer), 17).tolist()
    store = settings.artifact_store()
    made = every_mechanism(engine_model(engine), said)
    each = {name: of[0] for name, of in made.items()}
    edits = {name: _edits(store, prompts[0], [of]) for name, of in each.items()}
    together = [each[n] for n in ("persistent", "token filter", "steering", "key space")]
    return Workshop(
        settings,
        engine,
        bindings_of(engine, CheckedArtifacts(store)),
        prompts[0],
        [said[0], drawn, said[1][:1], said[2][:9], *(said[0][:n] for n in range(2, 8))],
        {
            **edits,
            "none": (),
            "adapter": (Edit(ADAPTER, _adapter(store, config.to_dict()), ()),),
            "several": _edits(store, prompts[0], together),
        },
    )


def _edits(store: ArtifactStore, ids: list[int], made: Sequence[Any]) -> tuple[Edit, ...]:
    """What the guards themselves leave for a match in the midst of the prompt."""
    offsets = tuple(Span(i, i + 1) for i in range(len(ids)))
    prompt = Prompt("x" * len(ids), tuple(ids), offsets, (Span(1, len(ids)),))
    case = Case("c", "t", MODEL, 1, prompt)
    for kind, options, said, tensors in made:
        digest = store.put(said, tensors or None, sealed="blind" in said)
        guard = build(GuardSpec(kind, {"artifact": digest, **options}))
        case = guard.on_prompt(case, Match("p", 1.0, EDITED, "alias"))
    return case.edits


def _adapter(store: ArtifactStore, config: Json) -> str:
    base, rng = Base.of_config(config), np.random.default_rng(2)
    tensors = {}
    for layer in range(base.layers):
        for module, part in MODULES.items():
            wide, out = base.widths(module)
            name = f"layers.{layer}.{part}.{module}"
            tensors[f"{name}.A"] = rng.normal(size=(3, wide)).astype(np.float32)
            tensors[f"{name}.B"] = (rng.normal(size=(out, 3)) * 0.05).astype(np.float32)
    return store.put(manifest_of(tensors, base, "npo", 6.0), tensors)


def body(shop: Workshop, edits: tuple[Edit, ...], continuations: Sequence[list[int]]) -> bytes:
    fields = [signed(shop.settings, shop.prompt, edits, ids) for ids in continuations]
    asked = AskedScores(tuple(shop.prompt), "salt", tuple(fields))
    return json.dumps(asked.to_json()).encode()


def signed(
    settings: Settings,
    ids: list[int],
    edits: tuple[Edit, ...],
    forced: Sequence[int],
    **changed: Any,
) -> str:
    fields: dict[str, Any] = {
        "request": secrets.token_hex(16),
        "model": settings.served_model_name,
        "epoch": 1,
        "prompt": digest_of_ids(ids),
        "length": len(ids),
        "cache_salt": "salt",
        "expires": 1 << 40,
        "edits": edits,
        "forced": tuple(forced),
    }
    return SignedEdits(**{**fields, **changed}).sign(settings.engine_key())


def slowly(shop: Workshop, edits: tuple[Edit, ...], forced: list[int]) -> list[tuple[float, ...]]:
    """Generate the continuation, one token at a time, and reckon with plain Python numbers."""
    acting = interventions(edits, shop.bindings, len(shop.prompt), secrets.token_hex(8))
    found: list[tuple[float, ...]] = []

    def force(row: Any, prompt: Sequence[int], output: Sequence[int]) -> None:
        if acting.logits is not None:
            acting.logits(row, prompt, output)
        token = forced[len(output)]
        found.append(_reckoned([float(value) for value in row], token))
        row.fill_(-math.inf)
        row[token] = 0.0

    hooks = Interventions(acting.embedding, acting.activations, force, acting.adapter)
    sampling = Sampling(max_tokens=len(forced), ignore_eos=True)
    assert list(shop.engine.generate(shop.prompt, sampling, hooks)) == forced
    return found


def _reckoned(row: list[float], token: int) -> tuple[float, ...]:
    highest = max(row)
    total = highest + math.log(math.fsum(math.exp(value - highest) for value in row))
    logs = [value - total for value in row]
    shares = [math.exp(log) for log in logs]
    terms = [(share, log) for share, log in zip(shares, logs, strict=True) if share > 0]
    mean = math.fsum(share * log for share, log in terms)
    variance = math.fsum(share * (log - mean) ** 2 for share, log in terms)
    return logs[token], float(row[token] == highest), mean, math.sqrt(variance)


@pytest.mark.parametrize("name", MECHANISMS)
def test_scores_are_those_of_generating_token_by_token(workshop: Workshop, name: str) -> None:
    edits = workshop.edits[name]
    answer = workshop.scoring.answer(body(workshop, edits, workshop.continuations))
    assert len(answer["scores"]) == len(workshop.continuations) > 8, "more than one pass"
    for forced, said in zip(workshop.continuations, answer["scores"], strict=True):
        wanted = slowly(workshop, edits, forced)
        logs = [-math.inf if log is None else log for log in said["logprobs"]]
        rows = zip(logs, said["likeliest"], said["means"], said["deviations"], strict=True)
        for found, expected in zip(rows, wanted, strict=True):
            assert found == pytest.approx(expected, abs=1e-4)


def test_each_mechanism_changes_the_scores(workshop: Workshop) -> None:
    """Otherwise the comparisons above would prove nothing."""
    said = {
        name: workshop.scoring.answer(body(workshop, edits, workshop.continuations[:1]))
        for name, edits in workshop.edits.items()
    }
    assert set(said) == set(MECHANISMS)
    clean = said.pop("none")
    assert [name for name, each in said.items() if each == clean] == []
    assert all(clean["scores"][0]["likeliest"])
    assert None in said["token filter"]["scores"][0]["logprobs"]


def test_nothing_is_kept_of_what_was_scored(workshop: Workshop) -> None:
    edits = workshop.edits["token filter"]
    bound: Any = workshop.bindings.get(edits[0].guard, edits[0].artifact).logits
    before = set(bound.states._trails)
    workshop.scoring.answer(body(workshop, edits, workshop.continuations[:1]))
    assert set(bound.states._trails) == before


def test_moments_of_known_distributions() -> None:
    even = token_scores(torch.zeros(1, 4), [2])[0]
    assert even == pytest.approx((math.log(0.25), False, math.log(0.25), 0.0))
    sure = token_scores(torch.tensor([[0.0, -math.inf], [-math.inf, 3.0]]), [1, 1])
    assert sure == [(None, False, 0.0, 0.0), (0.0, True, 0.0, 0.0)]
    two = token_scores(torch.tensor([[math.log(0.9), math.log(0.1), -math.inf]]), [1])[0]
    mean = 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    spread = math.sqrt(0.9 * math.log(0.9) ** 2 + 0.1 * math.log(0.1) ** 2 - mean**2)
    assert two == pytest.approx((math.log(0.1), False, mean, spread), abs=1e-6)


@pytest.mark.parametrize("row", [[-math.inf] * 3, [0.0, math.nan, 0.0]])
def test_what_is_no_distribution_is_not_scored(row: list[float]) -> None:
    with pytest.raises(ValueError, match="no distribution"):
        token_scores(torch.tensor([row]), [0])


# --- the route -----------------------------------------------------------------------------------


def headers(client: SigningClient, path: str = PATH) -> dict[str, str]:
    nonce = new_nonce()
    signature = sign_nonce(client.settings.engine_key(), path, nonce)
    return {NONCE_HEADER: nonce, SIGNATURE_HEADER: signature}


def asked(client: SigningClient, *edits: Edit, **changed: Any) -> Json:
    prompt, forced = [40, 41, 42, 43, 44], changed.pop("forced", (50, 51))
    field = signed(client.settings, prompt, edits, forced, **changed)
    return {"prompt": prompt, "cache_salt": "salt", "fields": [field]}


async def test_only_who_holds_the_key_is_answered(client: SigningClient) -> None:
    sent = asked(client)
    for given in ({}, {NONCE_HEADER: new_nonce()}, headers(client, "/lethe/preload")):
        assert (await client.http.post(PATH, json=sent, headers=given)).status_code == 404
    assert (await client.http.get(PATH, headers=headers(client))).status_code == 404
    answer = await client.http.post(PATH, json=sent, headers=headers(client))
    (scores,) = answer.json()["scores"]
    assert {name: len(of) for name, of in scores.items()} == {
        "logprobs": 2,
        "likeliest": 2,
        "means": 2,
        "deviations": 2,
    }


async def test_edits_reach_the_route(client: SigningClient, noise: str) -> None:
    edit = Edit(NAME, noise, (Span(0, 5),))
    answers = [
        (await client.http.post(PATH, json=asked(client, *edits), headers=headers(client))).json()
        for edits in ((), (edit,), ())
    ]
    assert answers[0] == answers[2] != answers[1]


REFUSED: dict[str, Any] = {
    "what is signed to be generated": {"forced": ()},
    "another prompt": {"prompt": digest_of_ids([1, 2, 3, 4, 5])},
    "another length": {"length": 6},
    "another salt": {"cache_salt": "another"},
    "another model": {"model": "another"},
    "expired": {"expires": 1},
    "a token outside the vocabulary": {"forced": (50, 1 << 20)},
    "a token below zero": {"forced": (-1,)},
    "too long": {"forced": (50,) * 200},
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_was_not_signed_so_is_refused(client: SigningClient, what: str) -> None:
    sent = asked(client, **REFUSED[what])
    answer = await client.http.post(PATH, json=sent, headers=headers(client))
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"[]",
        b"{}",
        b'{"prompt": [1], "cache_salt": "salt", "fields": []}',
        b'{"prompt": [true], "cache_salt": "salt", "fields": ["x"]}',
        b'{"prompt": [1], "cache_salt": null, "fields": ["x"]}',
        b'{"prompt": [1], "cache_salt": "salt", "fields": "x"}',
        b'{"prompt": [1], "cache_salt": "salt", "fields": [1]}',
        b"[" * 100_000,
    ],
)
async def test_a_malformed_body_is_refused(client: SigningClient, sent: bytes) -> None:
    answer = await client.http.post(PATH, content=sent, headers=headers(client))
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_what_is_signed_to_be_scored_is_never_generated(
    client: SigningClient, path: str
) -> None:
    sent: Json = {"prompt": [40, 41, 42]}
    if "chat" in path:
        sent = {"messages": [{"role": "user", "content": "Who?"}]}
    for forced, status in (((50,), 400), ((), 200)):
        made = client.signed({**sent, "max_tokens": 1}, forced=forced)
        assert FIELD in made["vllm_xargs"]
        answer = await client.http.post(path, json=made)
        assert answer.status_code == status, answer.text


def test_what_is_signed_cannot_be_made_longer(workshop: Workshop) -> None:
    """The tokens to be scored stand in what was signed, nowhere else."""
    made = SignedEdits.verify(
        signed(workshop.settings, [1, 2], (), (7, 8)), workshop.settings.engine_key(), 0
    )
    assert made.forced == (7, 8)
    plain = signed(workshop.settings, [1, 2], (), ())
    assert SignedEdits.verify(plain, workshop.settings.engine_key(), 0).forced == ()
