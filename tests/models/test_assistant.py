"""An assistant with its cache against the same model without one."""

import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.assistant import BLOCK, Asked, Assistant, within  # noqa: E402
from models.assistant_config import check_config, tensor_shapes  # noqa: E402

VOCABULARY, CONTEXT = 97, 160
CONFIG: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
TOLERANCE = 1e-4


def tensors_of(config: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Weights drawn wide, so that logits are far apart and depend on every token."""
    dice = np.random.default_rng(seed)
    return {
        name: (dice.standard_normal(shape) * 0.3 + (len(shape) == 1)).astype(np.float32)
        for name, shape in tensor_shapes(config).items()
    }


def assistant(limit: int = 512, **changes: Any) -> Assistant:
    config = {**CONFIG, **changes}
    return Assistant(config, tensors_of(config), limit=limit)


def plain(model: Assistant, tokens: list[int]) -> Any:
    """The slow reference: transformers' own forward pass over all tokens, without a cache."""
    with torch.no_grad():
        return model._model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]


def assert_as_plain(model: Assistant, asked: list[Asked]) -> None:
    got = model.logits(asked)
    assert got.shape == (len(asked), VOCABULARY)
    assert got.dtype == torch.float32
    for row, (_, tokens) in zip(got, asked, strict=True):
        wanted = plain(model, within(tokens, CONTEXT))
        assert float((row - wanted).abs().max()) < TOLERANCE
        assert int(row.argmax()) == int(wanted.argmax())


def drawn(dice: random.Random, length: int) -> list[int]:
    return [dice.randrange(VOCABULARY) for _ in range(length)]


@pytest.mark.parametrize("limit", [CONTEXT, 512, 4096])
def test_requests_come_go_and_are_preempted(limit: int) -> None:
    model, dice = assistant(limit), random.Random(limit)
    running: dict[str, list[int]] = {}
    for step in range(50):
        if dice.random() < 0.3:
            running[f"r{step}"] = drawn(dice, dice.randint(1, 90))
        if running and dice.random() < 0.15:
            gone = dice.choice(list(running))
            del running[gone]
            model.forget(gone)
        if running and dice.random() < 0.15:  # a rejected draft, or another answer altogether
            changed = running[dice.choice(list(running))]
            changed[dice.randrange(len(changed)) :] = drawn(dice, dice.randint(1, 5))
        asked = [Asked(key, list(tokens)) for key, tokens in running.items()]
        dice.shuffle(asked)
        shown = asked[: dice.randint(0, len(asked))] if dice.random() < 0.2 else asked
        assert_as_plain(model, shown)
        assert model.cached <= max(limit, CONTEXT) + BLOCK
        for tokens in running.values():
            tokens.append(dice.randrange(VOCABULARY))
        for key in [key for key, tokens in running.items() if len(tokens) > CONTEXT + 40]:
            del running[key]
            model.forget(key)
    for key in running:
        model.forget(key)


def test_rows_that_grew_by_one_token_are_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, dice = assistant(4096), random.Random(1)
    running = {f"r{i}": drawn(dice, 5 + 7 * i) for i in range(6)}
    model.logits([Asked(*each) for each in running.items()])
    passes: list[tuple[int, int]] = []
    forward = model._model.model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        passes.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model._model.model, "forward", counted)
    for tokens in running.values():
        tokens.append(3)
    model.logits([Asked(*each) for each in running.items()])
    assert passes == [(6, 1)]
    passes.clear()
    running["new"] = drawn(dice, 9)
    for key, tokens in running.items():
        if key != "new":
            tokens.append(4)
    model.logits([Asked(*each) for each in running.items()])
    assert passes == [(1, 8), (7, 1)]


def test_drafts_of_one_request_may_come_in_one_call() -> None:
    model, dice = assistant(), random.Random(2)
    prompt = drawn(dice, 20)
    rows = [Asked("one", prompt + [5, 6, 7][:count]) for count in range(4)]
    assert_as_plain(model, [*rows, Asked("other", prompt)])
    assert_as_plain(model, [Asked("one", [*prompt, 5, 9]), Asked("one", [*prompt, 8])])


def test_more_rows_than_there_is_room_for_are_right_all_the_same() -> None:
    model, dice = assistant(CONTEXT), random.Random(3)
    asked = [Asked(f"r{i}", drawn(dice, 100)) for i in range(7)]
    assert_as_plain(model, asked)
    assert_as_plain(model, asked[::-1])


def test_what_the_cache_holds_does_not_show() -> None:
    dice = random.Random(4)
    tokens, other = drawn(dice, 50), drawn(dice, 70)
    fresh, used = assistant(), assistant()
    used.logits([Asked("a", other), Asked("b", tokens[:30])])
    got = used.logits([Asked("b", tokens), Asked("a", tokens)])
    wanted = fresh.logits([Asked("x", tokens)])
    assert float((got - wanted).abs().max()) < TOLERANCE


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 500000.0},
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ],
)
def test_other_positions_and_a_head_of_its_own(rope: dict[str, Any]) -> None:
    model = assistant(rope_parameters=rope, tie_word_embeddings=False)
    dice = random.Random(5)
    assert_as_plain(model, [Asked("a", drawn(dice, 90)), Asked("b", drawn(dice, 3))])


def test_it_can_be_called_in_and_out_of_inference_mode() -> None:
    model = assistant()
    with torch.inference_mode():
        first = model.logits([Asked("a", [1, 2, 3])])
    second = model.logits([Asked("a", [1, 2, 3]), Asked("b", list(range(80)))])
    assert torch.allclose(first[0], second[0], atol=TOLERANCE)
    second.mul_(2.0)


def test_a_sequence_longer_than_the_context_is_seen_from_a_later_start() -> None:
    tokens = list(range(1000))
    assert within(tokens[:160], 160) == tokens[:160]
    assert within(tokens[:161], 160) == tokens[80:161]
    assert within(tokens[:240], 160) == tokens[80:240]
    assert within(tokens[:241], 160) == tokens[160:241]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_is_the_same() -> None:
    near, dice = assistant(), random.Random(6)
    far = Assistant(CONFIG, tensors_of(CONFIG), "cuda")
    asked = [Asked(f"r{i}", drawn(dice, 20 + i)) for i in range(5)]
    assert float((near.logits(asked) - far.logits(asked).cpu()).abs().max()) < 1e-3


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 0},
        {"hidden_size": 1.5},
        {"num_hidden_layers": True},
        {"num_attention_heads": 3},
        {"head_dim": 7},
        {"rms_norm_eps": float("nan")},
        {"tie_word_embeddings": 1},
        {"rope_parameters": None},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": -1.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "factor": 2.0}},
        {"more": 1},
    ],
)
def test_a_configuration_that_is_none_is_refused(change: dict[str, Any]) -> None:
    check_config(CONFIG)
    with pytest.raises(ValueError, match=r"."):
        check_config({**CONFIG, **change})


def test_other_tensors_than_the_configuration_calls_for_are_refused() -> None:
    tensors = tensors_of(CONFIG)
    for wrong in (
        {name: value for name, value in tensors.items() if name != "model.norm.weight"},
        {**tensors, "more": np.zeros(2, np.float32)},
        {**tensors, "model.norm.weight": np.zeros(31, np.float32)},
    ):
        with pytest.raises(ValueError, match="tensors"):
            Assistant(CONFIG, wrong)
