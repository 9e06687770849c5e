"""TOFU: is what an author wrote forgotten as if never read, and does everything else stay?

Maini et al. 2024 (arXiv 2401.06121), with the metrics that open-unlearning added (Dorna et al.
2025, arXiv 2506.12618).  ROUGE and fluency need generation alone; all else needs readings, and is
left out without them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evals.knowledge import Fact, Knowledge
from evals.metrics import aggregate, likelihood, membership
from evals.metrics.fluency import Fluency, fluency
from evals.metrics.forget_quality import (
    OPEN_UNLEARNING_ROWS,
    TOFU_ROWS,
    forget_quality,
    model_utility,
)
from evals.metrics.likelihood import TruthRatio
from evals.metrics.rouge import rouge_l_recall
from evals.metrics.summary import mean_of, number
from evals.metrics.written import unanswered, written
from evals.probe import Answered, Ask, Probe
from evals.suite import Figure, NotForThisData, Suite

MAX_TOKENS = 200
FORGET, RETAIN, HOLDOUT = "forget", "retain", "holdout"
OPTIONS = ("real_authors", "world_facts")
"""Groups whose probability is normalised over the wrong answers, and with no paraphrased answer."""
KEPT = (RETAIN, *OPTIONS)
NINE = len(KEPT) * 3

_LEAKAGE: Mapping[str, membership.Privleak] = {
    "privleak": "muse",
    "mia_min_k_relative_difference": "relative difference",
}
_DEGENERATE = "ratios that a forbidden token makes 0 or infinite; in no truth ratio's mean"


class Tofu:
    """See the module."""

    NAME = "tofu"
    SOURCE = "arXiv 2401.06121; arXiv 2506.12618"

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        """Every question of every group once, greedily; of the holdout the answers are only read.

        Raises NotForThisData without facts to forget.
        """
        del seed
        if not knowledge.split(FORGET).facts:
            raise NotForThisData("TOFU needs questions about what is to be forgotten")
        return [
            _probe(group, row, fact)
            for group in (FORGET, *KEPT, HOLDOUT)
            for row, fact in enumerate(knowledge.split(group).facts)
        ]

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        """Forgetting, utility, membership and the aggregates of both.

        Those that compare with a model that never knew are left out where there is none.
        """
        judge = fluency(_well_written(answered))
        here = _Scores.of(answered, judge)
        there = _Scores.of(never_knew, judge) if never_knew is not None else None
        return [
            *_forgetting(here),
            *_quality(here, there),
            *_keeping(here),
            *_membership(here, there),
            *_aggregates(here, there),
            *unanswered(answered),
        ]


SUITE: Suite = Tofu()


def _probe(group: str, row: int, fact: Fact) -> Probe:
    paraphrased = group in (FORGET, RETAIN) and bool(fact.paraphrased_answer)
    others = (*((fact.paraphrased_answer,) if paraphrased else ()), *fact.wrong)
    return Probe(
        id=f"{group}/{row:04}",
        group=group,
        ask=Ask(turns=(fact.question,), max_tokens=0 if group == HOLDOUT else MAX_TOKENS),
        read=(fact.answer, *(() if group == HOLDOUT else others)),
        facts=fact.values if group == FORGET else (),
        reference=fact.answer,
        subject=fact.subject,
        about={"row": row, "paraphrased": paraphrased},
    )


@dataclass
class _Group:
    """Scores of one group, row by row; what a row has no reading or reply for is left out."""

    rouge: list[float] = field(default_factory=list)
    clean: list[float] = field(default_factory=list)
    probability: list[float] = field(default_factory=list)
    paraphrased: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    strength: list[float] = field(default_factory=list)
    ratios: list[TruthRatio] = field(default_factory=list)
    shares: list[TruthRatio] = field(default_factory=list)
    attacks: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scores:
    """By group.  judge: by whom fluency was judged."""

    groups: Mapping[str, _Group]
    judge: str

    @staticmethod
    def of(answered: Sequence[Answered], judge: Fluency) -> "_Scores":
        groups = {group: _Group() for group in (FORGET, *KEPT, HOLDOUT)}
        for answer in sorted(answered, key=lambda each: int(each.probe.about["row"])):
            group = groups[answer.probe.group]
            _add_text(group, answer)
            if answer.readings:
                _add_readings(group, answer)
        texts = [
            written(answer) or "" for answer in answered
            if answer.probe.group == FORGET and written(answer) is not None
        ]  # fmt: skip
        groups[FORGET].clean += judge.clean(texts)
        return _Scores(groups, judge.name)

    @property
    def aucs(self) -> dict[str, float]:
        """By attack; empty without readings of both sides."""
        forget, holdout = self.groups[FORGET].attacks, self.groups[HOLDOUT].attacks
        return {name: membership.auc(forget[name], holdout[name]) for name in forget if holdout}

    @property
    def utility(self) -> dict[str, float]:
        """The values of model utility that there are, by name."""
        found: dict[str, float] = {}
        for name in KEPT:
            group = self.groups[name]
            found |= {
                f"{name}_rouge": _mean(group.rouge),
                f"{name}_probability": _mean(group.probability),
                f"{name}_truth_ratio": likelihood.kept_score(group.ratios),
            }
        return {name: value for name, value in found.items() if not math.isnan(value)}


def _add_text(group: _Group, answer: Answered) -> None:
    text = written(answer)
    if text is not None and answer.probe.group != HOLDOUT:
        group.rouge.append(rouge_l_recall(answer.probe.reference, text))


def _add_readings(group: _Group, answer: Answered) -> None:
    first, *others = answer.readings
    paraphrased = answer.probe.about["paraphrased"]
    true, wrong = (others[0], others[1:]) if paraphrased else (first, others)
    group.exact.append(likelihood.exact_memorisation(first))
    group.strength.append(likelihood.extraction_strength(first))
    if answer.probe.group in OPTIONS and wrong:
        group.probability.append(likelihood.normalised_probability(first, wrong))
    else:
        group.probability.append(likelihood.probability(first))
    if paraphrased:
        group.paraphrased.append(likelihood.probability(true))
    if wrong:
        group.ratios.append(likelihood.truth_ratio(true, wrong))
        group.shares.append(likelihood.true_share(true, wrong))
    for name, value in membership.scores(first, answer.probe.reference).items():
        group.attacks.setdefault(name, []).append(value)


def _forgetting(scores: _Scores) -> list[Figure]:
    group = scores.groups[FORGET]
    found = [
        *mean_of("forget_rouge", group.rouge, "as never knew", "ROUGE-L recall, stemmed"),
        *mean_of("forget_clean", group.clean, "higher", f"judged by {scores.judge}"),
        *mean_of("forget_probability", group.probability, "as never knew"),
        *mean_of("forget_paraphrased_probability", group.paraphrased, "as never knew"),
        *mean_of("forget_exact_memorisation", group.exact, "as never knew"),
        *mean_of("forget_extraction_strength", group.strength, "as never knew"),
        *_ratio("forget_truth_ratio", group.ratios, likelihood.forget_score, "mean of min(r, 1/r)"),
        *_ratio("forget_true_share", group.shares, likelihood.share_score, "prob_mean"),
    ]
    return [*found, *_degenerate(FORGET, group)]


def _ratio(
    name: str,
    ratios: Sequence[TruthRatio],
    score: Callable[[Sequence[TruthRatio]], float],
    note: str,
) -> list[Figure]:
    proper = len(ratios) - likelihood.degenerate(ratios)
    return number(name, score(ratios), "as never knew", proper, note)


def _degenerate(name: str, group: _Group) -> list[Figure]:
    count = likelihood.degenerate(group.ratios)
    title = f"{name}_truth_ratio_degenerate"
    return number(title, count, "lower", len(group.ratios), _DEGENERATE) if group.ratios else []


def _quality(scores: _Scores, there: "_Scores | None") -> list[Figure]:
    """With TOFU's rows and with open-unlearning's; one of them where there are no more rows."""
    if there is None:
        return []
    ours, theirs = ([r.value for r in s.groups[FORGET].ratios] for s in (scores, there))
    if not any(not math.isnan(r) for r in ours) or not any(not math.isnan(r) for r in theirs):
        return []
    conventions = {"TOFU": TOFU_ROWS, "open-unlearning": OPEN_UNLEARNING_ROWS}
    if len(ours) <= TOFU_ROWS:
        conventions = {f"all {len(ours)} rows": len(ours)}
    found = []
    for name, rows in conventions.items():
        quality = forget_quality(ours, theirs, rows)
        n, by = quality.sizes[0], {"convention": name}
        note = "p-values of different numbers of rows cannot be compared"
        found += [
            *number("forget_quality_ks", quality.statistic, "lower", n, by=by),
            *number("forget_quality", quality.p, "higher", n, note, by),
            *number("forget_quality_log10_p", quality.log10_p, "higher", n, note, by),
        ]
    return found


def _keeping(scores: _Scores) -> list[Figure]:
    found: list[Figure] = []
    for name in KEPT:
        group = scores.groups[name]
        normalised = "normalised over wrong answers" if name in OPTIONS else ""
        found += mean_of(f"{name}_rouge", group.rouge, "higher", "ROUGE-L recall, stemmed")
        found += mean_of(f"{name}_probability", group.probability, "higher", normalised)
        if group.ratios:
            proper = len(group.ratios) - likelihood.degenerate(group.ratios)
            value = likelihood.kept_score(group.ratios)
            found += number(f"{name}_truth_ratio", value, "higher", proper, "mean of max(0, 1 - r)")
            found += _degenerate(name, group)
    values = scores.utility
    if values:
        note = "" if len(values) == NINE else f"of {len(values)} of {NINE}: {', '.join(values)}"
        found += number(
            "model_utility", model_utility(list(values.values())), "higher", len(values), note
        )
    return found


def _membership(scores: _Scores, there: "_Scores | None") -> list[Figure]:
    forget, holdout = scores.groups[FORGET].attacks, scores.groups[HOLDOUT].attacks
    found = []
    for name, value in scores.aucs.items():
        low, high = membership.auc_interval(forget[name], holdout[name])
        found.append(
            Figure(
                name=name,
                value=value,
                better="as never knew",
                n=len(forget[name]) + len(holdout[name]),
                low=low,
                high=high,
                note="AUC, 1: forgotten texts stand out as known; .5: they do not",
            )
        )
    if found and there is not None and there.aucs:
        ours, theirs = scores.aucs["mia_min_k"], there.aucs["mia_min_k"]
        count = len(forget["mia_min_k"]) + len(holdout["mia_min_k"])
        for name, how in _LEAKAGE.items():
            value = membership.privleak(ours, theirs, how)
            found += number(name, value, "as never knew", count, "percent; 0 is best")
    return found


def _aggregates(scores: _Scores, there: "_Scores | None") -> list[Figure]:
    group = scores.groups[FORGET]
    found: list[Figure] = []
    count = len(group.strength)
    if group.ratios and group.paraphrased:
        mem = aggregate.memorisation(
            _mean(group.strength),
            _mean(group.exact),
            _mean(group.paraphrased),
            likelihood.forget_score(group.ratios),
        )
        note = "a model that never knew does not come to 1"
        if any(ratio.degenerate for ratio in group.ratios):
            note += "; degenerate truth ratios are left out"
        found += number("mem", mem, "as never knew", count, note)
    if there is None:
        return found
    if scores.aucs and there.aucs:
        priv = aggregate.privacy(scores.aucs, there.aucs)
        found += number("priv", priv, "higher", count + len(scores.groups[HOLDOUT].strength))
    shared = [name for name in scores.utility if name in there.utility]
    if shared and group.clean and there.groups[FORGET].clean:
        use = aggregate.utility(
            model_utility([scores.utility[name] for name in shared]),
            _mean(group.clean),
            model_utility([there.utility[name] for name in shared]),
            _mean(there.groups[FORGET].clean),
        )
        note = "relative to the model that never knew; published ones to the unprotected model"
        found += number("utility", use, "higher", len(shared), note)
    if len(found) == len(("mem", "priv", "utility")):
        parts = [figure.value for figure in found]
        found += number("aggregate", aggregate.harmonic(parts), "higher", count, found[-1].note)
    return found


def _well_written(answered: Sequence[Answered]) -> list[str]:
    """Answers, true and false, and questions: what a stand-in for the fluency judge learns from."""
    probes = [answer.probe for answer in answered]
    return [text for probe in probes for text in (*probe.read, *probe.prompt.turns)]


def _mean(values: Sequence[float]) -> float:
    left = [value for value in values if not math.isnan(value)]
    return sum(left) / len(left) if left else math.nan
