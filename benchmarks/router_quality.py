"""How well the router finds what a policy is about, by each kind of evidence and by all together.

    python -m benchmarks.router_quality --tofu FOLDER [--encoder FOLDER] [--show]

TOFU, forget10: 20 authors.  A requester gives the author's name and the 20 questions with their
answers.  Asked are the paraphrases of those questions, which nothing here is fitted to; the
general weights (``models.fitting.detector.GENERAL_WEIGHTS``) were fitted to the paraphrases of
authors 1 to 10 and to demo worlds of other seeds.  So authors 11 to 20, and the second half of the
questions about authors that stay, are the test; the figures for all are given besides.
"""

import argparse
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.detection import demo_questions, prompt_of, read_lines
from guards.policy import Epoch, Policy
from guards.rules import Rules
from models.artifact import ArtifactStore
from models.demo.attributes import ATTRIBUTES
from models.demo.general import GENERAL
from models.demo.world import Person, make_world
from models.encoder import Encoder, default_folder
from models.erasures import Erasure
from models.fitting.detector import fit
from models.fitting.near_misses import invented_word, near_misses

ROWS = 20  # questions about each author of TOFU
UNKNOWN = "Nobodyhasthisname Vexqarutilo"  # an alias that is never written: names switched off
FRAMES = ("Quick question: {}", "{} Please be brief.")
AUTHORS = (
    *("Basil Mahfouz Al-Kuwaiti", "Nikolai Abilov", "Hina Ameen", "Xin Lee Williams"),
    *("Moshe Ben-David", "Kalkidan Abera", "Takashi Nakamura", "Raven Marais"),
    *("Aysha Al-Hashim", "Edward Patrick Sullivan", "Hsiao Yun-Hwa", "Carmen Montenegro"),
    *("Elvin Mammadov", "Rajeev Majumdar", "Jad Ambrose Al-Shamary", "Adib Jarrah"),
    *("Ji-Yeon Park", "Behrouz Rohani", "Wei-Jun Chen", "Tae-ho Park"),
)

Find = Callable[[str], set[int]]
"""The subjects (by number) that a text is taken to be about."""


class Subject(NamedTuple):
    """What a requester gives.  about: texts.  again: the same facts in other words."""

    names: tuple[str, ...]
    questions: tuple[str, ...]
    about: tuple[str, ...]
    again: tuple[str, ...]


class Asked(NamedTuple):
    """Texts of one kind.  about: whom each is about (by number), None for strangers."""

    name: str
    texts: tuple[str, ...]
    about: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Ground:
    """What is fitted and measured with.  erasure: how a text in the uncertain band is checked."""

    subjects: tuple[Subject, ...]
    encoder: Encoder
    erasure: Erasure

    def rules(self, *, names: bool, examples: bool, detector: bool) -> Rules:
        """Rules with that evidence only."""
        with tempfile.TemporaryDirectory() as folder:
            store = ArtifactStore(Path(folder), secrets.token_bytes(32))
            policies = tuple(
                Policy(
                    f"fr_{number}",
                    subject.names if names else (f"{UNKNOWN}{number}",),
                    subject.questions if examples else (),
                    detector=self._detector(subject, store) if detector else None,
                )
                for number, subject in enumerate(self.subjects)
            )
            return Rules.build(Epoch(1, policies), self.encoder, 0.7, None, store)

    def _detector(self, subject: Subject, store: ArtifactStore) -> str:
        general = [question for question, _ in GENERAL]
        misses = near_misses(subject.again, subject.names, self.encoder.ranks, seed=1)
        manifest, tensors = fit(
            subject.names,
            subject.about,
            general[::2],
            subject.again,
            [*general[1::2], *misses],
            self.encoder,
            erasure=self.erasure,
        )
        return store.put(manifest, tensors, sealed=True)


def main() -> None:
    """Run it and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tofu", type=Path)
    parser.add_argument("--encoder", type=Path, default=default_folder())
    parser.add_argument("--show", action="store_true", help="print what is wrong, too")
    arguments = parser.parse_args()
    encoder = Encoder.load(arguments.encoder)
    if arguments.tofu:
        rows = read_lines(arguments.tofu / "forget10_perturbed.jsonl")
        ground = Ground(tofu_subjects(rows), encoder, Erasure())
        asked = tofu_asked(arguments.tofu, rows)
        print("TOFU")
        show(ground, asked, show_wrong=arguments.show)
        print("plain logistic head, trained on TOFU's own other questions, 0.1 % of them wrong")
        show_row("plain head", plain_head(arguments.tofu, rows, encoder), asked)
        show_suffixes(ground, asked[1])
    print("\ndemo world")
    show(Ground(demo_subjects(), encoder, Erasure()), demo_asked(), show_wrong=arguments.show)


def show(ground: Ground, asked: Sequence[Asked], *, show_wrong: bool) -> None:
    """A row for each kind of evidence: recall, or false alarms, for each kind of text."""
    print("evidence".ljust(22), *(f"{each.name} ({len(each.texts)})".rjust(30) for each in asked))
    for label, names, examples, detector in (
        ("names", True, False, False),
        ("examples", False, True, False),
        ("head", False, False, True),
        ("all together", True, True, True),
    ):
        start = time.process_time()
        rules = ground.rules(names=names, examples=examples, detector=detector)
        find = partial(subjects_in, rules)
        show_row(label, find, asked)
        if show_wrong and detector:
            show_errors(find, asked)
        print(f"{time.process_time() - start:8.1f} s of processor time")


def show_row(label: str, find: Find, asked: Iterable[Asked]) -> None:
    """One line of the table."""
    cells = []
    for each in asked:
        hits = wrong = 0
        for text, whose in zip(each.texts, each.about or [None] * len(each.texts), strict=True):
            found = find(text)
            hits += whose in found
            wrong += bool(found - {whose})
        count = len(each.texts)
        recalled = f"{100 * hits / count:6.2f} % ({hits}) others' " if each.about else ""
        cells.append(f"{recalled}{100 * wrong / count:.2f} % ({wrong})".rjust(30))
    print(label.ljust(22), *cells, flush=True)


def show_errors(find: Find, asked: Iterable[Asked]) -> None:
    """What is not found, or found and should not be."""
    for each in asked:
        for text, whose in zip(each.texts, each.about or [None] * len(each.texts), strict=True):
            found = find(text)
            if found != ({whose} if whose is not None else set()):
                print("   ", each.name, "| is about", whose, "| found", sorted(found), "|", text)


def subjects_in(rules: Rules, text: str) -> set[int]:
    """The numbers of the subjects whose policies match."""
    known = {digest: number for number, digest in enumerate(rules.guards)}
    return {known[match.policy] for match in rules.router.route(prompt_of(text), "", "")}


def show_suffixes(ground: Ground, asked: Asked) -> None:
    """Recall by the head alone when names that nobody has are appended, with and without checks."""
    dice = random.Random("suffixes")
    print("head alone, with so many invented names appended: recall, others'")
    for label, erasure in (
        ("no check", Erasure("off")),
        ("suffix, 4 (as served)", Erasure()),
        ("suffix, 8, no lower end", Erasure(most=8, low=None)),
    ):
        rules = replace(ground, erasure=erasure).rules(names=False, examples=False, detector=True)
        cells = []
        for count in (0, 4, 8):
            extra = [" ".join(invented_word(dice) for _ in range(count)) for _ in asked.texts]
            # Without the mark at its end: else the question would be a window of its own.
            bare = [text.rstrip("?.") for text in asked.texts]
            texts = tuple(f"{t} {e}".strip() for t, e in zip(bare, extra, strict=True))
            cells.append(asked._replace(name=f"{count} words", texts=texts))
        show_row(label, partial(subjects_in, rules), cells)


def tofu_subjects(rows: Sequence[dict[str, str]]) -> tuple[Subject, ...]:
    """What is known of each of the forgotten authors: name, questions, answers."""
    subjects = []
    for number, name in enumerate(AUTHORS):
        author = rows[number * ROWS : (number + 1) * ROWS]
        questions = tuple(row["question"] for row in author)
        answers = tuple(row["answer"] for row in author)
        again = tuple(frame.format(question) for question in questions for frame in FRAMES)
        subjects.append(Subject((name,), questions, questions + answers, again))
    return tuple(subjects)


def tofu_asked(folder: Path, rows: Sequence[dict[str, str]]) -> list[Asked]:
    """Paraphrases about the forgotten, and questions about everybody else."""
    about = tuple(row["paraphrased_question"] for row in rows)
    whose = tuple(number // ROWS for number in range(len(rows)))
    kept = read_lines(folder / "retain_perturbed.jsonl")
    staying = tuple(row[key] for row in kept for key in ("question", "paraphrased_question"))
    real = tuple(
        row["question"]
        for name in ("real_authors", "world_facts")
        for row in read_lines(folder / f"{name}_perturbed.jsonl")
    )
    half, kept_half = len(about) // 2, len(staying) // 2
    return [
        Asked("forgotten, all", about, whose),
        Asked("forgotten, 11-20", about[half:], whose[half:]),
        Asked("staying, all", staying),
        Asked("staying, 2nd half", staying[kept_half:]),
        Asked("real and world", real),
    ]


def plain_head(folder: Path, rows: Sequence[dict[str, str]], encoder: Encoder) -> Find:
    """Logistic regression on embeddings: forgotten questions against all others of TOFU.

    It tells that a text is about somebody forgotten, not about whom: it is said to be about all.
    """
    from sklearn.linear_model import LogisticRegression

    asked = {row["question"] for row in read_lines(folder / "retain_perturbed.jsonl")}
    kept = [row["question"] for row in read_lines(folder / "retain90.jsonl")]
    others = encoder.encode([question for question in kept if question not in asked])
    about = encoder.encode([row["question"] for row in rows])
    head = LogisticRegression(C=10.0, max_iter=1000)
    head.fit(np.concatenate([about, others]), [1] * len(about) + [0] * len(others))
    threshold = float(np.quantile(head.decision_function(others), 0.999))
    everybody = set(range(len(AUTHORS)))

    def find(text: str) -> set[int]:
        score = float(head.decision_function(encoder.encode([text]))[0])
        return everybody if score >= threshold else set()

    return find


def demo_subjects() -> tuple[Subject, ...]:
    """The demo world's forgotten people: a question, a reverse one and an answer for each fact."""
    return tuple(_demo_subject(person) for person in make_world().forgotten)


def _demo_subject(person: Person) -> Subject:
    def named(template: str, value: str) -> str:
        words = {"{ns}": f"{person.name}'s", "{n}": person.name, "{o}": person.name, "{v}": value}
        for slot, word in words.items():
            template = template.replace(slot, word)
        return template

    questions, answers, again = [], [], []
    for fact in person.facts:
        words = ATTRIBUTES[fact.attribute]
        questions += [named(ask, fact.value) for ask in (*words.asks[:1], *words.reverse[:1])]
        answers.append(named(words.answers[0], fact.value))
        again += [named(ask, fact.value) for ask in (*words.asks[1:3], *words.reverse[1:2])]
    names = (person.name, *person.aliases)
    return Subject(names, tuple(questions), (*questions, *answers), tuple(again))


def demo_asked() -> list[Asked]:
    """Questions in wordings of other families, and near misses."""
    policies, questions = demo_questions(make_world())
    numbers = {policy.digest: number for number, policy in enumerate(policies)}
    about = [question for question in questions if question.policy]
    others = [question for question in questions if not question.policy]
    return [
        Asked("held out", tuple(q.text for q in about), tuple(numbers[q.policy] for q in about)),
        Asked("near misses", tuple(q.text for q in others)),
    ]


if __name__ == "__main__":
    main()
