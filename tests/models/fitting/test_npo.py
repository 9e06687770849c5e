import math
from itertools import product
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from models.adapter import BoundAdapter, adapters_installed  # noqa: E402
from models.artifact import Artifact  # noqa: E402
from models.fitting.npo import Example, Recipe, answer_scores, fit, npo_loss  # noqa: E402

END = 1
RECIPE = Recipe(rank=4, steps=80, rate=1e-2, batch=8)


def test_the_loss_is_the_one_worked_by_hand() -> None:
    tuned, reference, beta = [-3.0, -10.0], [-2.0, -4.0], 0.5
    by_hand = [
        2 / beta * math.log(1 + (math.exp(after) / math.exp(before)) ** beta)
        for after, before in zip(tuned, reference, strict=True)
    ]
    found = npo_loss(torch.tensor(tuned), torch.tensor(reference), beta)
    assert float(found) == pytest.approx(sum(by_hand) / 2, rel=1e-6)


def test_before_training_the_loss_is_known() -> None:
    same = torch.tensor([-1.0, -7.0])
    assert float(npo_loss(same, same, 0.1)) == pytest.approx(20 * math.log(2), rel=1e-6)


def test_what_is_forgotten_no_longer_pushes() -> None:
    tuned = torch.tensor([-2.0, -200.0], requires_grad=True)
    npo_loss(tuned, torch.tensor([-2.0, -2.0]), 0.1).backward()  # type: ignore[no-untyped-call]
    assert tuned.grad[0] > 1000 * tuned.grad[1] > 0


@pytest.fixture(scope="module")
def model() -> Any:
    """A tiny Llama that knows which answer belongs to each of sixteen prompts."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    made = transformers.LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(made.parameters(), lr=5e-3)
    for _ in range(150):
        scores, _ = answer_scores(made, EXAMPLES)
        optimizer.zero_grad()
        (-scores.mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return made.eval()


def example(who: int, what: int) -> Example:
    answer = (16 + (3 * who + 5 * what) % 13, 16 + (7 * who + what) % 13, END)
    return Example((2, 4 + who, 10 + what, *([3] * (who % 2))), answer)


EXAMPLES = [example(who, what) for who, what in product(range(4), range(4))]
FORGET, RETAIN = EXAMPLES[:4], EXAMPLES[4:]


def scores_of(model: Any, examples: list[Example], *adapter: BoundAdapter) -> Any:
    rows = [adapter[0] if adapter else None] * len(examples)
    with torch.no_grad(), adapters_installed(model, rows):
        return answer_scores(model, examples)[0]


def bound(model: Any, recipe: Recipe) -> BoundAdapter:
    manifest, tensors = fit(model, FORGET, RETAIN, recipe)
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    return BoundAdapter.bind(artifact, "cpu", torch.float32)


def test_scores_are_those_of_each_answer_alone(model: Any) -> None:
    with torch.no_grad():
        scores, lengths = answer_scores(model, EXAMPLES)
    assert lengths.tolist() == [3] * len(EXAMPLES)
    for at, (prompt, answer) in enumerate(EXAMPLES):
        whole = torch.tensor([[*prompt, *answer]])
        with torch.no_grad():
            logs = model(whole).logits.log_softmax(-1)[0]
        steps = [logs[len(prompt) + k - 1, token] for k, token in enumerate(answer)]
        assert float(scores[at]) == pytest.approx(float(sum(steps)), abs=1e-4)


def test_the_forgotten_becomes_unlikely_and_the_kept_stays(model: Any) -> None:
    assert scores_of(model, EXAMPLES).min() > -0.5
    adapter = bound(model, RECIPE)
    assert scores_of(model, FORGET, adapter).max() < -5
    assert scores_of(model, RETAIN, adapter).min() > -0.7


def test_an_untrained_adapter_changes_nothing(model: Any) -> None:
    adapter = bound(model, Recipe(rank=4, steps=0))
    assert torch.equal(scores_of(model, EXAMPLES, adapter), scores_of(model, EXAMPLES))


def test_the_model_itself_stays_as_it_was(model: Any) -> None:
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    bound(model, Recipe(rank=2, steps=2))
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert all(weight.requires_grad for weight in model.parameters())


def test_fitting_is_repeatable(model: Any) -> None:
    once, again = (fit(model, FORGET, RETAIN, Recipe(rank=2, steps=3)) for _ in range(2))
    assert once[0] == again[0]
    assert all((once[1][name] == again[1][name]).all() for name in once[1])


@pytest.mark.parametrize(("forget", "retain"), [([], RETAIN), (FORGET, [])])
def test_both_kinds_of_examples_are_needed(model: Any, forget: Any, retain: Any) -> None:
    with pytest.raises(ValueError, match="examples"):
        fit(model, forget, retain)
