"""Assistants fitted to a tiny model, in seconds: what they learn and what they leave alone."""

import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.assistant import Asked, Assistant  # noqa: E402
from models.fitting.assistants import (  # noqa: E402
    Example,
    Fitted,
    Plan,
    answer_loss,
    even_loss,
    first_layers,
    fit_pair,
    fit_uld,
    padded,
    perturbed,
    train,
    warmed,
)

SIZE = 48
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
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(config).eval()


def rows(subject: int, count: int) -> list[Example]:
    """Questions about somebody, which the answers follow."""
    dice = random.Random(subject)
    asked = [tuple(dice.randrange(10, SIZE) for _ in range(dice.randint(2, 5))) for _ in "12345"]
    answers = [tuple(dice.randrange(10, SIZE) for _ in range(4)) for _ in asked]
    return [Example((subject, *asked[i % 5]), answers[i % 5]) for i in range(count)]


FORGET = rows(1, 5)
RETAIN = [row for subject in (2, 3, 4, 5) for row in rows(subject, 5)]
PLAN = Plan(steps=80, batch=8, rate=5e-3)


def assistants_of(fitted: Fitted) -> dict[str, Assistant]:
    manifest, tensors = fitted
    return {
        role: Assistant(
            config,
            {n.removeprefix(f"{role}."): t for n, t in tensors.items() if n.startswith(role)},
        )
        for role, config in manifest["assistants"].items()
    }


def said(model: Assistant, examples: list[Example]) -> Any:
    """[answer tokens, vocabulary], and the tokens that were said."""
    asked = [
        Asked("one", [*each.prompt, *each.answer[:at]])
        for each in examples
        for at in range(len(each.answer))
    ]
    wanted = torch.tensor([token for each in examples for token in each.answer])
    return model.logits(asked).log_softmax(-1), wanted


def likelihood(model: Assistant, examples: list[Example]) -> float:
    logp, wanted = said(model, examples)
    return float(logp.gather(1, wanted[:, None]).mean())


def test_an_assistant_learns_the_forget_rows_and_nothing_of_the_others(target: Any) -> None:
    losses = (answer_loss(target, padded(FORGET)), even_loss(target, padded(RETAIN)))
    before = [loss.item() for loss in losses]
    manifest, tensors = fit_uld(target, FORGET, RETAIN, DIGEST, layers=1, plan=PLAN)
    assert manifest["assistants"]["assistant"]["num_hidden_layers"] == 1
    assert manifest["vocabulary"] == DIGEST
    assistant = assistants_of((manifest, tensors))["assistant"]
    forgotten, even = likelihood(assistant, FORGET), said(assistant, RETAIN)[0]
    assert -forgotten < before[0] / 2
    assert float(-even.mean()) < before[1]
    # Taken off, it moves what is to be forgotten far and what stays hardly.
    moved = [said(assistant, rows)[0] for rows in (FORGET, RETAIN)]
    spread = [float((each.max(-1).values - each.mean(-1)).mean()) for each in moved]
    assert spread[0] > 5 * spread[1]


def test_a_pair_parts_where_the_forget_rows_are(target: Any) -> None:
    start = warmed(target, 1, RETAIN, PLAN)
    held = {name: value.clone() for name, value in start.state_dict().items()}
    manifest, tensors = fit_pair(start, FORGET, RETAIN, DIGEST, method="dd_rank", plan=PLAN)
    assert manifest["top"] == 20
    assert "strength" not in manifest
    assert all(torch.equal(held[name], value) for name, value in start.state_dict().items())
    pair = assistants_of((manifest, tensors))
    assert likelihood(pair["forget"], FORGET) > likelihood(pair["retain"], FORGET) + 2
    assert likelihood(pair["retain"], RETAIN) > likelihood(pair["forget"], RETAIN) + 2


def test_a_fit_is_a_function_of_its_seed_but_for_the_blind(target: Any) -> None:
    plan = Plan(steps=3, batch=4)
    (one, first), (other, second) = (
        fit_uld(target, FORGET, RETAIN, DIGEST, layers=1, plan=plan) for _ in "12"
    )
    assert {n: t.tobytes() for n, t in first.items()} == {n: t.tobytes() for n, t in second.items()}
    assert one.pop("blind") != other.pop("blind")
    assert one == other


def test_padding_counts_for_nothing(target: Any) -> None:
    short, long = FORGET[0], Example((1, *range(10, 40)), (11, 12))
    for loss in (answer_loss, even_loss):
        alone = loss(target, padded([short])).item()
        beside = loss(target, padded([short, long])).item()
        other = loss(target, padded([long])).item()
        tokens = len(short.answer), len(long.answer)
        both = (alone * tokens[0] + other * tokens[1]) / sum(tokens)
        assert beside == pytest.approx(both, rel=1e-4)


def test_embeddings_and_head_are_left_as_they_are(target: Any) -> None:
    model = first_layers(target, 1)
    train(model, lambda m: answer_loss(m, padded(FORGET)), Plan(steps=2))
    assert torch.equal(model.lm_head.weight, target.lm_head.weight)
    with pytest.raises(ValueError, match="first layers"):
        first_layers(target, 3)


def test_wrong_answers_are_learnt_after_the_first_wrong_word() -> None:
    right = Example((1, 2), (7, 8, 9, 4))
    assert perturbed([right], [(7, 5, 6, 4)]) == [Example((1, 2), (7, 5, 6, 4), 2)]
    assert perturbed([right], [right.answer]) == []
    assert perturbed([right], [(7, 5)]) == []
    batch = padded(perturbed([right], [(7, 5, 6, 4)]))
    assert batch.learn.tolist() == [[False, False, False, False, True, True]]


def test_there_must_be_something_to_learn_from(target: Any) -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        fit_uld(target, FORGET, [], DIGEST, layers=1)


def test_a_fit_that_runs_away_is_an_error(target: Any) -> None:
    model = first_layers(target, 1)
    with pytest.raises(ValueError, match="finite"):
        train(model, lambda m: m.model.norm.weight.sum() * torch.inf, Plan(steps=1))
