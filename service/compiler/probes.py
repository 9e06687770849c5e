"""The probes of one request: what is asked about its subject, and what comes near without being it.

Every probe about the subject was tried on the served model without a policy and made it state what
is to be forgotten: what a policy then keeps unsaid was there to be said.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from service.compiler.asking import Asking, Candidate, statement_of
from service.compiler.catalogue import CATALOGUE, Attribute, about
from service.compiler.material import Fact, Material
from service.compiler.near_misses import near_misses
from service.compiler.passages import of_passages
from service.compiler.probe import Probe, ProbeSet, Use
from service.compiler.served import Served
from service.compiler.surrogate import Surrogate
from service.compiler.telling import Telling, not_in, says

MOST = {Use.FIT: 100, Use.CALIBRATE: 100, Use.HELD_OUT: 320}
"""Probes about the subject for each use, at most."""

_TRIED = 2  # candidates for each probe that is wanted, at most: not all make the model tell
_BY_ALIAS = 4  # candidates of each fact in each use that go by another name
_AGREE = 2  # of the catalogue's questions that must tell a fact for it to be the same thing
_UNTOLD = 2  # candidates in each use of a given fact that the model never tells

_Item = TypeVar("_Item")


def build(served: Served, material: Material, facts: Sequence[Fact], seed: int) -> ProbeSet:
    """Probes from all that is known.  facts: what was elicited; those of the material come first.

    Deterministic for the same model, arguments and seed.  No two uses share a prompt, the wording
    of a question, or a sentence of a passage.  Questions that were given are for fitting.
    """
    known = tuple(dict.fromkeys((*material.facts, *facts)))
    telling = Telling(served, Surrogate(served, material, facts, seed), material.names)
    told = [(f, tells) for f, tells in zip(known, telling.of(known), strict=True) if tells]
    askings = _askings(served, material, told)
    passages = of_passages(material, telling, seed)
    found: dict[str, Probe] = {}
    given = {fact.question for fact in material.facts}
    for use in Use:
        taken = found.keys() | (set() if use is Use.FIT else given)
        candidates = [
            *_by_turns(_candidates(asking, material, use, seed) for asking in askings),
            *(each for each in passages if each.use is use),
        ]
        new = [each for each in candidates if each.asked.prompt not in taken]
        forget = _that_tell(served, new[: _TRIED * MOST[use]], material, MOST[use], seed)
        found.update((probe.prompt, probe) for probe in forget)
    for use in Use:
        forget = [probe for probe in found.values() if probe.use is use and probe.about]
        near = near_misses(material, [fact for fact, _ in told], forget, use, seed)
        fresh = [(prompt, form) for prompt, form in near if prompt not in found]
        texts = [said.text for said in served.answers([prompt for prompt, _ in fresh])]
        for (prompt, form), text in zip(fresh, texts, strict=True):
            if not says(text, material.names):
                found[prompt] = Probe(
                    _id(prompt, seed), prompt, form, use, about=False, answer=text
                )
    return ProbeSet(tuple(found.values()))


def _askings(
    served: Served, material: Material, told: Sequence[tuple[Fact, tuple[str, ...]]]
) -> list[Asking]:
    subject = material.subject
    statements = [statement_of(fact, subject) for fact, _ in told]
    found = []
    for index, (fact, tells) in enumerate(told):
        others = [s for at, s in enumerate(statements) if s is not None and at != index]
        attribute = _attribute(served, subject, tells)
        often = tells if attribute is None else _often(served, subject, attribute, tells)
        found.append(Asking(fact, subject, often, statements[index], attribute, tuple(others)))
    return found


def _attribute(served: Served, subject: str, telling: Sequence[str]) -> Attribute | None:
    """What the catalogue calls it: that whose questions are answered with it most often."""
    best, most = None, _AGREE - 1
    for attribute in CATALOGUE:
        asks = [about(ask, subject) for ask in attribute.asks]
        count = sum(says(said.text, telling) for said in served.answers(asks))
        if count > most:
            best, most = attribute, count
    return best


def _often(
    served: Served, subject: str, attribute: Attribute, telling: Sequence[str]
) -> tuple[str, ...]:
    """What is told in several wordings: the rest was in one answer by chance."""
    answers = served.answers([about(ask, subject) for ask in attribute.asks])
    counts = {each: sum(says(said.text, (each,)) for said in answers) for each in telling}
    return tuple(each for each in telling if counts[each] >= _AGREE)


def _candidates(asking: Asking, material: Material, use: Use, seed: int) -> list[Candidate]:
    """Of all forms by turns; after the subject's name a few by other names."""

    def by(name: str) -> list[Candidate]:
        forms = asking.prompts(use, name, str(seed))
        found = []
        for asked in _by_turns(forms):
            telling = material.names if asked.reverse else not_in(asking.telling, asked.prompt)
            if telling:
                found.append(Candidate(asked, use, telling, asking.fact.answer))
        return found

    own, aliases = by(asking.subject), material.names[1:]
    if not aliases or use is Use.FIT:
        return own
    alias = aliases[len(asking.fact.question) % len(aliases)]
    others = [each for each in by(alias) if not each.asked.reverse][:_BY_ALIAS]
    return [*own[:_BY_ALIAS], *others, *own[_BY_ALIAS:]]


def _that_tell(
    served: Served, candidates: Sequence[Candidate], material: Material, most: int, seed: int
) -> list[Probe]:
    """The first that make the model tell; of a given fact that none does, some as it was given."""
    found: list[Probe] = []
    told: set[str] = set()
    at = 0
    while at < len(candidates) and len(found) < most:
        tried = candidates[at : at + most - len(found)]
        at += len(tried)
        answers = served.answers([each.asked.prompt for each in tried])
        for each, said in zip(tried, answers, strict=True):
            if says(said.text, each.telling):
                told.add(each.answer)
                found.append(_probe(each, said.text, seed))
    for answer in sorted({fact.answer for fact in material.facts} - told):
        own = [e for e in candidates[:at] if e.answer == answer and not e.asked.reverse]
        found += [_probe(each, answer, seed) for each in own[:_UNTOLD]]
    return found


def _probe(each: Candidate, answer: str, seed: int) -> Probe:
    asked = each.asked
    number = _id(asked.prompt, seed)
    return Probe(number, asked.prompt, asked.form, each.use, True, each.telling, answer)  # noqa: FBT003


def _id(prompt: str, seed: int) -> str:
    """The same for the same prompt and seed; says nothing without the seed."""
    key = seed.to_bytes(32, "big", signed=True)
    return hashlib.blake2b(prompt.encode(), key=key, digest_size=12).hexdigest()


def _by_turns(rows: Iterable[Sequence[_Item]]) -> Iterator[_Item]:
    """The first of each, then the second of each, and so on; each item once."""
    seen: set[_Item] = set()
    for column in zip_longest(*([(item,) for item in row] for row in rows), fillvalue=()):
        for item in chain.from_iterable(column):
            if item not in seen:
                seen.add(item)
                yield item
