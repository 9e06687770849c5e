"""TOFU (Maini et al. 2024, arXiv 2401.06121): fictitious authors, twenty questions about each.

Configurations, each with one split ``train``: ``forget01|05|10_perturbed`` and ``retain_perturbed``
with question, answer, paraphrased_answer, perturbed_answer (five) and paraphrased_question;
``real_authors_perturbed`` and ``world_facts_perturbed`` with question, answer (a few words),
perturbed_answer (three) and original_answer (a sentence); ``holdout01|05|10`` with question and
answer, which open-unlearning added for membership inference.
"""

from collections.abc import Sequence
from pathlib import Path

from evals.datasets.aliases import aliases_in
from evals.datasets.rows import Row, Rows, Tables, json_lines, text_of, texts_of
from evals.datasets.source import Source, UnknownSource
from evals.knowledge import Fact, Knowledge, Split, Subject

ROWS_OF_AN_AUTHOR = 20
FORGET = "forget10"
OTHERS = ("real_authors", "world_facts")


def from_folder(source: Source, rows: int | None) -> Knowledge:
    """Files ``CONFIGURATION.jsonl`` or ``.json``, as the repository has them.  Raises OSError."""
    folder = Path(source.where)

    def table(configuration: str, split: str) -> Rows:
        del split  # a file is a split
        for ending in ("jsonl", "json"):
            file = folder / f"{configuration}.{ending}"
            if file.exists():
                return json_lines(file)
        raise LookupError(f"no {configuration}.jsonl in {folder}")

    try:
        return tofu(table, source, rows)
    except LookupError as error:
        raise FileNotFoundError(str(error)) from error


def tofu(tables: Tables, source: Source, rows: int | None) -> Knowledge:
    """Knowledge from TOFU's tables.

    rows: so many first rows of each table; of the forget set these are what is to be forgotten.
    Options of the source: ``split``, ``forget10`` unless given; ``holdout=rest`` for a model that
    was not trained on the other rows of the forget set: these are then the holdout.  Without it
    the holdout is the configuration of that name, where there is one.  Raises LookupError where
    there is no forget set, UnknownSource for another value of ``holdout``.
    """
    name = source.options.get("split", FORGET)
    told = source.options.get("holdout", "")
    if told not in ("", "rest"):
        raise UnknownSource("holdout can only be the rest of the forget set: holdout=rest")
    forget = tables(f"{name}_perturbed", "train")
    held = forget[rows:] if told and rows else _optional(tables, name.replace("forget", "holdout"))
    tables_by_split = {
        "forget": forget[:rows],
        "retain": _optional(tables, "retain_perturbed")[:rows],
        **{other: _optional(tables, f"{other}_perturbed")[:rows] for other in OTHERS},
        "holdout": held[:rows],
    }
    subjects: dict[str, Subject] = {}
    splits: dict[str, Split] = {}
    for split, found in tables_by_split.items():
        if found:
            labels = [""] * len(found) if split in OTHERS else _authors(split, found, subjects)
            facts = [
                _fact(row, label, f"{split} row {index}")
                for index, (row, label) in enumerate(zip(found, labels, strict=True))
            ]
            splits[split] = Split(facts=tuple(facts))
    return Knowledge(
        source=source.text,
        subjects=subjects,
        forgotten=tuple(label for label in subjects if label.startswith("forget")),
        splits=splits,
    )


def _optional(tables: Tables, configuration: str) -> Rows:
    try:
        return tables(configuration, "train")
    except LookupError:
        return ()


def _authors(split: str, rows: Rows, subjects: dict[str, Subject]) -> Sequence[str]:
    """A label for each row; the authors are added to the subjects."""
    labels: list[str] = []
    for start in range(0, len(rows), ROWS_OF_AN_AUTHOR):
        block = rows[start : start + ROWS_OF_AN_AUTHOR]
        label = f"{split}-author-{start // ROWS_OF_AN_AUTHOR + 1:02}"
        asked = [
            text_of(row, "question", at=f"{split} row {start + at}") for at, row in enumerate(block)
        ]
        if aliases := aliases_in(asked):
            subjects[label] = Subject(aliases=aliases)
        labels += [label if aliases else ""] * len(block)
    return labels


def _fact(row: Row, label: str, at: str) -> Fact:
    answer = text_of(row, "answer", at=at)
    return Fact(
        subject=label,
        question=text_of(row, "question", at=at),
        answer=answer,
        paraphrased=texts_of(row.get("paraphrased_question")),
        paraphrased_answer=row.get("paraphrased_answer") or "",
        wrong=texts_of(row.get("perturbed_answer")),
        statement=row.get("original_answer") or answer,
    )
