"""MUSE (Shi et al. 2024, arXiv 2407.06460): news articles and the Harry Potter books.

Configurations and splits of the hub: ``knowmem`` (question, answer): forget_qa, retain_qa, and
forget_qa_icl, retain_qa_icl with ten examples each for the prompt; ``verbmem`` (prompt, gt):
forget; ``privleak`` (text): forget, holdout, retain; MUSE-News also ``scal`` and ``sust`` (text):
forget_1 to forget_4, growing and disjoint.
"""

from evals.datasets.rows import Rows, Tables, sampled, text_of
from evals.datasets.source import Source
from evals.knowledge import Fact, Knowledge, Split

FOLDS = 4
PROMPT_WORDS = 100
"""Of a fold's article the prompt; the dataset has ready prompts for the forget set alone."""
CONTINUED_WORDS = 100


def muse(tables: Tables, source: Source, rows: int | None, seed: int) -> Knowledge:
    """Knowledge from MUSE's tables.

    Splits: ``forget``, ``retain`` (facts, passages), ``holdout`` (passages), ``forget_icl`` and
    ``retain_icl`` (facts for the prompt), ``verbmem`` (facts: a prompt and how it goes on), and of
    MUSE-News ``scal/1`` to ``sust/4`` (facts likewise).  Raises LookupError without a forget set.
    """

    def questions(split: str) -> tuple[Fact, ...]:
        found = tables("knowmem", split)
        return tuple(
            _fact(found, index, "question", "answer", split) for index in range(len(found))
        )

    def passages(split: str) -> tuple[str, ...]:
        found = tables("privleak", split)
        texts = [text_of(row, "text", at=f"privleak/{split}") for row in found]
        return sampled(texts, rows, seed)

    prompts = tables("verbmem", "forget")
    verbatim = [_fact(prompts, i, "prompt", "gt", "verbmem") for i in range(len(prompts))]
    splits = {
        "forget": Split(
            facts=sampled(questions("forget_qa"), rows, seed), passages=passages("forget")
        ),
        "retain": Split(
            facts=sampled(questions("retain_qa"), rows, seed), passages=passages("retain")
        ),
        "holdout": Split(passages=passages("holdout")),
        "forget_icl": Split(facts=questions("forget_qa_icl")),
        "retain_icl": Split(facts=questions("retain_qa_icl")),
        "verbmem": Split(facts=sampled(verbatim, rows, seed)),
        **_folds(tables, rows, seed),
    }
    return Knowledge(source=source.text, splits=splits)


def _fact(rows: Rows, index: int, question: str, answer: str, split: str) -> Fact:
    at = f"{split} row {index}"
    return Fact(
        subject="",
        question=text_of(rows[index], question, at=at),
        answer=text_of(rows[index], answer, at=at),
    )


def _folds(tables: Tables, rows: int | None, seed: int) -> dict[str, Split]:
    found = {}
    for kind in ("scal", "sust"):
        for number in range(1, FOLDS + 1):
            try:
                table = tables(kind, f"forget_{number}")
            except LookupError:
                return {}
            texts = [text_of(row, "text", at=f"{kind}/{number}") for row in table]
            facts = [_continued(text) for text in sampled(texts, rows, seed)]
            found[f"{kind}/{number}"] = Split(facts=tuple(facts))
    return found


def _continued(text: str) -> Fact:
    """An article cut in two; a short one in the middle."""
    words = text.split()
    cut = min(PROMPT_WORDS, len(words) // 2)
    return Fact(
        subject="",
        question=" ".join(words[:cut]),
        answer=" ".join(words[cut : cut + CONTINUED_WORDS]),
    )
