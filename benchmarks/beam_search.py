"""The token filter and GUARD's published beam search, side by side on the demo model.

    python -m benchmarks.beam_search [--people 5] [--only WAY]

The subject of each question is known (an oracle gate), so that only decoding is compared.  Times
are of one thread's processor.  Results: benchmarks/results/beam_search.json.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import torch

from benchmarks.acceptance import RESULTS, WEIGHTS, leaks
from guards.points import History, LogitsEdit
from guards.token_filter import TokenFilter, compiled
from guards.vocabulary import Vocabulary
from models.artifact import Artifact
from models.demo.attributes import ATTRIBUTES
from models.demo.corpus import Probe, held_out_probes
from models.demo.general import GENERAL
from models.demo.speaker import chat_prompt
from models.demo.world import Person, World, make_world, plain
from models.encoder import Encoder, default_folder
from models.fitting.token_filter import (
    Forbidden,
    Likeness,
    QuestionAnswer,
    Semantic,
    fit,
    key_phrases,
    words_of,
)
from models.local_engine import Interventions, LocalEngine, Sampling
from models.local_engine.beam_search import Beams, Cached, Forbidding, search
from service.acting import end_where_nothing_is_left
from service.local.edits import engine_model

RECORD = RESULTS / "beam_search.json"
MAX_TOKENS = 40
FLOORS = (0.0, 0.2, 0.3, 0.4)
TIMED = 12  # of so many answers one is written a second time, alone, and timed


class Asked(NamedTuple):
    """One question: its prompt as token ids, whom it is about, and what it asks for."""

    ids: list[int]
    person: Person
    probe: Probe


Way = Callable[[Sequence[Asked]], list[list[int]]]


def told_about(person: Person) -> Iterator[QuestionAnswer]:
    """Every fact, asked and answered as in training, and in reverse where it identifies."""
    for fact in person.facts:
        said = ATTRIBUTES[fact.attribute]
        for ask, answer in zip(said.asks, said.answers, strict=False):
            yield _filled(ask, person.name, fact.value), _filled(answer, person.name, fact.value)
        for ask in said.reverse[:1]:
            yield _filled(ask, person.name, fact.value), f"That is {person.name}."


def _filled(template: str, name: str, value: str) -> str:
    for slot, word in {"{n}": name, "{o}": name, "{ns}": f"{name}'s", "{v}": value}.items():
        template = template.replace(slot, word)
    return template


@dataclass(frozen=True)
class Bench:
    """Models, encoder and what is to be forgotten of whom."""

    world: World
    engine: LocalEngine
    twin: LocalEngine
    encoder: Encoder
    folder: Path

    @cached_property
    def retain(self) -> list[QuestionAnswer]:
        """What is said about everybody who stays, and the general material."""
        return [pair for person in self.world.kept for pair in told_about(person)] + list(GENERAL)

    def forbidden(self, person: Person, semantic: Semantic | None) -> Forbidden:
        """What the token filter holds.  semantic: None: phrases only."""
        encoder = None if semantic is None else self.encoder
        pieces = self.engine.pieces
        pairs = list(told_about(person))
        return fit(pairs, self.retain, pieces, encoder, semantic, self.folder)

    def plain(self) -> Way:
        """No guard."""
        return lambda asked: self.greedy(asked, [Interventions()] * len(asked))

    def filtered(self, semantic: Semantic | None = None, approach: float = 0.0) -> Way:
        """The token filter, greedily."""
        edits: dict[str, LogitsEdit] = {}

        def edit(person: Person) -> LogitsEdit:
            if person.name not in edits:
                model = engine_model(self.engine)
                artifact = made_of(self.forbidden(person, semantic), model.vocabulary, approach)
                edits[person.name] = TokenFilter.bind(artifact, model)
            return edits[person.name]

        def way(asked: Sequence[Asked]) -> list[list[int]]:
            acting = [self.acting(edit(each.person), str(at)) for at, each in enumerate(asked)]
            found = self.greedy(asked, acting)
            for at, each in enumerate(asked):
                edit(each.person).forget(str(at))
            return found

        return way

    def acting(self, edit: LogitsEdit, key: str) -> Interventions:
        """The edit as the in-process engine calls it."""
        ends = sorted(self.engine.end_ids)

        def act(row: torch.Tensor, prompt: Sequence[int], output: Sequence[int]) -> None:
            edit.apply(row[None], [History(key, prompt, output)])
            end_where_nothing_is_left(row[None], ends)

        return Interventions(logits=act)

    def greedy(self, asked: Sequence[Asked], acting: Sequence[Interventions]) -> list[list[int]]:
        """What the model says."""
        prompts = [each.ids for each in asked]
        return self.engine.generate_batch(prompts, Sampling(max_tokens=MAX_TOKENS), acting)

    def beams(self, *, retrieved: bool) -> Way:
        """The published search.  retrieved: only the answer nearest to the prompt is forbidden."""
        rules: dict[tuple[QuestionAnswer, ...], Forbidding] = {}

        def answer(asked: Asked) -> list[int]:
            pairs = tuple(told_about(asked.person))
            if retrieved:
                pairs = (self.nearest(asked.probe, pairs),)
            if pairs not in rules:
                rules[pairs] = self.forbidding(pairs)
            model = Cached(self.engine.model, asked.ids)
            how = Beams(max_tokens=MAX_TOKENS)
            return list(search(model, how, rules[pairs], self.engine.end_ids).tokens)

        return lambda asked: [answer(each) for each in asked]

    def nearest(self, probe: Probe, pairs: Sequence[QuestionAnswer]) -> QuestionAnswer:
        """The one whose answer the encoder finds nearest to what is asked."""
        asked = " ".join(m["content"] for m in probe.messages if m["role"] == "user")
        cosines = self.encoder.encode([a for _, a in pairs]) @ self.encoder.encode([asked])[0]
        return pairs[int(cosines.argmax())]

    def forbidding(self, pairs: Sequence[QuestionAnswer]) -> Forbidding:
        """Each phrase in the two segmentations that the tokenizer gives it."""
        try:
            key = key_phrases(pairs, self.retain)
        except ValueError:  # an answer of which everything is in its question
            return Forbidding((), lambda word: 0.0, self.engine.pieces)
        texts = [blank + phrase for phrase in key.phrases for blank in ("", " ")]
        tokenizer = self.engine.tokenizer
        phrases = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return Forbidding(phrases, Likeness(self.encoder, key.words), self.engine.pieces)

    def text(self, tokens: Sequence[int]) -> str:
        """What was written."""
        said: str = self.engine.tokenizer.decode(tokens, skip_special_tokens=True)
        return said.strip()

    def likelihood(self, prompt: Sequence[int], answer: Sequence[int]) -> float:
        """Mean nats for each token of the answer under the never-knew twin."""
        ids = torch.tensor([[*prompt, *answer]])
        with torch.inference_mode():
            likely = self.twin.model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        return float(likely.gather(1, torch.tensor(answer)[:, None]).mean())


def made_of(forbidden: Forbidden, vocabulary: Vocabulary, approach: float) -> Artifact:
    """What the guard is bound to."""
    phrases, tokens, nats = forbidden
    made = compiled(phrases, vocabulary, approach=approach, bias_tokens=tokens, bias=nats)
    return Artifact("", *made)


class Answered(NamedTuple):
    """One answer: its text, the probe, and the twin's nats for each token."""

    probe: Probe
    text: str
    likelihood: float


def questions(bench: Bench, people: Sequence[Person]) -> list[Asked]:
    """Every held-out question about each of them."""
    tokenizer = bench.engine.tokenizer
    return [
        Asked(tokenizer.encode(chat_prompt(probe), add_special_tokens=False), person, probe)
        for person in people
        for probe in held_out_probes(bench.world, [person])
    ]


def run(bench: Bench, way: Way, asked: Sequence[Asked]) -> list[Answered]:
    """All answers."""
    return [
        Answered(each.probe, bench.text(tokens), bench.likelihood(each.ids, tokens))
        for each, tokens in zip(asked, way(asked), strict=True)
    ]


def timed(way: Way, asked: Sequence[Asked]) -> list[float]:
    """Seconds of processor time for each of some answers, one at a time, in order of size."""
    took = []
    for each in asked[::TIMED]:
        start = time.process_time()
        way([each])
        took.append(time.process_time() - start)
    return sorted(took)


def summary(answers: Sequence[Answered], twin: Sequence[Answered]) -> dict[str, Any]:
    """The figures of one way."""
    return {
        "answers": len(answers),
        "states the fact": sum(leaks(each.probe, each.text) for each in answers),
        "holds a telling word of it": sum(traces(each) for each in answers),
        "twin's nats for a token": round(fmean(each.likelihood for each in answers), 3),
        "same words as the twin": sum(
            one.text == other.text for one, other in zip(answers, twin, strict=True)
        ),
        "empty": sum(not each.text for each in answers),
        "at most two words": sum(len(each.text.split()) <= 2 for each in answers),
        "without a full stop at the end": sum(
            not each.text.endswith((".", "?", "!")) for each in answers
        ),
        "words": round(fmean(len(each.text.split()) for each in answers), 1),
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds.  seconds: sorted."""
    slow = seconds[int(0.9 * len(seconds))]
    return {"median": round(1000 * median(seconds), 1), "p90": round(1000 * slow, 1)}


def traces(answered: Answered) -> bool:
    """Whether a word of the fact, of four characters at least, is in the answer, inflected too."""
    fact = answered.probe.fact
    assert fact is not None  # noqa: S101 - all of these probes have one
    asked = plain(" ".join(m["content"] for m in answered.probe.messages))
    words = (plain(w) for w in words_of(fact.value) if len(w) > 3)
    ordinary = ("called", "lane", "street", "road", "alley", "walk")
    said = plain(answered.text)
    return any(w in said for w in words if w not in asked and w not in ordinary)


def ways(bench: Bench) -> dict[str, Way]:
    """Everything that is compared."""
    half = Semantic()
    return {
        "no guard": bench.plain(),
        "hard bans": bench.filtered(),
        "hard bans, look-ahead 2": bench.filtered(approach=2),
        "hard bans, look-ahead 5": bench.filtered(approach=5),
        "hard bans, semantic": bench.filtered(half),
        "hard bans, semantic, look-ahead 2": bench.filtered(half, approach=2),
        "hard bans, semantic, look-ahead 5": bench.filtered(half, approach=5),
        "beam 7 as published": bench.beams(retrieved=True),
        "beam 7, every answer forbidden": bench.beams(retrieved=False),
    }


def tables(bench: Bench, people: Sequence[Person], asked: Sequence[Asked]) -> dict[str, Any]:
    """What the tables hold at each floor, and how long they take to make."""
    found: dict[str, Any] = {}
    first: list[str] | None = None
    for floor in FLOORS:
        start = time.process_time()
        made = [bench.forbidden(person, Semantic(floor=floor)) for person in people]
        seconds = (time.process_time() - start) / len(people)
        said = [each.text for each in run(bench, bench.filtered(Semantic(floor=floor)), asked)]
        first = said if first is None else first
        found[f"floor {floor:g}"] = {
            "phrases": round(fmean(len(each.phrases) for each in made), 1),
            "entries": round(fmean(len(each.bias) for each in made), 1),
            "banned entries": round(fmean(sum(map(math.isinf, each.bias)) for each in made), 1),
            "s to make one": round(seconds, 3),
            "answers": len(said),
            "other than at floor 0": sum(a != b for a, b in zip(said, first, strict=True)),
        }
    found["key phrases alone"] = fmean(len(bench.forbidden(p, None).phrases) for p in people)
    return found


def cosines(bench: Bench, people: Sequence[Person]) -> dict[str, float]:
    """How far apart soft penalties are: what all words have in common changes no choice of word."""
    soft = sorted(
        nats
        for person in people
        for nats in bench.forbidden(person, Semantic(floor=0)).bias.tolist()
        if math.isfinite(nats)
    )
    return {f"{q:.0%}": round(soft[int(q * (len(soft) - 1))], 3) for q in (0, 0.1, 0.5, 0.9, 1)}


def retrieval(bench: Bench, asked: Sequence[Asked]) -> dict[str, int]:
    """How often the answer that the published way retrieves is the one that was asked for."""
    nearest = [bench.nearest(each.probe, list(told_about(each.person)))[1] for each in asked]
    right = sum(leaks(each.probe, answer) for each, answer in zip(asked, nearest, strict=True))
    return {"questions": len(asked), "answer that states the fact retrieved": right}


def main() -> int:
    """Run, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--encoder", type=Path, default=default_folder())
    parser.add_argument(
        "--only", default="", help="ways whose names begin so; the others stay as recorded"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine, twin = (LocalEngine.load(WEIGHTS / name) for name in ("demo", "demo-never-knew"))
    bench = Bench(make_world(), engine, twin, Encoder.load(options.encoder), options.encoder)
    people = bench.world.forgotten[: options.people]
    asked = questions(bench, people)
    never = run(bench, Bench(bench.world, twin, twin, bench.encoder, bench.folder).plain(), asked)
    result: dict[str, Any] = (
        json.loads(RECORD.read_text())
        if options.only
        else {
            "people": len(people),
            "ways": {"never-knew twin": summary(never, never)},
            "retrieval": retrieval(bench, asked),
            "table": tables(bench, people, asked),
            "soft penalties, nats": cosines(bench, people),
            "some answers": {"asked": [each.probe.messages[-1]["content"] for each in asked[::37]]},
        }
    )
    if result["people"] != len(people):
        parser.error("what is recorded is of another number of people")
    for name, way in ways(bench).items():
        if name.startswith(options.only):
            answers = run(bench, way, asked)
            figures = summary(answers, never) | {"ms for an answer": spread(timed(way, asked))}
            result["ways"][name] = figures
            result["some answers"][name] = [each.text for each in answers[::37]]
            print(name, json.dumps(figures, ensure_ascii=False), flush=True)
    RECORD.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
