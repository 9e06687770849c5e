"""Probes from texts about the subject: what comes next, and how a sentence ends."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from service.compiler import wordings
from service.compiler.asking import Asked, Candidate
from service.compiler.material import Fact, Material
from service.compiler.probe import Form, Use
from service.compiler.surrogate import named
from service.compiler.telling import Telling, not_in
from service.compiler.wordings import dealt

MOST = 80  # pairs of a beginning and what follows
_SENTENCE = re.compile(r"[^.!?\u3002]+[.!?\u3002]*[\"'\u201d\u2019)]*\s*")
_LEAST = 6  # words of a sentence that is broken off


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [found.group().strip() for found in _SENTENCE.finditer(text) if found.group().strip()]


def of_passages(material: Material, telling: Telling, seed: int) -> list[Candidate]:
    """Candidates in every use.  A beginning belongs to one use only, whatever is put around it.

    What tells is what follows and neither stands in the beginning nor is said, or found likely,
    where the words of the beginning are replaced by others.
    """
    pairs = list(dict.fromkeys(_pairs(material.passages)))[:MOST]
    told = telling.of([Fact(begin, rest) for begin, rest, _ in pairs])
    known = [(pair, phrases) for pair, phrases in zip(pairs, told, strict=True) if phrases]
    found: list[Candidate] = []
    for use in Use:
        for (begin, rest, form), phrases in dealt(known, use, f"{seed}/passages"):
            frames = wordings.CONTINUES if form is Form.PASSAGE else wordings.PARTIALS
            shown = form if named(begin, material.names) else Form.NAMELESS
            for frame in dealt(frames, use, f"{seed}/passages"):
                prompt = frame.replace("{text}", begin).replace("{stem}", begin)
                tells = not_in(phrases, prompt)
                found.append(Candidate(Asked(prompt, shown), use, tells, rest))
    return [each for each in found if each.telling]


def _pairs(passages: Sequence[str]) -> Iterator[tuple[str, str, Form]]:
    """Beginnings with what follows them."""
    for passage in passages:
        found = sentences(passage)
        for one, two in pairwise(found):
            yield one, two, Form.PASSAGE
        for sentence in found:
            words = sentence.split()
            if len(words) >= _LEAST:
                half = len(words) // 2
                yield " ".join(words[:half]), " ".join(words[half:]), Form.PARTIAL
