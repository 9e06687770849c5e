"""The constrained beam search against looking at every answer there is."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from models.local_engine import LocalEngine, Sampling
from models.local_engine.beam_search import Beams, Cached, Forbidding, search

END, CAT, DOG, S, DOT = range(5)
PIECES = (b"", b" cat", b" dog", b"s", b".")
ENDS = frozenset({END})


class Told:
    """A model that gives each sequence the probabilities that it is told; others are alike."""

    def __init__(self, told: dict[tuple[int, ...], dict[int, float]], size: int = 5) -> None:
        self._told = told
        self._size = size
        self._sequences: list[tuple[int, ...]] = []

    def start(self) -> Tensor:
        self._sequences = [()]
        return self._logits()

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Tensor:
        self._sequences = [
            (*self._sequences[parent], token) for parent, token in zip(parents, tokens, strict=True)
        ]
        return self._logits()

    def _logits(self) -> Tensor:
        rows = []
        for sequence in self._sequences:
            told = self._told.get(sequence, dict.fromkeys(range(self._size), 1 / self._size))
            rows.append([math.log(told[t]) if t in told else -math.inf for t in range(self._size)])
        return torch.tensor(rows)


def forbidding(
    *phrases: tuple[int, ...], word: Callable[[str], float] = lambda word: 0.0
) -> Forbidding:
    return Forbidding(phrases, word, PIECES)


def every_answer(size: int, longest: int) -> Iterator[tuple[int, ...]]:
    """Whatever ends with the end token, and whatever has grown to the limit without one."""
    others = [token for token in range(size) if token != END]
    for length in range(longest):
        yield from ((*body, END) for body in product(others, repeat=length))
    yield from product(others, repeat=longest)


def slow_score(
    tokens: Sequence[int], likely: Callable[[Sequence[int]], Tensor], rules: Forbidding
) -> float:
    """The whole answer's score, by definition."""
    text = b"".join(rules.pieces[token] for token in tokens).decode()
    for phrase in rules.phrases:
        for at in range(len(tokens)):
            if tuple(tokens[at : at + len(phrase)]) == tuple(phrase):
                return -math.inf
    words = text.split()
    whole = words if tokens[-1] == END or text.endswith(" ") else words[:-1]
    score = sum(float(likely(tokens[:at])[token]) for at, token in enumerate(tokens))
    return score - sum(rules.word(bare) for word in whole if (bare := word.strip(".")))


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> LocalEngine:
    return LocalEngine.load(tiny_model)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


class Few:
    """A real model of which only some tokens may be said.  said: END first."""

    def __init__(self, model: Cached, said: Sequence[int]) -> None:
        self._model, self._said = model, list(said)

    def start(self) -> Tensor:
        return self._model.start()[:, self._said]

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Tensor:
        return self._model.extend(parents, [self._said[t] for t in tokens])[:, self._said]


@pytest.mark.parametrize("seed", range(6))
def test_wide_enough_it_finds_the_best_of_all_answers(model: Any, seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    said = torch.randperm(300, generator=dice)[:5].add(10).tolist()
    prompt = torch.randint(10, 300, (6,), generator=dice).tolist()
    penalties = {"cat": 0.4, "cats": math.inf, "dog": 0.2, "dogcat": 0.3}
    phrases = ((DOG, DOT), (CAT, CAT), (S, S, S))
    rules = forbidding(*phrases, word=lambda word: penalties.get(word, 0.0))

    def likely(tokens: Sequence[int]) -> Tensor:
        with torch.no_grad():
            ids = torch.tensor([[*prompt, *(said[t] for t in tokens)]])
            logits: Tensor = model(ids, use_cache=False).logits[0, -1]
        return logits[said].log_softmax(-1)

    everything = list(every_answer(5, 4))
    scores = {tokens: slow_score(tokens, likely, rules) for tokens in everything}
    best = max(everything, key=lambda tokens: scores[tokens] / len(tokens))
    found = search(Few(Cached(model, prompt), said), Beams(len(everything), 5, 4), rules, ENDS)
    assert found.tokens == best
    assert found.score == pytest.approx(scores[best], abs=1e-4)
    assert found.fallbacks == 0


def test_one_beam_without_rules_is_greedy(engine: LocalEngine, model: Any) -> None:
    rules = Forbidding((), lambda word: 0.0, [b"x"] * engine.vocab_size)
    for text in ("Where was the lamplighter born?", "x", "東京"):
        ids = engine.tokenizer.encode(text)
        found = search(Cached(model, ids), Beams(1, 14, 20), rules, engine.end_ids)
        assert list(found.tokens) == list(engine.generate(ids, Sampling(max_tokens=20)))


def test_the_same_each_time(engine: LocalEngine, model: Any) -> None:
    ids = engine.tokenizer.encode("Tell me about the garden")
    rules = Forbidding(((300, 301),), lambda word: 0.1, [b" x"] * engine.vocab_size)
    first, second = (
        search(Cached(model, ids), Beams(max_tokens=12), rules, engine.end_ids) for _ in range(2)
    )
    assert first == second


def test_a_finished_phrase_is_pruned_and_not_its_beginning() -> None:
    told = Told({(): {CAT: 0.9, DOG: 0.1}, (CAT,): {S: 0.5, END: 0.5}, (DOG,): {END: 1.0}})
    rules = forbidding((CAT, S))
    assert search(told, Beams(2, 5, 3), rules, ENDS).tokens == (CAT, END)


def test_a_smaller_share_prunes_a_beginning() -> None:
    told = Told({(): {CAT: 0.9, DOG: 0.1}, (DOG,): {END: 1.0}})
    rules = forbidding((CAT, S))
    assert search(told, Beams(2, 5, 3, beta=0.5), rules, ENDS).tokens == (DOG, END)


@pytest.mark.parametrize(
    ("tokens", "ratio"),
    [((), 0), ((CAT,), 1 / 3), ((CAT, DOG), 2 / 3), ((CAT, DOG, S), 1), ((DOG, S), 0),
     ((CAT, CAT), 1 / 3), ((S, CAT, DOG), 2 / 3), ((CAT, DOG, DOT), 0)],
)  # fmt: skip
def test_the_ratio_is_the_share_of_a_phrase(tokens: tuple[int, ...], ratio: float) -> None:
    assert forbidding((CAT, DOG, S)).ratio(tokens) == pytest.approx(ratio)


def test_the_ratio_is_of_the_phrase_that_got_furthest() -> None:
    assert forbidding((CAT, DOG, S), (DOG, S)).ratio((CAT, DOG)) == pytest.approx(2 / 3)
    assert forbidding().ratio((CAT,)) == 0


def test_a_word_is_weighed_once_it_has_ended_and_only_then() -> None:
    asked: list[str] = []

    def word(word: str) -> float:
        asked.append(word)
        return math.inf if word == "cat" else 0.0

    only = {(): {CAT: 1.0}, (CAT,): {S: 0.1, DOT: 0.9}, (CAT, S): {END: 1.0},
            (CAT, DOT): {END: 1.0}}  # fmt: skip
    found = search(Told(only), Beams(2, 5, 3), forbidding(word=word), ENDS)
    # " cat" itself is no word yet: "s" makes another of it, and a dot does not belong to it.
    assert found.tokens == (CAT, S, END)
    assert sorted(asked) == ["cat", "cats"]


def test_penalties_are_taken_from_the_score() -> None:
    told = Told({(): {CAT: 0.6, DOG: 0.4}, (CAT,): {END: 1.0}, (DOG,): {END: 1.0}})
    penalties = {"cat": 0.45, "dog": 0.0}
    rules = forbidding(word=penalties.__getitem__)
    found = search(told, Beams(2, 5, 3), rules, ENDS)
    assert (found.tokens, found.fallbacks) == ((DOG, END), 0)
    assert found.score == pytest.approx(math.log(0.4))
    penalties["cat"] = 0.4
    found = search(told, Beams(2, 5, 3), rules, ENDS)
    assert (found.tokens, found.fallbacks) == ((CAT, END), 0)
    assert found.score == pytest.approx(math.log(0.6) - 0.4)


def test_where_all_is_forbidden_it_goes_on_greedily() -> None:
    told = Told({(): {CAT: 0.6, DOG: 0.4}, (CAT,): {END: 1.0}})
    found = search(told, Beams(2, 5, 3), forbidding((CAT,), (DOG,)), ENDS)
    assert (found.tokens, found.fallbacks) == ((CAT, END), 1)
    assert found.score == pytest.approx(math.log(0.6))


def test_scores_are_compared_by_length() -> None:
    told = Told(
        {(): {CAT: 0.5, END: 0.5}, (CAT,): {DOG: 1.0}, (CAT, DOG): {END: 1.0}},
    )
    # Half in one token, or half over three: a sum alone could not tell them apart.
    assert search(told, Beams(2, 5, 4), forbidding(), ENDS).tokens == (CAT, DOG, END)


def test_an_answer_that_has_not_ended_counts_at_the_limit_only() -> None:
    told = Told({(): {END: 0.1, CAT: 0.9}, (CAT,): {DOG: 0.9, END: 0.1}, (CAT, DOG): {DOG: 1.0}})
    # Both answers have ended when " cat dog" is likelier than either, and goes on.
    assert search(told, Beams(2, 5, 9), forbidding(), ENDS).tokens == (CAT, END)
    assert search(told, Beams(3, 5, 2), forbidding(), ENDS).tokens == (CAT, DOG)


def test_words_end_with_a_blank_or_with_the_answer() -> None:
    rules = forbidding()
    assert rules.finished((CAT,), ended=False) == []
    assert rules.finished((CAT, S, DOT), ended=False) == []
    assert rules.finished((CAT, S, DOT, DOG), ended=False) == ["cats"]
    assert rules.finished((CAT, DOT, DOG, END), ended=True) == ["cat", "dog"]
    assert rules.finished((DOT, CAT, DOG), ended=False) == ["cat"]


@pytest.mark.parametrize("wrong", [{"width": 0}, {"pool": 0}, {"max_tokens": 0}, {"beta": 0.0},
                                   {"beta": 1.5}, {"beta": math.nan}])  # fmt: skip
def test_numbers_that_make_no_search_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="beta"):
        Beams(**wrong)  # type: ignore[arg-type]
