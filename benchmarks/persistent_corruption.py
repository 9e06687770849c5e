"""Why corruption must follow the subject into the answer: TOFU's metrics on a small testbed.

    python -m benchmarks.persistent_corruption [--shared FOLDER] [--rows 200] [--output FILE]

Needs FOLDER/testbed/{target,retain}, two models of which the second never saw the forget set, and
FOLDER/data/tofu (Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs", 2024).  About ten
minutes on one core.

Every row of the forget set counts as matched (an oracle in place of a router), so that only what is
done about a match is measured.  What to corrupt is decided by a rule on names: an author's aliases
are the name that most of the author's questions contain, and each word of it with three letters or
more; in two rows, every capitalised word in these questions as well.  A reference answer is never
looked at to decide anything; where one is scored, its tokens are treated as generated ones are,
each by the tokens up to itself.
"""

import argparse
import json
import math
import os
import random
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import ks_2samp

from evals.datasets.aliases import aliases_in
from evals.datasets.tofu import ROWS_OF_AN_AUTHOR
from guards.alias_follower import alias_tensors
from guards.case import Case, Edit, Match, Prompt, Span
from guards.embedding_corruption import EmbeddingCorruption, Function, manifest
from guards.steering import Steering
from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.demo.pools import NAMINGS
from models.fitting.activations import captured
from models.fitting.steering import Step, mean_difference, steering
from models.local_engine import Interventions, LocalEngine, Sampling
from models.local_engine.interventions import NONE, Row, installed
from service.acting import Bindings
from service.admission import CheckedArtifacts
from service.gateway.prepare import to_prompt
from service.local.edits import bindings_of, interventions

RESULTS = Path(__file__).parent / "results" / "persistent_corruption.json"
STEERED_LAYERS = (1, 2)  # counted from 0, of 4
FITTED_ROWS = 50
LONGEST_ANSWER = 200


class Question(NamedTuple):
    """One row.  aliases: of the author that it is about.

    entities: these, and every other capitalised word in the author's questions.
    """

    text: str
    answer: str
    paraphrased: str
    perturbed: tuple[str, ...]
    aliases: tuple[str, ...]
    entities: tuple[str, ...] = ()


class Scores(NamedTuple):
    """Metrics of one row; see ``score``."""

    probability: float
    rouge: float
    exact: float
    strength: float
    truth_ratio: float


# --- the data ------------------------------------------------------------------------------------


def questions_of(file: Path, count: int) -> list[Question]:
    """The first rows of a perturbed split."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:count]
    found = []
    for start in range(0, len(rows), ROWS_OF_AN_AUTHOR):
        block = rows[start : start + ROWS_OF_AN_AUTHOR]
        texts = [row["question"] for row in block]
        aliases = aliases_in(texts)
        entities = tuple(dict.fromkeys([*aliases, *capitalised(texts)]))
        found += [
            Question(
                row["question"],
                row["answer"],
                row["paraphrased_answer"],
                tuple(row["perturbed_answer"]),
                aliases,
                entities,
            )
            for row in block
        ]
    return found


def capitalised(texts: Sequence[str]) -> list[str]:
    """Words of three letters or more with a capital that do not begin a text; no possessives."""
    words = [word for text in texts for word in re.findall(r"[^\W\d_][\w’'-]*\w", text)[1:]]
    return [re.sub(r"['’]s$", "", word) for word in words if word[0].isupper() and len(word) > 2]


def spans_of(aliases: Sequence[str], text: str) -> tuple[Span, ...]:
    """Where the aliases stand as whole words."""
    either = "|".join(map(re.escape, sorted(aliases, key=len, reverse=True)))
    return tuple(Span(*found.span()) for found in re.finditer(rf"(?<!\w)({either})(?!\w)", text))


# --- a model under guards ------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A model, its prompts, and where guards that act in it find their artifacts."""

    engine: LocalEngine
    renderer: PromptRenderer
    store: ArtifactStore

    @staticmethod
    def load(folder: Path, store: ArtifactStore) -> "Subject":
        """Raises OSError where the folder holds no model."""
        return Subject(LocalEngine.load(folder), PromptRenderer(folder), store)

    @cached_property
    def bindings(self) -> Bindings:
        """Guards ready for this model."""
        return bindings_of(self.engine, CheckedArtifacts(self.store))

    def prompt(self, question: str) -> Prompt:
        """As a gateway would render it."""
        said = self.renderer.conversation([Message("user", (question,))], None)
        return to_prompt(self.renderer.chat(said, {}))

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer, without the one that ends it."""
        ids: list[int] = self.engine.tokenizer.encode(answer, add_special_tokens=False)
        return ids


class Way(NamedTuple):
    """What is done about a match.  corruptions: by alias list, digests of artifacts."""

    corruptions: Mapping[tuple[str, ...], str]
    steering: str | None = None

    def acting(self, subject: Subject, question: Question, prompt: Prompt) -> Interventions:
        """Through the same guards, edits and bindings as in service."""
        case = Case("benchmark", "", "", 0, prompt)
        named = Match("", 1.0, spans_of(question.aliases, prompt.text), "alias")
        asked = Match("", 1.0, prompt.content, "alias")
        if question.aliases in self.corruptions:
            case = EmbeddingCorruption(self.corruptions[question.aliases]).on_prompt(case, named)
        if self.steering:
            case = Steering(self.steering).on_prompt(case, asked)
        edits: tuple[Edit, ...] = case.edits
        return interventions(edits, subject.bindings, len(prompt.ids)) if edits else NONE


def corruptions(
    store: ArtifactStore,
    questions: Sequence[Question],
    *,
    persistent: bool,
    function: Function = "rand_noise",
    strength: float = 5.0,
    dims: int | None = None,
) -> dict[tuple[str, ...], str]:
    """An artifact for each author."""
    made: dict[tuple[str, ...], str] = {}
    for aliases in {question.aliases: None for question in questions}:
        said = manifest(function, strength, dims=dims, persistent=persistent)
        tensors = alias_tensors(aliases) if persistent else None
        made[aliases] = store.put(said, tensors, sealed=persistent)
    return made


def steered(subject: Subject, questions: Sequence[Question], strength: float) -> str:
    """ "Unknown entity minus this entity", over all positions of questions that name an author."""
    rng = random.Random(7)
    named = [each for each in questions if spans_of(each.aliases, each.text)]
    known = rng.sample(named, min(FITTED_ROWS, len(named)))
    strange = [_with_invented_names(each, rng) for each in known]
    to, away_from = (_residuals(subject, texts) for texts in (strange, [k.text for k in known]))
    vectors = [mean_difference(to[layer], away_from[layer]) for layer in STEERED_LAYERS]
    return subject.store.put(*steering([Step("add", STEERED_LAYERS, vectors, strength)]))


def _residuals(subject: Subject, questions: Sequence[str]) -> dict[int, torch.Tensor]:
    """By layer, [tokens of all prompts, hidden]."""
    prompts = [subject.prompt(question).ids for question in questions]
    places = [("layer", layer) for layer in STEERED_LAYERS]
    parts = list(captured(subject.engine.model, prompts, places, which="all"))
    return {layer: torch.cat([part["layer", layer] for part in parts]) for layer in STEERED_LAYERS}


def _with_invented_names(question: Question, rng: random.Random) -> str:
    naming = rng.choice(NAMINGS)
    name = f"{rng.choice(naming.she + naming.he)} {rng.choice(naming.surnames)}"
    text = question.text.replace(question.aliases[0], name)
    for span in reversed(spans_of(question.aliases[1:], text)):
        text = text[: span.start] + name.split()[-1] + text[span.end :]
    return text


# --- metrics -------------------------------------------------------------------------------------


class Read(NamedTuple):
    """An answer as the model reads it.  losses: [tokens], of each token, in nats.

    right: [tokens], whether it is the likeliest.
    """

    losses: "np.ndarray[Any, np.dtype[np.float64]]"
    right: "np.ndarray[Any, np.dtype[np.bool_]]"


def read(subject: Subject, question: Question, way: Way, answer: str) -> Read:
    """Score an answer token by token after its prompt, in one pass."""
    prompt = subject.prompt(question.text)
    ids = np.array([*prompt.ids, *subject.answer_ids(answer)], dtype=np.int64)
    row = Row(np.arange(len(ids)), ids, way.acting(subject, question, prompt))
    model = subject.engine.model
    with torch.inference_mode(), installed(model, model.get_decoder().layers, [row]):
        logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0].float()
    first = len(prompt.ids)
    expected = torch.from_numpy(ids[first:])
    predicted = logits[first - 1 : -1].log_softmax(-1)
    losses = -predicted.gather(1, expected[:, None])[:, 0]
    right = predicted.argmax(-1) == expected
    return Read(losses.double().numpy(), right.numpy())


def score(subject: Subject, question: Question, way: Way, written: str) -> Scores:
    """TOFU's metrics for one row, and open-unlearning's.

    probability: of the answer, exp of minus the mean loss.  rouge: ROUGE-L recall of what was
    written.  exact: share of answer tokens that are the likeliest.  strength: share of the answer
    that is right from some token on to its end.  truth_ratio: geometric mean probability of the
    perturbed answers over that of the paraphrased one.
    """
    answer = read(subject, question, way, question.answer)
    true = read(subject, question, way, question.paraphrased).losses.mean()
    false = np.mean(
        [read(subject, question, way, each).losses.mean() for each in question.perturbed]
    )
    wrong = np.flatnonzero(~answer.right)
    begin = int(wrong[-1]) + 1 if len(wrong) else 0
    return Scores(
        math.exp(-answer.losses.mean()),
        rouge_recall(question.answer, written),
        float(answer.right.mean()),
        1 - begin / len(answer.right),
        math.exp(true - false),
    )


def rouge_recall(reference: str, written: str) -> float:
    """ROUGE-L recall: the longest common subsequence of words, over the reference's words.

    Words are runs of letters and digits in lower case; unlike TOFU's, they are not stemmed.
    """
    expected, found = (re.findall(r"[a-z0-9]+", text.lower()) for text in (reference, written))
    lengths = [0] * (len(found) + 1)
    for word in expected:
        diagonal = 0
        for index, other in enumerate(found, 1):
            longest = diagonal + 1 if word == other else max(lengths[index], lengths[index - 1])
            diagonal, lengths[index] = lengths[index], longest
    return lengths[-1] / len(expected) if expected else 0.0


def answers(subject: Subject, questions: Sequence[Question], way: Way) -> list[str]:
    """What the model writes, greedily."""
    prompts = [subject.prompt(question.text) for question in questions]
    acting = [
        way.acting(subject, question, prompt)
        for question, prompt in zip(questions, prompts, strict=True)
    ]
    sampling = Sampling(max_tokens=LONGEST_ANSWER)
    found = subject.engine.generate_batch([prompt.ids for prompt in prompts], sampling, acting)
    texts: list[str] = subject.engine.tokenizer.batch_decode(found, skip_special_tokens=True)
    return texts


def measured(subject: Subject, questions: Sequence[Question], way: Way) -> list[Scores]:
    """All rows."""
    written = answers(subject, questions, way)
    rows = zip(questions, written, strict=True)
    return [score(subject, question, way, text) for question, text in rows]


# --- the table -----------------------------------------------------------------------------------


def summary(scores: Sequence[Scores], never_knew: Sequence[Scores]) -> dict[str, float]:
    """Means over the rows, and the test that the truth ratios come from one distribution.

    ks: Kolmogorov and Smirnov's distance.  p: of its test, which TOFU calls forget quality.
    """
    test: Any = ks_2samp(
        [each.truth_ratio for each in scores], [each.truth_ratio for each in never_knew]
    )
    means = {name: float(np.mean([getattr(s, name) for s in scores])) for name in Scores._fields}
    # TOFU reports the ratio so that 1 is best whichever answer is the likelier one.
    ratios = [min(each.truth_ratio, 1 / each.truth_ratio) for each in scores]
    return {**means, "truth_ratio": float(np.mean(ratios)), "ks": test.statistic, "p": test.pvalue}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The results as Markdown."""
    lines = [
        "| method | prob | ROUGE-L | exact mem. | extr. strength | truth ratio | KS | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [f"{row[field]:.3f}" for field in (*Scores._fields, "ks")]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['p']:.2g} |")
    return "\n".join(lines)


class Compared(NamedTuple):
    """A way, and the questions as it takes them."""

    way: Way
    questions: Sequence[Question]


def ways(subject: Subject, questions: Sequence[Question]) -> dict[str, Compared]:
    """What is compared, besides the model that never knew."""
    wide = [question._replace(aliases=question.entities) for question in questions]
    prompt_only = corruptions(subject.store, questions, persistent=False)
    followed = corruptions(subject.store, questions, persistent=True)
    direction = steered(subject, questions, 1.0)
    everywhere = corruptions(subject.store, wide, persistent=True)
    made = {
        "nothing": Way({}),
        "noise 5, names in the question": Way(prompt_only),
        "noise 5, names in question and answer": Way(followed),
        "the same, and steering": Way(followed, direction),
        "steering alone": Way({}, direction),
    }
    return {
        **{name: Compared(way, questions) for name, way in made.items()},
        "noise 5, all that the author's questions name": Compared(Way(everywhere), wide),
        "all that they name, and steering": Compared(Way(everywhere, direction), wide),
    }


def main() -> None:
    """Measure and print; write the figures beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("LETHE_SHARED", "../shared")
    parser.add_argument("--shared", type=Path, default=Path(default))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    file = arguments.shared / "data/tofu/forget10_perturbed.jsonl"
    testbed = arguments.shared / "testbed"
    if not (file.exists() and (testbed / "target").exists() and (testbed / "retain").exists()):
        sys.exit(f"skipped: there is no testbed under {arguments.shared} (see --help)")
    questions = questions_of(file, arguments.rows)
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder), secrets.token_bytes(32))
        target = Subject.load(testbed / "target", store)
        never_knew = measured(Subject.load(testbed / "retain", store), questions, Way({}))
        rows = {"never knew": summary(never_knew, never_knew)}
        for name, (way, asked) in ways(target, questions).items():
            start = time.perf_counter()
            rows[name] = summary(measured(target, asked, way), never_knew)
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    result = {"rows": len(questions), "methods": rows}
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
