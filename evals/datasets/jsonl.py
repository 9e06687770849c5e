"""Questions with answers from a file, in TOFU's or open-unlearning's columns."""

from collections import defaultdict
from pathlib import Path

from evals.datasets.rows import Row, json_lines, sampled, text_of, texts_of
from evals.datasets.source import Source
from evals.knowledge import Fact, Knowledge, Split, Subject

FORGET = "forget"


def from_file(source: Source, rows: int | None, seed: int) -> Knowledge:
    """One object in each line: ``question`` and ``answer``, or ``text`` alone for a passage.

    Optional: ``split`` (over the source's option, ``forget`` if neither is given), ``subject`` (a
    name) and ``aliases``, ``values``, ``paraphrased_question``, ``paraphrased_answer``,
    ``perturbed_answer``, ``statement``, ``cloze``.  Raises OSError and ValueError.
    """
    default = source.options.get("split", FORGET)
    facts: dict[str, list[Fact]] = defaultdict(list)
    passages: dict[str, list[str]] = defaultdict(list)
    aliases: dict[str, dict[str, None]] = defaultdict(dict)
    forgotten: dict[str, None] = {}
    for number, row in enumerate(json_lines(Path(source.where)), 1):
        split = str(row.get("split") or default)
        name = str(row.get("subject") or "")
        if name:
            aliases[name] |= dict.fromkeys((name, *texts_of(row.get("aliases"))))
            if split == FORGET:
                forgotten[name] = None
        if "question" in row:
            facts[split].append(_fact(row, name, f"row {number}"))
        else:
            passages[split].append(text_of(row, "text", at=f"row {number}"))
    labels = {name: f"subject-{number:02}" for number, name in enumerate(aliases, 1)}
    return Knowledge(
        source=source.text,
        subjects={labels[name]: Subject(aliases=tuple(found)) for name, found in aliases.items()},
        forgotten=tuple(labels[name] for name in forgotten),
        splits={
            split: Split(
                facts=tuple(
                    fact.model_copy(update={"subject": labels.get(fact.subject, "")})
                    for fact in sampled(facts[split], rows, seed)
                ),
                passages=sampled(passages[split], rows, seed),
            )
            for split in {**facts, **passages}
        },
    )


def _fact(row: Row, name: str, at: str) -> Fact:
    return Fact(
        subject=name,
        question=text_of(row, "question", at=at),
        answer=text_of(row, "answer", at=at),
        values=texts_of(row.get("values")),
        paraphrased=texts_of(row.get("paraphrased_question")),
        paraphrased_answer=row.get("paraphrased_answer") or "",
        wrong=texts_of(row.get("perturbed_answer")),
        statement=row.get("statement") or "",
        cloze=row.get("cloze") or "",
    )
