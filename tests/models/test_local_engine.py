"""The in-process engine against slow, obvious references."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.local_engine import EmbeddingHook, Interventions, InvalidSampling, LocalEngine, Sampling
from models.local_engine.interventions import InterventionFailed
from models.local_engine.sampling import Sampler
from models.local_engine.text import IncrementalText, StopStrings

Model = Any  # as transformers makes it

PROMPTS = [
    "Where was the lamplighter of Dunmere born?",
    "Tell me about the garden",
    "x",
    "東京タワー; добрый день",
]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> LocalEngine:
    return LocalEngine.load(tiny_model)


@pytest.fixture(scope="module")
def plain_model(tiny_model: Path) -> Model:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def slow_greedy(
    model: Model,
    ids: list[int],
    count: int,
    edit: Callable[[Tensor], Tensor] = lambda embeddings: embeddings,
) -> list[int]:
    """No cache, no hooks: every token from a pass over everything, with embeddings given."""
    ids, chosen = list(ids), []
    for _ in range(count):
        embeddings = edit(model.get_input_embeddings()(torch.tensor([ids])).detach())
        with torch.no_grad():
            token = int(model(inputs_embeds=embeddings, use_cache=False).logits[0, -1].argmax())
        ids.append(token)
        chosen.append(token)
        if token == model.config.eos_token_id:
            break
    return chosen


def negate(start: int, end: int) -> Interventions:
    def embedding(rows: Tensor, positions: NDArray[np.int64], history: NDArray[np.int64]) -> Tensor:
        assert len(history) == positions[-1] + 1
        inside = torch.from_numpy((positions >= start) & (positions < end))
        return torch.where(inside[:, None], -rows, rows)

    return Interventions(embedding=embedding)


def negate_slowly(start: int, end: int) -> Callable[[Tensor], Tensor]:
    def edit(embeddings: Tensor) -> Tensor:
        changed = embeddings.clone()
        changed[:, start:end] *= -1
        return changed

    return edit


@pytest.mark.parametrize("text", PROMPTS)
def test_greedy_equals_recomputing_everything(
    engine: LocalEngine, plain_model: Model, text: str
) -> None:
    ids = engine.tokenizer.encode(text)
    assert list(engine.generate(ids, Sampling(max_tokens=32))) == slow_greedy(plain_model, ids, 32)


@pytest.mark.parametrize("text", PROMPTS)
@pytest.mark.parametrize("span", [(0, 1), (1, 4), (0, 1000)])
def test_edited_greedy_equals_recomputing_everything(
    engine: LocalEngine, plain_model: Model, text: str, span: tuple[int, int]
) -> None:
    # The last span reaches into the generated text, whose positions the hook sees as well.
    ids = engine.tokenizer.encode(text)
    found = list(engine.generate(ids, Sampling(max_tokens=24), negate(*span)))
    assert found == slow_greedy(plain_model, ids, 24, negate_slowly(*span))


def test_an_edit_changes_the_answer_and_leaves_nothing_behind(engine: LocalEngine) -> None:
    ids = engine.tokenizer.encode(PROMPTS[0])
    plain = list(engine.generate(ids, Sampling(max_tokens=24)))
    assert list(engine.generate(ids, Sampling(max_tokens=24), negate(0, 4))) != plain
    assert list(engine.generate(ids, Sampling(max_tokens=24))) == plain


def test_interleaved_generations_do_not_touch_each_other(engine: LocalEngine) -> None:
    ids = engine.tokenizer.encode(PROMPTS[0])
    how = Sampling(max_tokens=16)
    apart = [list(engine.generate(ids, how, negate(0, end))) for end in (0, 2, 5)]
    iterators = [engine.generate(ids, how, negate(0, end)) for end in (0, 2, 5)]
    together = [list(tokens) for tokens in zip(*zip(*iterators, strict=False), strict=True)]
    assert together == [tokens[: len(together[0])] for tokens in apart]
    assert len({tuple(tokens) for tokens in together}) == 3


def test_a_batch_equals_one_by_one(engine: LocalEngine) -> None:
    prompts = [engine.tokenizer.encode(text) for text in PROMPTS * 2]
    acting = [negate(0, 0)] * 4 + [negate(0, 3), negate(1, 2), negate(0, 1000), negate(2, 9)]
    how = Sampling(max_tokens=20, stop_token_ids=(113, 232, 320))
    alone = [
        list(engine.generate(ids, how, each)) for ids, each in zip(prompts, acting, strict=True)
    ]
    assert len({len(tokens) for tokens in alone}) > 1, "rows must end at different times"
    assert engine.generate_batch(prompts, how, acting, batch_size=3) == alone
    assert engine.generate_batch(prompts, how, acting) == alone
    assert engine.generate_batch([], how) == []


def test_sampled_batches_equal_one_by_one(engine: LocalEngine) -> None:
    prompts = [engine.tokenizer.encode(text) for text in PROMPTS]
    how = Sampling(max_tokens=12, temperature=0.9, top_p=0.9, seed=3)
    assert engine.generate_batch(prompts, how) == [list(engine.generate(p, how)) for p in prompts]


def test_the_seed_decides_alone(engine: LocalEngine) -> None:
    ids = engine.tokenizer.encode(PROMPTS[0])

    def sampled(seed: int) -> list[int]:
        return list(engine.generate(ids, Sampling(max_tokens=20, temperature=1.5, seed=seed)))

    first = sampled(1)
    torch.manual_seed(99)
    assert sampled(1) == first
    assert any(sampled(seed) != first for seed in (2, 3, 4))


def test_end_tokens_and_limits(engine: LocalEngine) -> None:
    ids = engine.tokenizer.encode(PROMPTS[0])
    plain = list(engine.generate(ids, Sampling(max_tokens=10)))
    stop = plain[3]
    cut = plain[: plain.index(stop) + 1]
    assert list(engine.generate(ids, Sampling(max_tokens=10, stop_token_ids=(stop,)))) == cut
    (end,) = engine.end_ids
    forced = Sampling(max_tokens=5, logit_bias={end: 100.0})
    assert list(engine.generate(ids, forced)) == [end]
    later = Sampling(max_tokens=5, logit_bias={end: 100.0}, min_tokens=3)
    assert list(engine.generate(ids, later))[3:] == [end]
    going_on = Sampling(max_tokens=5, logit_bias={end: 100.0}, ignore_eos=True)
    assert list(engine.generate(ids, going_on)) == [end] * 5


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 1.1}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10_000}, "max_tokens"),
        ({"logit_bias": {100_000: 1.0}}, "logit_bias"),
        ({"logit_bias": {1: 200.0}}, "logit_bias"),
        ({"stop_token_ids": (-1,)}, "stop_token_ids"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(
    engine: LocalEngine, bad: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidSampling) as refused:
        engine.generate([5, 6], Sampling(**bad))  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize("ids", [[], [-1], [360]])
def test_a_prompt_outside_the_vocabulary_is_refused(engine: LocalEngine, ids: list[int]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        engine.generate(ids, Sampling())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rows, positions, history: rows[:1],
        lambda rows, positions, history: rows.double(),
        lambda rows, positions, history: rows / 0,
    ],
)
def test_a_wrong_intervention_ends_the_generation(
    engine: LocalEngine, wrong: EmbeddingHook
) -> None:
    with pytest.raises(InterventionFailed):
        list(engine.generate([5, 6, 7], Sampling(), Interventions(embedding=wrong)))


def test_the_scale_is_the_tables_root_mean_square(engine: LocalEngine, plain_model: Model) -> None:
    table = plain_model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
    assert engine.embedding_rms == pytest.approx(np.sqrt((table**2).mean()), rel=1e-9)


# --- sampling against the textbook -------------------------------------------------------------

# On a grid, so that no two tokens are almost equally likely.
scores = st.lists(st.integers(-64, 64), min_size=2, max_size=12, unique=True).map(
    lambda eighths: [value / 8 for value in eighths]
)


def slow_distribution(
    logits: list[float], how: Sampling, history: list[int]
) -> NDArray[np.float64]:
    """vLLM's order: bias, penalties, temperature, min_p, top_k, top_p; one token at a time."""
    values = [value + how.logit_bias.get(token, 0.0) for token, value in enumerate(logits)]
    for token, count in Counter(history).items():
        factor = how.repetition_penalty
        values[token] = values[token] / factor if values[token] > 0 else values[token] * factor
        values[token] -= how.frequency_penalty * count + how.presence_penalty
    odds = np.exp(np.array(values) / how.temperature)
    odds[odds < how.min_p * odds.max()] = 0
    best = sorted(range(len(odds)), key=lambda token: -odds[token])
    if how.top_k > 0:
        odds[best[how.top_k :]] = 0
    mass, shares = 0.0, odds / odds.sum()
    for token in best:
        if mass >= how.top_p:
            odds[token] = 0
        mass += shares[token]
    result: NDArray[np.float64] = odds / odds.sum()
    return result


@settings(max_examples=60, deadline=None)
@given(
    scores,
    st.sampled_from(
        [
            Sampling(temperature=0.7),
            Sampling(temperature=1.0, top_k=2),
            Sampling(temperature=1.3, top_p=0.6),
            Sampling(temperature=1.0, min_p=0.2),
            Sampling(temperature=0.9, min_p=0.05, top_k=4, top_p=0.8, logit_bias={0: 3.0}),
        ]
    ),
)
def test_sampled_tokens_follow_the_slow_distribution(logits: list[float], how: Sampling) -> None:
    expected = slow_distribution(logits, how, [])
    tensor = torch.tensor(logits)
    drawn = {
        Sampler(Sampling(**{**vars(how), "seed": seed}), [], frozenset()).choose(tensor)
        for seed in range(40)
    }
    # A token at the very edge of top_p may fall on either side by rounding.
    assert all(expected[token] > 0 for token in drawn) or _on_an_edge(logits, how)
    assert int(expected.argmax()) in drawn or expected.max() < 0.5


def test_the_likeliest_token_is_always_kept() -> None:
    for how in ({"top_p": 1e-12}, {"top_k": 1}, {"min_p": 1.0}):
        sampler = Sampler(Sampling(temperature=2.0, **how), [], frozenset())
        assert sampler.choose(torch.tensor([0.1, 0.3, 0.2])) == 1


def _on_an_edge(logits: list[float], how: Sampling) -> bool:
    shares = np.sort(np.exp(np.array(logits) / how.temperature))[::-1]
    return bool((np.abs(np.cumsum(shares / shares.sum()) - how.top_p) < 1e-5).any())


@settings(max_examples=60, deadline=None)
@given(scores, st.lists(st.integers(0, 1), max_size=6), st.floats(0.5, 2), st.floats(-2, 2))
def test_penalised_greedy_is_the_best_of_the_slow_distribution(
    logits: list[float], forced: list[int], repetition: float, frequency: float
) -> None:
    how = Sampling(
        max_tokens=99, repetition_penalty=repetition, frequency_penalty=frequency,
        presence_penalty=frequency / 2,
    )  # fmt: skip
    sampler = Sampler(how, [], frozenset())
    history: list[int] = []
    for token in forced:
        certain = torch.full((len(logits),), -1e9)
        certain[token] = 1e9
        history.append(sampler.choose(certain))
    warm = Sampling(**{**vars(how), "temperature": 1.0})
    expected = slow_distribution(logits, warm, history)
    best = sampler.choose(torch.tensor(logits))
    assert expected[best] == pytest.approx(expected.max(), rel=1e-4)


# --- text --------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=30))
def test_deltas_joined_are_the_text(engine: LocalEngine, text: str) -> None:
    ids = engine.tokenizer.encode(text)
    pieces = IncrementalText(engine.tokenizer, engine.tokenizer.encode("Tell me"))
    assert "".join(pieces.push(token) for token in ids) == engine.tokenizer.decode(
        ids, skip_special_tokens=True
    )


def test_a_character_split_over_tokens_comes_out_whole(engine: LocalEngine) -> None:
    ids = engine.tokenizer.encode("a🙂")
    assert len(ids) > 2
    pieces = IncrementalText(engine.tokenizer, [])
    deltas = [pieces.push(token) for token in ids]
    assert deltas == ["a"] + [""] * (len(ids) - 2) + ["🙂"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abc", max_size=3), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=3),
    st.booleans(),
)
def test_stop_strings_end_where_a_character_by_character_search_ends(
    deltas: list[str], stops: list[str], include: bool
) -> None:
    pieces, out, ended = StopStrings(stops, include=include), "", None
    for delta in deltas:
        text, ended = pieces.push(delta)
        out += text
        if ended is not None:
            break
    else:
        out += pieces.flush()
    expected, stop = _slow_stop("".join(deltas), stops, include)
    assert (out, ended) == (expected, stop)


def _slow_stop(text: str, stops: list[str], include: bool) -> tuple[str, str | None]:
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            # Of stop strings that end together, the one listed first.
            return text[: end if include else end - len(found[0])], found[0]
    return text, None


def test_no_part_of_a_stop_string_goes_out() -> None:
    pieces = StopStrings(["</end>"])
    assert [pieces.push(text) for text in ("well, ", "yes</en", "d> no")] == [
        ("w", None),
        ("ell, ye", None),
        ("s", "</end>"),
    ]
