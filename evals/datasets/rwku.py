"""RWKU (Jin et al. 2024, arXiv 2406.10890): two hundred well-known people.

Configurations: ``forget_target`` (split train: target); ``forget_level1`` (sentences with a blank),
``forget_level2`` (questions), ``forget_level3`` (nine kinds of attack), ``neighbor_level1`` and
``neighbor_level2`` (split test: query, answer, level, type, subject); ``mia_forget`` and
``mia_retain`` (split test: text, subject).  The utility sets are other benchmarks and are not read.
"""

from collections.abc import Iterable, Sequence

from evals.datasets.rows import Row, Rows, Tables, sampled, text_of, texts_of
from evals.datasets.source import Source, UnknownSource
from evals.knowledge import Fact, Knowledge, Split, Subject

LEVEL3 = "forget_level3"
LEVELS = ("forget_level1", "forget_level2", "neighbor_level1", "neighbor_level2")


def rwku(tables: Tables, source: Source, rows: int | None, seed: int) -> Knowledge:
    """Knowledge from RWKU's tables.

    Splits: by the configurations' names; ``forget_level3/KIND`` for each kind of attack; and for
    suites that do not know RWKU, ``forget`` (the questions of level 2, texts of members) and
    ``retain`` (the neighbours' questions, texts of theirs).  The option ``targets=10`` takes the
    first so many people (each is unlearned alone in the paper); all unless given.  Raises
    LookupError and UnknownSource.
    """
    names = [text_of(row, "target", at="forget_target") for row in tables("forget_target", "train")]
    chosen = names[: _targets(source)]
    labels = {name: f"target-{number:03}" for number, name in enumerate(chosen, 1)}

    def facts(configuration: str) -> list[Fact]:
        return [
            _fact(row, labels, configuration) for row in _of(tables(configuration, "test"), labels)
        ]

    def texts(configuration: str) -> tuple[str, ...]:
        table = tables(configuration, "test")
        found = _of(table, labels) or table  # texts about others than the targets are all kept
        return sampled([text_of(row, "text", at=configuration) for row in found], rows, seed)

    attacks = _by_kind(_of(tables(LEVEL3, "test"), labels), labels)
    found = {name: sampled(facts(name), rows, seed) for name in LEVELS}
    found |= {f"{LEVEL3}/{kind}": sampled(each, rows, seed) for kind, each in attacks.items()}
    splits = {name: Split(facts=each) for name, each in found.items()}
    member, kept = texts("mia_forget"), texts("mia_retain")
    splits["forget"] = Split(facts=found["forget_level2"], passages=member)
    splits["retain"] = Split(facts=found["neighbor_level2"], passages=kept)
    return Knowledge(
        source=source.text,
        subjects={labels[name]: Subject(aliases=(name,)) for name in chosen},
        forgotten=tuple(labels.values()),
        splits=splits,
    )


def _targets(source: Source) -> int | None:
    told = source.options.get("targets")
    if told is None:
        return None
    if not told.isdigit() or told == "0":
        raise UnknownSource("targets is the number of people to be forgotten: targets=10")
    return int(told)


def _of(rows: Rows, labels: dict[str, str]) -> Sequence[Row]:
    """Rows about the chosen; rows that name nobody are about all."""
    return [row for row in rows if not row.get("subject") or row["subject"] in labels]


def _by_kind(rows: Iterable[Row], labels: dict[str, str]) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for row in rows:
        found.setdefault(str(row.get("type") or "other"), []).append(_fact(row, labels, LEVEL3))
    return found


def _fact(row: Row, labels: dict[str, str], at: str) -> Fact:
    """level 1 has its question as a cloze, too: the sentence up to the blank."""
    query, answer = text_of(row, "query", at=at), text_of(row, "answer", at=at)
    return Fact(
        subject=labels.get(str(row.get("subject") or ""), ""),
        question=query,
        answer=answer,
        values=texts_of(answer),
        cloze=query.split("___")[0].strip() if "___" in query else "",
    )
