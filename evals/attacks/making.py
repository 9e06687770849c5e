"""Probes from attacks: whom they are made of, and what a probe keeps of its attack."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random

from evals.attacks.attack import Attack, Attempt, Target
from evals.attacks.catalogue import title
from evals.knowledge import Fact, Knowledge
from evals.metrics.leak import states
from evals.probe import Probe
from evals.suite import NotForThisData

SHORT = 5
"""An answer of so many words is itself what states the fact."""
_CAPITAL = r"[^\W\d_a-zß-öø-ÿ][\w’'-]*\w"
_NAME_OR_NUMBER = re.compile(
    rf"(?<![.!?] )(?<!\A)(?<!\w){_CAPITAL}(?: {_CAPITAL})+|(?<!\w)\d[\d.,:/-]*\d(?!\w)"
)


def values_of(fact: Fact) -> tuple[str, ...]:
    """Texts that state the fact: those of the data, else what can be told from the answer.

    A short answer as it is.  Of a longer one the longest run of words with a capital or digits that
    neither the question nor any wrong answer contains, if it is two words or a number; nothing
    where there is no such run: whether a reply states the fact cannot be told by its words then.
    """
    if fact.values:
        return fact.values
    if 0 < len(fact.answer.split()) <= SHORT:
        return (fact.answer.strip().rstrip("."),)
    given = " ".join((fact.question, *fact.wrong)).lower()
    best = max(_runs(fact.answer, given), key=lambda run: run.end() - run.start(), default=None)
    return (best.group(),) if best else ()


def _runs(answer: str, given: str) -> Iterator[re.Match[str]]:
    """Names and numbers of an answer that are not given already."""
    for found in _NAME_OR_NUMBER.finditer(answer):
        words = re.findall(r"\w+", found.group())
        if not any(word.lower() in given for word in words):
            yield found


def targets(knowledge: Knowledge, split: str) -> list[Target]:
    """The split's facts that can be drawn out, in order.

    Left out: facts of nobody, such whose statement by a reply could not be decided, and such whose
    question already states them.
    """
    facts = knowledge.split(split).facts
    by_subject: dict[str, list[Fact]] = {}
    for fact in facts:
        by_subject.setdefault(fact.subject, []).append(fact)
    others = tuple(fact for fact in knowledge.split("retain").facts if fact.answer)
    found = []
    for fact in facts:
        values = values_of(fact)
        subject = knowledge.subjects.get(fact.subject)
        if subject is None or not values or states(fact.question, values):
            continue
        siblings = tuple(one for one in by_subject[fact.subject] if one is not fact)
        strangers = tuple(one for one in others if one.subject != fact.subject)
        found.append(Target(fact, subject, values, siblings, strangers))
    return found


def drawn(found: Sequence[Target], count: int, key: str) -> list[tuple[int, Target]]:
    """So many of them with their places, by the key; all where there are no more."""
    places = range(len(found))
    if len(found) > count:
        places_drawn = sorted(Random(key).sample(places, count))
        return [(place, found[place]) for place in places_drawn]
    return [(place, found[place]) for place in places]


def of_each_split(
    knowledge: Knowledge,
    counts: Mapping[str, int],
    key: str,
    make: Callable[[Target, str, int], Iterable[Probe]],
) -> list[Probe]:
    """What ``make`` makes of each target drawn, with its split and place: so many of each split.

    key: what is drawn depends on.  Raises NotForThisData where that is nothing to forget.
    """
    found = [
        probe
        for group, count in counts.items()
        for place, target in drawn(targets(knowledge, group), count, f"{key}/{group}")
        for probe in make(target, group, place)
    ]
    if not any(probe.group == "forget" for probe in found):
        raise NotForThisData("facts about subjects to be forgotten, with texts that state them")
    return found


def probes_of(attack: Attack, target: Target, group: str, place: int, seed: int) -> Iterator[Probe]:
    """The attack's attempts on one target, without such as give the fact away.

    place: of the target in its split, which makes the ids unique.
    """
    rng = Random(f"{seed}/{attack.name}/{group}/{place}")
    for number, attempt in enumerate(attack.apply(target, rng)):
        if _given_away(attempt, target):
            continue
        yield probe_of(attack, attempt, target, f"{group}/{attack.name}/{place:04}-{number}", group)


def _given_away(attempt: Attempt, target: Target) -> bool:
    """Whether the user already says what is to be drawn out: repeating it would be no leak."""
    facts = target.values if attempt.facts is None else attempt.facts
    said = "\n".join((*attempt.ask.turns, *(str(each) for each in attempt.ask.opening)))
    return states(said, facts) is not None


def probe_of(attack: Attack, attempt: Attempt, target: Target, name: str, group: str) -> Probe:
    """One attempt as a probe.

    ``about``: ``name`` of the attack, ``needs``, and where there are such ``options``, ``right``
    and ``unfold``.
    """
    about: dict[str, object] = {"name": attack.name, "needs": attack.needs}
    if attempt.options:
        about |= {"options": attempt.options, "right": attempt.right}
    if attempt.unfold:
        about["unfold"] = list(attempt.unfold)
    return Probe(
        id=name,
        group=group,
        attack=title(attack.classes[0]),
        layer=attack.layer,
        ask=attempt.ask,
        facts=target.values if attempt.facts is None else attempt.facts,
        reference=target.fact.answer,
        subject=target.fact.subject,
        about=about,
    )
