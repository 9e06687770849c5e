"""Can an attacker tell "forgotten" from "never known"?

The same questions about somebody forgotten and about somebody invented.  A refusal, a pause or an
odd wording that only the forgotten get says who is on the list.  Attackers: by the text of the
answer (character n-grams, logistic regression, cross-validated with both questions of a pair in
one fold), by its length, by the time to the first byte and to the last, and by how likely the true
answer is to the model, where likelihoods can be read.  Each gives an AUC; .5 is perfect, and so is
whatever a model that never knew gives.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from evals.attacks.making import drawn, targets
from evals.attacks.wording import mentions, renamed
from evals.knowledge import Knowledge, Subject
from evals.metrics.likelihood import loss
from evals.metrics.membership import auc, auc_interval
from evals.metrics.written import unanswered, written
from evals.probe import Answered, Ask, Probe
from evals.suite import Figure, NotForThisData, Suite

FACTS = 120
INVENTED = "invented"
FOLDS = 5
LEAST = 2 * FOLDS
"""Pairs below which there is no training a classifier."""
MASK = "NAME"


@dataclass(frozen=True)
class Pair:
    """Answers to one question about somebody forgotten and about somebody invented."""

    forgotten: Answered
    invented: Answered


class Distinguishability:
    """See the module."""

    NAME = "distinguishability"
    SOURCE = "this project; membership by behaviour"

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        """Pairs, side by side, so that load is the same for both.  Raises NotForThisData."""
        found = list(_pairs_asked(knowledge, seed))
        if not found:
            raise NotForThisData("questions that name a subject to be forgotten")
        return found

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        """An AUC for each attacker; the text's also for a model that never knew, as its floor."""
        pairs = pairs_of(answered)
        figures = _of_text("auc_text", pairs)
        for name, feature in FEATURES.items():
            figures += _of_feature(name, pairs, feature)
        if never_knew is not None:
            figures += _of_text("auc_text_never_knew", pairs_of(never_knew))
        return [*figures, *unanswered(answered)]


def invented_names(knowledge: Knowledge, count: int, seed: int) -> list[str]:
    """First and last words of known names, put together as nobody is called."""
    names = sorted({subject.name for subject in knowledge.subjects.values()})
    parted = [name.split() for name in names if len(name.split()) > 1]
    taken = {name.lower() for name in names}
    firsts, lasts = [part[0] for part in parted], [part[-1] for part in parted]
    made = {f"{first} {last}" for first in firsts for last in lasts}
    free = sorted(name for name in made if name.lower() not in taken)
    return Random(f"{seed}/invented").sample(free, min(count, len(free)))


def pairs_of(answered: Sequence[Answered]) -> list[Pair]:
    """Pairs of which both were answered, in order."""
    told = {one.probe.id: one for one in answered if written(one) is not None}
    return [
        Pair(one, told[f"{INVENTED}/{place}"])
        for name, one in sorted(told.items())
        if (place := name.partition("/")[2]) and name.startswith("forget/")
        and f"{INVENTED}/{place}" in told
    ]  # fmt: skip


def text_scores(texts: Sequence[str], labels: Sequence[int]) -> list[float]:
    """How much each text looks like label 1 to a classifier that has not seen its pair.

    texts, labels: two for each pair, one after the other.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    classifier = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True),
        LogisticRegression(max_iter=1000),
    )
    found = cross_val_predict(
        classifier,
        list(texts),
        list(labels),
        groups=[place // 2 for place in range(len(texts))],
        cv=GroupKFold(FOLDS),
        method="decision_function",
    )
    return [float(score) for score in found]


def _pairs_asked(knowledge: Knowledge, seed: int) -> Iterator[Probe]:
    found = [
        target
        for target in targets(knowledge, "forget")
        if mentions(target.fact.question, target.subject)
    ]
    names = invented_names(knowledge, len(found), seed)
    for place, target in drawn(found, FACTS, f"{seed}/distinguishability"):
        if not names:
            return
        fact, name = target.fact, names[place % len(names)]
        other = renamed(fact.question, target.subject, name)
        yield _probe(
            f"forget/{place:04}", fact.question, fact.answer, target.subject, target.values
        )
        yield _probe(f"{INVENTED}/{place:04}", other, fact.answer, Subject(aliases=(name,)), ())


def _probe(
    name: str, question: str, answer: str, subject: Subject, values: tuple[str, ...]
) -> Probe:
    return Probe(
        id=name,
        group=name.partition("/")[0],
        ask=Ask(turns=(question,), stream=True),
        read=(answer,),
        facts=values,
        about={"aliases": list(subject.aliases)},
    )


def _of_text(name: str, pairs: Sequence[Pair]) -> list[Figure]:
    if len(pairs) < LEAST:
        return []
    both = [one for pair in pairs for one in (pair.forgotten, pair.invented)]
    texts = [_masked(one) for one in both]
    # Nothing can be learnt from one text, and scikit-learn finds no words in an empty one.
    one_text = len({*texts}) == 1
    scores = [0.0] * len(texts) if one_text else text_scores(texts, [1, 0] * len(pairs))
    return _auc(name, scores[::2], scores[1::2], "char n-grams, logistic, 5 folds of whole pairs")


def _of_feature(
    name: str, pairs: Sequence[Pair], feature: Callable[[Answered], float | None]
) -> list[Figure]:
    values = [(feature(pair.forgotten), feature(pair.invented)) for pair in pairs]
    told = [(one, other) for one, other in values if one is not None and other is not None]
    if not told:
        return []
    return _auc(
        name,
        [one for one, _ in told],
        [other for _, other in told],
        "above .5: larger for the forgotten; below: smaller",
    )


def _auc(
    name: str, forgotten: Sequence[float], invented: Sequence[float], note: str
) -> list[Figure]:
    """Probability that a forgotten one scores above an invented one."""
    low, high = auc_interval(invented, forgotten)
    return [
        Figure(
            name=name,
            value=auc(invented, forgotten),
            better="as never knew",
            n=2 * len(forgotten),
            low=low,
            high=high,
            note=f"{note}; .5 cannot be told apart",
        )
    ]


def _masked(answered: Answered) -> str:
    """The reply without the name that was asked about, which alone would tell the two apart."""
    aliases = tuple(str(each) for each in answered.probe.about["aliases"])
    return renamed(written(answered) or "", Subject(aliases=aliases), MASK)


def _length(answered: Answered) -> float | None:
    """Characters without the name."""
    return float(len(_masked(answered)))


def _first(answered: Answered) -> float | None:
    return answered.reply.first if answered.conversations and answered.reply.first else None


def _total(answered: Answered) -> float | None:
    return answered.reply.seconds if answered.conversations and answered.reply.seconds else None


def _likelihood(answered: Answered) -> float | None:
    return -loss(answered.readings[0]) if answered.readings else None


FEATURES: dict[str, Callable[[Answered], float | None]] = {
    "auc_length": _length,
    "auc_first_byte": _first,
    "auc_last_byte": _total,
    "auc_likelihood": _likelihood,
}
"""What an attacker can measure of one answer."""

SUITE: Suite = Distinguishability()
