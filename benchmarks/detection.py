"""Detection measured: flat in the number of policies, and right about near misses.

    python -m benchmarks.detection [--policies 100000] [--encoder FOLDER] [--tofu FOLDER]

Times are compared with each other within one run; alone they say little on a shared machine.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from guards.case import Case, Prompt, Span
from guards.detector import DetectorIndex, passages_of
from guards.detector_block import Block
from guards.examples import ExampleIndex, windows_of
from guards.phrase_index import PhraseIndex
from guards.policy import Epoch, GuardSpec, Policy
from guards.rules import Rules
from models.demo.attributes import ATTRIBUTES
from models.demo.corpus import Probe, held_out_probes, near_miss_probes
from models.demo.world import Person, World, make_world
from models.detector import Detector, Key, Kind
from models.encoder import DIMENSIONS, Encoder
from models.erasures import Erasure
from models.fitting.detector import GENERAL_WEIGHTS

FILTERED = (GuardSpec("text_filter"),)
THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_STARTS, _VOWELS, _ENDS = "bdfghklmnprstvwz", "aeiou", ("", "", "n", "r", "l", "s", "th")
_ENGLISH = (
    "The keeper of the lighthouse wrote a long letter about the weather, the boats that passed and "
    "the price of oil; in the evening she read it to her neighbour, who had asked for it. "
)


class Question(NamedTuple):
    """A text, and the policy (digest) that it touches, or "" for a near miss."""

    text: str
    policy: str


def main() -> None:
    """Run it all and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=100_000)
    parser.add_argument("--encoder", type=Path, default=Path(".lethe/encoder"))
    parser.add_argument("--tofu", type=Path)
    arguments = parser.parse_args()
    show_flatness([10, 1000, arguments.policies])
    encoder = Encoder.load(arguments.encoder)
    show_detectors([10, 1000, arguments.policies], encoder)
    world = make_world()
    print("\ndemo world")
    show_quality(*demo_questions(world), encoder)
    if arguments.tofu:
        print("\nTOFU")
        show_quality(*tofu_questions(arguments.tofu), encoder)


def show_flatness(sizes: Sequence[int]) -> None:
    """Time routing, filtering and changing at each size."""
    print("policies  build s  route ms  filter us/char  held chars  add one ms  remove one ms")
    for size in sizes:
        policies = tuple(invented_policies(size))
        start = time.process_time()
        rules = Rules.build(Epoch(1, policies), None, 0.7)
        built = time.process_time() - start
        case = Case("c", "tenant", "model", 1, prompt_of((_ENGLISH * 12)[:2000]))
        route = timed(partial(rules.decide, case), 30)
        per_char, held = filtering(rules)
        more = (*policies, *invented_policies(1, seed=size + 1))
        add = timed(partial(Rules.build, Epoch(2, more), None, 0.7, rules), 5)
        less = policies[1:]
        remove = timed(partial(Rules.build, Epoch(2, less), None, 0.7, rules), 5)
        print(
            f"{size:8} {built:8.2f} {route * 1e3:9.2f} {per_char * 1e6:15.2f} {held:11.2f} "
            f"{add * 1e3:11.1f} {remove * 1e3:14.1f}"
        )


def show_detectors(sizes: Sequence[int], encoder: Encoder) -> None:
    """Time searching the stacked detectors at each size, and their memory.

    Each has four prototypes and sixteen words, all drawn; the texts' vectors are remembered, so
    that the encoder's time is left out.
    """
    print("\ndetectors  stack s  search ms (16 windows)  bytes a policy")
    text = (_ENGLISH * 12)[:2000]
    passages = passages_of(text, windows_of(text, (Span(0, len(text)),)), (), 0)
    encoder.encode([passage.text for passage in passages])
    for size in sizes:
        start = time.process_time()
        block = Block.of(list(zip(invented_policies(size), invented_detectors(size), strict=True)))
        index = DetectorIndex((block,))
        index.prepare()
        built = time.process_time() - start

        def search(index: DetectorIndex = index) -> None:
            list(index.found(passages, lambda policy: True, encoder))

        took = timed(search, 5)
        print(f"{size:9} {built:8.1f} {took * 1e3:23.1f} {block.nbytes / size:15.0f}", flush=True)


def invented_detectors(size: int) -> Iterator[Detector]:
    """Detectors of which everything is drawn, far from every text."""
    dice, numbers = random.Random("detectors"), np.random.default_rng(0)
    weights = np.array(GENERAL_WEIGHTS, np.float32)
    for _ in range(size):
        vectors = numbers.integers(-127, 128, (5, DIMENSIONS), np.int8)
        keys = tuple(Key(dice.getrandbits(64), Kind.TOPIC, 0.5) for _ in range(16))
        yield Detector(weights, vectors[:4], vectors[4:], keys, 0.5, Erasure())


def invented_policies(size: int, seed: int = 0) -> Iterator[Policy]:
    """Policies about people with names of two or three parts that nobody has."""
    rng = random.Random(f"policies/{seed}")
    for number in range(size):
        name = f"{invented_word(rng)} {invented_word(rng)}"
        yield Policy(f"fr_{seed}_{number}", (name,), guards=FILTERED)


def invented_word(rng: random.Random) -> str:
    """A name of two to four syllables."""
    parts = (
        rng.choice(_STARTS) + rng.choice(_VOWELS) + rng.choice(_ENDS)
        for _ in range(rng.randint(2, 4))
    )
    return "".join(parts).capitalize()


def prompt_of(text: str) -> Prompt:
    """A prompt of which all is content, with a token for each character."""
    places = tuple(Span(i, i + 1) for i in range(len(text)))
    return Prompt(text, tuple(range(len(text))), places, (Span(0, len(text)),))


def filtering(rules: Rules) -> tuple[float, float]:
    """Seconds a character, and characters held back on average, on ordinary text."""
    text = (_ENGLISH * 12)[:2000]
    deltas = [text[i : i + 4] for i in range(0, len(text), 4)]
    text_filter = rules.text_filter("tenant", "model")
    released, held, given = 0, 0, 0
    start = time.process_time()
    for delta in deltas:
        given += len(delta)
        released += len(text_filter.push(delta))
        held += given - released
    return (time.process_time() - start) / len(text), held / len(deltas)


def timed(run: Callable[[], object], times: int) -> float:
    """Median seconds of processor time."""
    took = []
    for _ in range(times):
        start = time.process_time()
        run()
        took.append(time.process_time() - start)
    return median(took)


def show_quality(
    policies: Sequence[Policy], questions: Sequence[Question], encoder: Encoder
) -> None:
    """Recall and false alarms: by alias, by cosine alone, and with distinctive words."""
    about = [q for q in questions if q.policy]
    others = [q for q in questions if not q.policy]
    index = PhraseIndex.of(policies)
    found = [q.policy in index.find(q.text, "", "") for q in about]
    false = [bool(index.find(q.text, "", "")) for q in others]
    print(f"{len(about)} about policies, {len(others)} near misses")
    print(f"by alias: recall {rate(found)}, false alarms {rate(false)} ({sum(false)})")
    examples = ExampleIndex(THRESHOLDS[0]).changed(policies, frozenset(), encoder)
    print("cosine  recall alone  false alone  recall with words  false with words")
    scores = [best(examples, q.text, encoder) for q in about]
    false_scores = [best(examples, q.text, encoder) for q in others]
    for threshold in THRESHOLDS:
        row = [
            rate([score[kind] >= threshold for score in some])
            for kind in (0, 1)
            for some in (scores, false_scores)
        ]
        print(f"{threshold:6.2f}  {row[0]:>12}  {row[1]:>11}  {row[2]:>17}  {row[3]:>16}")


def best(index: ExampleIndex, text: str, encoder: Encoder) -> tuple[float, float]:
    """The highest cosine with an example: of all, and of those whose distinctive words occur."""
    windows = windows_of(text, (Span(0, len(text)),))
    vectors = encoder.encode([text[start:end] for start, end in windows])
    alone = max((float((b.vectors @ vectors.T).max()) for b in index.blocks), default=0.0)
    likenesses = index.like(text, windows, encoder)
    return alone, max((likeness.score for likeness in likenesses), default=0.0)


def rate(values: Iterable[bool]) -> str:
    """As a percentage."""
    listed = list(values)
    return f"{100 * sum(listed) / max(1, len(listed)):.2f} %"


def demo_questions(world: World) -> tuple[list[Policy], list[Question]]:
    """Forgotten people, an example for each fact; asked about in wordings of other families."""
    policies = {person.name: policy_about(person) for person in world.forgotten}
    about = [
        Question(text_of(probe), policies[person.name].digest)
        for person in world.forgotten
        for probe in held_out_probes(world, [person])
    ]
    others = [Question(text_of(probe), "") for probe in near_miss_probes(world)]
    return list(policies.values()), about + others


def policy_about(person: Person) -> Policy:
    """What somebody would file about the person: names, and one question for each fact."""
    examples = []
    for fact in person.facts:
        words = ATTRIBUTES[fact.attribute]
        examples.append(named(words.asks[0], person.name))
        examples += [ask.replace("{v}", fact.value) for ask in words.reverse[:1]]
    return Policy(person.name, (person.name, *person.aliases), tuple(examples), FILTERED)


def named(template: str, name: str) -> str:
    """The template about somebody."""
    for slot, word in (("{ns}", f"{name}'s"), ("{n}", name), ("{o}", name)):
        template = template.replace(slot, word)
    return template


def text_of(probe: Probe) -> str:
    """All that is said in a probe."""
    return "\n".join(str(message["content"]) for message in probe.messages)


def tofu_questions(folder: Path) -> tuple[list[Policy], list[Question]]:
    """TOFU: a policy for each forgotten author (20 questions), asked in paraphrase.

    Near misses are the questions about all the authors that stay.
    """
    rows = read_lines(folder / "forget10_perturbed.jsonl")
    policies: list[Policy] = []
    about: list[Question] = []
    for first in range(0, len(rows), 20):
        author = rows[first : first + 20]
        examples = tuple(row["question"] for row in author)
        policy = Policy(f"author {first}", (f"Author Number{first}",), examples, FILTERED)
        policies.append(policy)
        about += [Question(row["paraphrased_question"], policy.digest) for row in author]
    kept = read_lines(folder / "retain_perturbed.jsonl")
    return policies, about + [Question(row["question"], "") for row in kept]


def read_lines(path: Path) -> list[dict[str, str]]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
