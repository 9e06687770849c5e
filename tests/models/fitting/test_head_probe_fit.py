"""The head probe fitted to a tiny model: what it brings forward, and what then is pushed down."""

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.fitting.assistants import Example, Plan  # noqa: E402
from models.fitting.head_probe import answers_seen, fit_head_probe, turn  # noqa: E402

SIZE = 45
DIGEST = "sha256:" + "1" * 64


@pytest.fixture(scope="module")
def target() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(config).eval()


def examples(count: int) -> list[Example]:
    dice = random.Random(0)
    return [
        Example(
            tuple(dice.randrange(SIZE) for _ in range(dice.randint(1, 6))),
            tuple(dice.randrange(SIZE // 2) for _ in range(dice.randint(2, 5))),
        )
        for _ in range(count)
    ]


def test_hidden_states_are_those_before_each_answer_token(target: Any) -> None:
    rows = examples(7)
    hidden, wanted = answers_seen(target, rows, size=3)
    assert wanted.tolist() == [token for row in rows for token in row.answer]
    seen = iter(hidden)
    for row in rows:
        for at in range(len(row.answer)):
            ids = torch.tensor([[*row.prompt, *row.answer[:at]]])
            with torch.no_grad():
                plain = target.base_model(input_ids=ids).last_hidden_state[0, -1]
            assert torch.allclose(next(seen), plain, atol=1e-5)


def test_the_probe_raises_the_forget_answers(target: Any) -> None:
    rows, plan = examples(20), Plan(steps=150, batch=64, rate=1e-2)
    manifest, tensors = fit_head_probe(target, rows, DIGEST, plan=plan)
    assert (manifest["size"], manifest["strength"]) == (SIZE, 42.0)
    assert tensors["angle"].shape == tensors["magnitude"].shape == (math.ceil(SIZE / 2),)
    hidden, wanted = answers_seen(target, rows)
    before = hidden @ target.lm_head.weight.detach().T
    after = turn(before, torch.tensor(tensors["angle"]), torch.tensor(tensors["magnitude"]))
    losses = [float(torch.nn.functional.cross_entropy(each, wanted)) for each in (before, after)]
    assert losses[1] < losses[0] - 0.3


def test_a_fit_is_a_function_of_its_seed_but_for_the_blind(target: Any) -> None:
    plan = Plan(steps=3, batch=8, rate=1e-2)
    (one, first), (other, second) = (
        fit_head_probe(target, examples(5), DIGEST, plan=plan) for _ in "12"
    )
    assert {n: t.tobytes() for n, t in first.items()} == {n: t.tobytes() for n, t in second.items()}
    assert one["blind"] != other["blind"]


def test_it_starts_from_no_turn_at_all(target: Any) -> None:
    _, tensors = fit_head_probe(target, examples(3), DIGEST, plan=Plan(steps=0, batch=8))
    rows = torch.randn(2, SIZE)
    turned = turn(rows, torch.tensor(tensors["angle"]), torch.tensor(tensors["magnitude"]))
    assert torch.equal(turned, rows)


def test_there_must_be_something_to_learn_from() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        fit_head_probe(SimpleNamespace(), [], DIGEST)
