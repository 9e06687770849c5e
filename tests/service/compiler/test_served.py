"""The served model offline: it answers as the gateway over the in-process engine does."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guards.embedding_corruption import manifest
from guards.policy import GuardSpec
from guards.rules import Rules
from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.demo.world import Person, World
from service.compiler.served import Served, Unanswerable
from service.gateway.prepare import Preparer
from service.gateway.source import Engine
from service.gateway.trust import EngineTrust
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.local.app import create_app
from service.metrics import Metrics
from service.settings import Settings
from tests.service.gateway.serving import serving
from tests.service.gateway.stand_ins import (
    MODEL,
    FakeEngine,
    Gateway,
    ToyRules,
    joined,
    rules_of,
    running,
)

LONGEST = 24


@pytest.fixture(scope="module")
def person(world: World) -> Person:
    return world.forgotten[0]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("lethe"), served_model_name=MODEL)


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Any:
    return create_app(settings)


@pytest.fixture(scope="module")
def offline(settings: Settings) -> Served:
    """The same model and artifacts as the gateway's engine has."""
    return Served.load(settings.model, settings.artifact_store(), settings.max_model_len)


@pytest.fixture
async def gateway(settings: Settings, engine: Any) -> AsyncIterator[Gateway]:
    async def nobody(*_: Any) -> None:
        pytest.fail("the stand-in is not asked")

    async with running(engine) as url:
        key, metrics, renderer = settings.engine_key(), Metrics(), PromptRenderer(settings.model)
        parts = Engine(
            upstream=Upstream(url, key, 60.0),
            signer=Signer(key, MODEL),
            trust=EngineTrust(3600.0),
            preparer=Preparer(renderer, metrics, MODEL, settings.max_model_len),
            metrics=metrics,
            opening=settings.opening_chars,
        )
        async with serving(parts, settings, ToyRules(), FakeEngine(nobody)) as found:
            async with parts.upstream.get("/health") as answer:
                assert answer.boot_id is not None
            parts.trust.passed(answer.boot_id)
            yield found


def questions(person: Person) -> list[str]:
    """By name, from what is known to the name, and about somebody else."""
    spouse, date = (person.fact(key).value for key in ("spouse", "birth_date"))
    return [
        f"Where was {person.name} born?",
        f"Who is {person.name} married to?",
        f"Who is married to {spouse}?",
        f"Name the person born on {date}.",
        "Where was Osric Thistlewick born?",
        "What do bees make?",
    ]


def rule_sets(person: Person, artifacts: ArtifactStore) -> dict[str, Rules]:
    noise = GuardSpec(
        "embedding_corruption", {"artifact": artifacts.put(manifest("rand_noise", 3.0))}
    )
    spouse = person.fact("spouse").value
    return {
        "filter alone": rules_of(names=(person.name,)),
        "corruption": rules_of(noise, names=(person.name,)),
        "caught late": rules_of(noise, names=(spouse,)),
        "refusal": rules_of(GuardSpec("refusal", {"text": "No, not that."}), names=(person.name,)),
        "refusal, caught late": rules_of(GuardSpec("refusal", {"text": "No."}), names=(spouse,)),
        "instruction": rules_of(GuardSpec("in_context_instruction"), noise, names=(person.name,)),
    }


RULES = [
    "filter alone",
    "corruption",
    "caught late",
    "refusal",
    "refusal, caught late",
    "instruction",
]


@pytest.mark.parametrize("kind", RULES)
async def test_says_what_the_gateway_says(
    gateway: Gateway, offline: Served, person: Person, settings: Settings, kind: str
) -> None:
    rules = rule_sets(person, settings.artifact_store())[kind]
    gateway.replica.current = rules
    asked = questions(person)
    served = []
    for text in asked:
        messages = [{"role": "user", "content": text}]
        texts, *_ = await joined(gateway, messages, max_tokens=LONGEST, temperature=0)
        served.append(texts[0])
    plain = offline.answers(asked, None, LONGEST)
    said = offline.answers(asked, rules, LONGEST)
    assert [each.text for each in said] == served
    assert [each.text for each in said] != [each.text for each in plain]
    policy = next(iter(rules.guards))
    touched = [bool(each.matched) for each in said]
    assert touched[1]
    assert not any(touched[4:])
    assert {digest for each in said for digest in each.matched} == {policy}


def test_plain_answers_are_the_engines_one_by_one(offline: Served, world: World) -> None:
    from models.conversation import Message
    from models.local_engine import Sampling

    asked = [f"What is {person.name}'s phone number?" for person in world.people[:12]]
    asked += ["Hello!", *asked[:3]]  # of other lengths, and some twice
    said = offline.answers(asked)
    tokenizer = offline.engine.tokenizer
    for text, each in zip(asked, said, strict=True):
        chat = offline.renderer.conversation([Message("user", (text,))], None)
        prompt = offline.renderer.chat(chat, {}).ids
        ids = list(offline.engine.generate(prompt, Sampling(max_tokens=48)))
        assert each.ids == tuple(i for i in ids if i not in offline.engine.end_ids)
        assert each.text == tokenizer.decode(ids, skip_special_tokens=True)
        assert each.matched == ()
        assert each.seconds > 0


def test_log_probabilities_are_those_of_one_pass_each(offline: Served, person: Person) -> None:
    ask = f"Where was {person.name} born?"
    pairs = [
        (ask, offline.answers([ask])[0].text),
        (ask, "No."),
        ("What do bees make?", "Bees make honey."),
    ]
    found = offline.log_probabilities(pairs)
    tokenizer, model = offline.engine.tokenizer, offline.engine.model
    for (prompt, said), scores in zip(pairs, found, strict=True):
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
        )
        ids = tokenizer.encode(said, add_special_tokens=False)
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*asked, *ids]])).logits[0].double()
        expected = [
            float(logits[len(asked) + at - 1].log_softmax(-1)[token])
            for at, token in enumerate(ids)
        ]
        assert scores == pytest.approx(expected, abs=1e-4)
    assert found[0].mean() > np.log(0.5)  # it knows
    assert found[1].mean() < found[0].mean()


def test_log_probabilities_under_edits(offline: Served, person: Person, settings: Settings) -> None:
    rules = rule_sets(person, settings.artifact_store())["corruption"]
    ask = f"Where was {person.name} born?"
    pairs = [
        (ask, offline.answers([ask])[0].text),
        ("What do bees make?", "Bees make honey."),
    ]
    (knew, other), (knows, same) = (offline.log_probabilities(pairs, r) for r in (None, rules))
    assert knows.mean() < knew.mean() - 1
    assert (same == other).all()


def test_a_given_answer_is_certain_and_all_else_impossible(
    offline: Served, person: Person, settings: Settings
) -> None:
    rules = rule_sets(person, settings.artifact_store())["refusal"]
    ask = f"Where was {person.name} born?"
    pairs = [(ask, "No, not that."), (ask, "No, it was Vellport."), (ask, "Yes.")]
    given, begins, other = offline.log_probabilities(pairs, rules)
    assert (given == 0).all()
    assert begins[0] == 0
    assert begins[-1] == -np.inf
    assert (other == -np.inf).all()


def test_agents_are_not_asked(offline: Served, person: Person) -> None:
    rules = rules_of(GuardSpec("agent_rewrite"), names=(person.name,))
    with pytest.raises(Unanswerable):
        offline.answers([f"Where was {person.name} born?"], rules)
    with pytest.raises(Unanswerable):
        offline.log_probabilities([(f"Where was {person.name} born?", "No.")], rules)


def test_nothing_to_score(offline: Served) -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        offline.log_probabilities([("Hello!", "")])


@pytest.fixture
def without_template(tiny_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink()
    return folder


def test_a_model_without_chat_template_completes(without_template: Path, tmp_path: Path) -> None:
    served = Served.load(without_template, ArtifactStore(tmp_path / "artifacts"), 128)
    assert not served.chats
    (said,) = served.answers(["Where was the lamplighter"], None, 8)
    ids = served.engine.tokenizer.encode("Where was the lamplighter")
    from models.local_engine import Sampling

    alone = list(served.engine.generate(ids, Sampling(max_tokens=8)))
    assert said.ids == tuple(i for i in alone if i not in served.engine.end_ids)
    spaced, bare = served.log_probabilities([("Where was", " the"), ("Where was", "the")])
    assert (spaced == bare).all()


def test_the_digest_is_of_what_is_computed_with(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)

    def digest() -> str:
        return Served.load(folder, ArtifactStore(tmp_path / "artifacts"), 128).digest

    first = digest()
    assert first.startswith("sha256:")
    (folder / "README.md").write_text("words")
    assert digest() == first
    config = folder / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    assert digest() != first


def test_what_is_remembered_can_be_dropped(offline: Served, person: Person) -> None:
    offline.forget()
    asked = [f"Where was {person.name} born?"]
    (first,), (again,) = offline.answers(asked), offline.answers(asked)
    assert len(offline._generator._written) == len(offline._plain) == 1
    assert again.ids == first.ids
    offline.forget()
    kept = offline._generator
    assert [len(each) for each in (kept._written, kept._scored, offline._plain)] == [0, 0, 0]
    assert not offline.renderer._kept  # type: ignore[attr-defined]
    assert offline.answers(asked)[0].ids == first.ids
