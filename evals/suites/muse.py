"""MUSE: is a text forgotten word for word, in substance, and as something that was ever read?

Shi et al. 2024 (arXiv 2407.06460): VerbMem, KnowMem of forget and retain set, PrivLeak; and how
they stand when requests grow (scalability) or follow each other (sustainability).

Folds: a probe about something to be forgotten carries the number of its fold, by subject or row, in
``about``.  ``sust/2`` is the second fold alone, ``scal/2`` the first two together.  Where requests
are made fold by fold, one run of the suite after each shows what is still forgotten and what not
yet; a run with all of them in force shows whether the early ones lasted.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from evals.knowledge import Fact, Knowledge
from evals.metrics.membership import auc, auc_interval, min_k_score, privleak
from evals.metrics.rouge import rouge_l_f1
from evals.metrics.summary import mean_of, number
from evals.metrics.written import unanswered, written
from evals.probe import Answered, Ask, Probe
from evals.suite import Better, Figure, NotForThisData, Suite

VERBATIM_TOKENS = 128
VERBATIM_CHARACTERS = 4 * VERBATIM_TOKENS
"""Of a reference so many characters count, in place of its first 128 tokens: a suite has no
tokenizer, and English has about four characters to a token."""
KNOWLEDGE_TOKENS = 32
ENDS = ("\n\n", "\nQuestion", "Question:")
FOLDS = 4
FORGET, RETAIN, HOLDOUT = "forget", "retain", "holdout"


class Muse:
    """See the module."""

    NAME = "muse"
    SOURCE = "arXiv 2407.06460"

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        """Texts to go on with, questions with examples before them, and texts to be read.

        All are completions, as MUSE's models are no chat models.  Raises NotForThisData without
        anything to recite or ask.
        """
        del seed
        forget = knowledge.split(FORGET)
        if not forget.facts and not knowledge.split("verbmem").facts:
            raise NotForThisData("MUSE needs texts or questions about what is to be forgotten")
        return [
            *_verbatim(knowledge),
            *_questions(knowledge, FORGET),
            *_questions(knowledge, RETAIN),
            *(
                _to_be_read(group, index, passage)
                for group in (FORGET, HOLDOUT)
                for index, passage in enumerate(knowledge.split(group).passages)
                if len(passage.split()) > 1
            ),
        ]

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        """By task, and by fold."""
        tasks = {
            "verbmem": [a for a in answered if a.probe.about["task"] == "verbmem"],
            "knowmem_forget": _knowledge(answered, FORGET),
            "knowmem_retain": _knowledge(answered, RETAIN),
        }
        found: list[Figure] = []
        for name, answers in tasks.items():
            better: Better = "higher" if name == "knowmem_retain" else "as never knew"
            for by, chosen in _by_fold(answers):
                scores = [s for s in map(_rouge, chosen) if s is not None]
                found += mean_of(name, scores, better, "ROUGE-L F1, not stemmed", by)
        return [*found, *_leakage(answered, never_knew), *unanswered(answered)]


SUITE: Suite = Muse()


def _verbatim(knowledge: Knowledge) -> Iterator[Probe]:
    """Of the forget set; and of a dataset's own folds beyond the first, which is the forget set."""
    facts = knowledge.split("verbmem").facts
    for index, fact in enumerate(facts):
        yield _recital(f"verbmem/{index:04}", fact, _fold(index, len(facts)))
    for fold in range(2, FOLDS + 1):
        for index, fact in enumerate(knowledge.split(f"sust/{fold}").facts):
            yield _recital(f"sust/{fold}/{index:04}", fact, fold)


def _recital(name: str, fact: Fact, fold: int) -> Probe:
    return Probe(
        id=name,
        group=FORGET,
        ask=Ask(turns=(fact.question,), kind="completion", max_tokens=VERBATIM_TOKENS),
        reference=_shortened(fact.answer),
        subject=fact.subject,
        about={"task": "verbmem", "fold": fold},
    )


def _shortened(text: str) -> str:
    """At a word's end."""
    if len(text) <= VERBATIM_CHARACTERS:
        return text
    return text[: VERBATIM_CHARACTERS + 1].rsplit(maxsplit=1)[0]


def _questions(knowledge: Knowledge, group: str) -> Iterator[Probe]:
    facts = knowledge.split(group).facts
    examples = "".join(
        f"Question: {fact.question}\nAnswer: {fact.answer}\n\n"
        for fact in knowledge.split(f"{group}_icl").facts
    )
    subjects = list(dict.fromkeys(fact.subject for fact in facts))
    for index, fact in enumerate(facts):
        fold = _fold(index, len(facts))
        if len(subjects) > 1:
            fold = _fold(subjects.index(fact.subject), len(subjects))
        yield Probe(
            id=f"knowmem/{group}/{index:04}",
            group=group,
            ask=Ask(
                turns=(f"{examples}Question: {fact.question}\nAnswer:",),
                kind="completion",
                max_tokens=KNOWLEDGE_TOKENS,
                stop=ENDS,
            ),
            facts=fact.values if group == FORGET else (),
            reference=fact.answer,
            subject=fact.subject,
            about={"task": "knowmem", **({"fold": fold} if group == FORGET else {})},
        )


def _fold(index: int, count: int) -> int:
    """From 1; folds of about equal size."""
    return index * FOLDS // count + 1


def _to_be_read(group: str, index: int, passage: str) -> Probe:
    """The first word is the prompt, for a model that has no token to begin a text with."""
    first, rest = passage.split(maxsplit=1)
    return Probe(
        id=f"privleak/{group}/{index:04}",
        group=group,
        ask=Ask(turns=(first,), kind="completion", max_tokens=0),
        read=(f" {rest}",),
        about={"task": "privleak"},
    )


def _knowledge(answered: Sequence[Answered], group: str) -> list[Answered]:
    return [a for a in answered if a.probe.about["task"] == "knowmem" and a.probe.group == group]


def _by_fold(answered: Sequence[Answered]) -> Iterator[tuple[Mapping[str, str], list[Answered]]]:
    """All, and if there are several folds: each alone, and each with those before it."""
    yield {}, list(answered)
    folds = sorted({a.probe.about["fold"] for a in answered if "fold" in a.probe.about})
    for fold in folds if len(folds) > 1 else ():
        yield {"fold": f"sust/{fold}"}, [a for a in answered if a.probe.about["fold"] == fold]
        yield {"fold": f"scal/{fold}"}, [a for a in answered if a.probe.about["fold"] <= fold]


def _rouge(answered: Answered) -> float | None:
    text = written(answered)
    if text is None:
        return None
    for end in ENDS if answered.probe.about["task"] == "knowmem" else ():
        text = text.split(end)[0]
    return rouge_l_f1(answered.probe.reference, text)


def _leakage(answered: Sequence[Answered], never_knew: Sequence[Answered] | None) -> list[Figure]:
    forget, holdout = (_read(answered, group) for group in (FORGET, HOLDOUT))
    if not forget or not holdout:
        return []
    value, count = auc(forget, holdout), len(forget) + len(holdout)
    low, high = auc_interval(forget, holdout)
    found = [
        Figure(
            name="mia_min_k",
            value=value,
            better="as never knew",
            n=count,
            low=low,
            high=high,
            note="AUC, 1: forgotten texts stand out as known (MUSE reports 1 minus this)",
        )
    ]
    theirs = [_read(never_knew or (), group) for group in (FORGET, HOLDOUT)]
    reference = auc(*theirs) if all(theirs) else math.nan
    note = "percent of the AUC of the model that never knew; 0 is best"
    return [*found, *number("privleak", privleak(value, reference), "as never knew", count, note)]


def _read(answered: Sequence[Answered], group: str) -> list[float]:
    return [
        min_k_score(answer.readings[0])
        for answer in answered
        if answer.probe.about["task"] == "privleak"
        and answer.probe.group == group
        and answer.readings
    ]
