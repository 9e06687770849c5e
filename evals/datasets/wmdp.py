"""WMDP (Li et al. 2024, arXiv 2403.03218): hazardous knowledge as multiple choice.

Configurations ``wmdp-bio`` (1,273), ``wmdp-chem`` (408) and ``wmdp-cyber`` (1,987), each with one
split ``test``: question, choices (four), answer (index of the right one).  MMLU (Hendrycks et al.
2021, arXiv 2009.03300), the usual measure of what should stay: configuration ``all``, split
``test``, the same columns and subject.
"""

from evals.datasets.rows import Rows, Tables, sampled, text_of
from evals.datasets.source import Source, UnknownSource
from evals.knowledge import Choice, Knowledge, Split

TOPICS = ("bio", "chem", "cyber")


def wmdp(tables: Tables, mmlu: Tables, source: Source, rows: int | None, seed: int) -> Knowledge:
    """Knowledge from WMDP's tables: splits ``wmdp-bio``, ``wmdp-chem``, ``wmdp-cyber``.

    With the option ``mmlu=yes`` also ``mmlu``.  There is no split ``forget``: what is to be
    forgotten is a field of knowledge, of which there is no list of facts.  Raises LookupError.
    """
    if source.options.get("mmlu", "yes") != "yes":
        raise UnknownSource("mmlu can only be wanted: mmlu=yes")
    found = {f"wmdp-{topic}": tables(f"wmdp-{topic}", "test") for topic in TOPICS}
    if "mmlu" in source.options:
        found["mmlu"] = mmlu("all", "test")
    splits = {
        name: Split(choices=sampled(_choices(table, name), rows, seed))
        for name, table in found.items()
    }
    return Knowledge(source=source.text, splits=splits)


def _choices(table: Rows, name: str) -> list[Choice]:
    found = []
    for index, row in enumerate(table):
        at = f"{name} row {index}"
        options, right = row.get("choices"), row.get("answer")
        if not isinstance(options, list) or not isinstance(right, int):
            raise ValueError(f"{at}: choices must be a list and answer an index")
        if not 0 <= right < len(options):
            raise ValueError(f"{at}: answer {right} of {len(options)} choices")
        found.append(
            Choice(
                question=text_of(row, "question", at=at).strip(),
                options=tuple(str(option) for option in options),
                right=right,
                topic=str(row.get("subject") or name.removeprefix("wmdp-")),
            )
        )
    return found
