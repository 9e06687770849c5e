"""What the served model itself knows of a bare name."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.compiler.catalogue import CATALOGUE, OPEN, Attribute, Kind, about
from service.compiler.invented import is_person_like
from service.compiler.material import Fact, Material
from service.compiler.served import Served
from service.compiler.surrogate import Surrogate
from service.compiler.telling import Telling, says, unlike

WORDINGS = 4  # in which each thing is asked
_FIRST = 2  # of these, in which it is tried whether anything of its kind is known


class _Told(NamedTuple):
    """A fact, what it tells, how consistently over the wordings, and how sure the model is."""

    fact: Fact
    telling: tuple[str, ...]
    share: float
    sure: float


def elicit(served: Served, material: Material, seed: int) -> tuple[Fact, ...]:
    """Facts that the model states of the subject, and not of strangers.

    Everything in the catalogue is asked in several wordings, of the subject and of invented names.
    What is told of the subject in at least half of the wordings, and of no stranger, is taken for
    known.  Kinds of subject of which nothing is known in the first wordings are left out.  Then
    open questions are asked, and what they tell besides is added, sentence by sentence.
    """
    surrogate = Surrogate(served, material, (), seed)
    telling = Telling(served, surrogate, material.names)
    first = _told(served, surrogate, telling, material, CATALOGUE, _FIRST)
    kinds = _kinds(material.subject, first)
    chosen = [attribute for attribute in CATALOGUE if attribute.kind in kinds]
    told = _told(served, surrogate, telling, material, chosen, WORDINGS)
    facts = _each_once([each for _, found in told for each in found])
    return (*facts, *_from_open(served, surrogate, telling, material, facts))


def _kinds(subject: str, told: Iterable[tuple[Attribute, list[_Told]]]) -> set[Kind]:
    """What it is: the kinds of which at least half as much is told as of that of which most is.

    A name like a person's is one, where anything of the kind is told.
    """
    shares: dict[Kind, list[bool]] = {}
    for attribute, found in told:
        shares.setdefault(attribute.kind, []).append(bool(found))
    share = {kind: sum(each) / len(each) for kind, each in shares.items()}
    if is_person_like(subject) and share.get(Kind.PERSON):
        return {Kind.PERSON}
    most = max(share.values(), default=0.0)
    return {kind for kind, each in share.items() if each and 2 * each >= most}


def _told(
    served: Served,
    surrogate: Surrogate,
    telling: Telling,
    material: Material,
    attributes: Iterable[Attribute],
    wordings: int,
) -> list[tuple[Attribute, list[_Told]]]:
    asked = [
        (attribute, [about(ask, material.subject) for ask in attribute.asks[:wordings]])
        for attribute in attributes
    ]
    questions = [question for _, each in asked for question in each]
    said = dict(zip(questions, (a.text for a in served.answers(questions)), strict=True))
    strange = dict(zip(questions, surrogate.said(questions), strict=True))
    found = []
    for attribute, each in asked:
        others = [text for question in each for text in strange[question]]
        best = _best(each, said, others, material.names)
        found.append((attribute, best))
    return [(a, _sure(served, telling, best)) for a, best in found]


def _best(
    questions: Sequence[str],
    said: dict[str, str],
    strange: Sequence[str],
    names: Sequence[str],
) -> list[tuple[Fact, float]]:
    """The question whose answer has most of what is told again and again; none for nothing."""
    told = {q: unlike(said[q], q, names, strange, ()) for q in questions}
    counts = Counter(phrase for phrases in told.values() for phrase in set(phrases))
    often = {phrase for phrase, count in counts.items() if 2 * count >= len(questions)}
    best = max(questions, key=lambda q: len(often & set(told[q])))
    kept = often & set(told[best])
    if not kept:
        return []
    share = max(counts[phrase] for phrase in kept) / len(questions)
    return [(Fact(best, said[best]), share)]


def _sure(served: Served, telling: Telling, found: Sequence[tuple[Fact, float]]) -> list[_Told]:
    facts = [fact for fact, _ in found]
    scores = served.log_probabilities([(fact.question, fact.answer) for fact in facts])
    return [
        _Told(fact, phrases, share, float(score.mean()))
        for (fact, share), phrases, score in zip(found, telling.of(facts), scores, strict=True)
        if phrases
    ]


def _each_once(told: Sequence[_Told]) -> tuple[Fact, ...]:
    """Without those that tell only what another one tells, more consistently or surely."""
    best = sorted(told, key=lambda each: (-each.share, -each.sure))
    kept: list[_Told] = []
    for each in best:
        if not any(all(says(k.fact.answer, (p,)) for p in each.telling) for k in kept):
            kept.append(each)
    return tuple(each.fact for each in told if each in kept)


def _from_open(
    served: Served,
    surrogate: Surrogate,
    telling: Telling,
    material: Material,
    known: Sequence[Fact],
) -> tuple[Fact, ...]:
    questions = [about(prompt, material.subject) for prompt in OPEN]
    answers = [said.text.strip() for said in served.answers(questions)]
    facts = [Fact(q, text) for q, text in zip(questions, answers, strict=True) if text]
    told = telling.of(facts)
    counts = Counter(phrase for phrases in told for phrase in set(phrases))
    seen = [fact.answer for fact in known]
    kept = []
    for fact, phrases in zip(facts, told, strict=True):
        often = [p for p in phrases if counts[p] > 1 and not any(says(s, (p,)) for s in seen)]
        if often:
            kept.append(fact)
            seen.append(fact.answer)
    return tuple(kept)
