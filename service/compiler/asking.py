"""Everything that can be asked about one fact, in every form."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from service.compiler import wordings
from service.compiler.catalogue import Attribute, about
from service.compiler.material import Fact
from service.compiler.probe import Form, Use
from service.compiler.surrogate import pattern
from service.compiler.telling import says
from service.compiler.wordings import clause_of, dealt, lowered

_LEAST_STEM = 2  # words before what a broken-off sentence would state


@dataclass(frozen=True)
class Asked:
    """A prompt, not yet tried.  reverse: whether the subject's name is what it asks for."""

    prompt: str
    form: Form
    reverse: bool = False


@dataclass(frozen=True)
class Candidate:
    """A prompt with what its answer would tell.  answer: as known beforehand."""

    asked: Asked
    use: Use
    telling: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Asking:
    """What is asked about one fact.

    subject: the name that it is about.  telling: of the answer.  statement: a sentence by name that
    states it, or None.  attribute: what it is called in the catalogue.  others: statements of other
    facts.
    """

    fact: Fact
    subject: str
    telling: tuple[str, ...]
    statement: str | None
    attribute: Attribute | None
    others: tuple[str, ...] = ()

    def prompts(self, use: Use, name: str, seed: str) -> Iterator[tuple[Asked, ...]]:
        """By form, all prompts for the use.  name: by which the subject is called."""
        asks = self._asks(use, name, seed)
        yield tuple(Asked(ask, Form.QUESTION) for ask in asks)
        yield tuple(Asked(text, Form.PARAPHRASE) for text in self._paraphrases(use, name, seed))
        around = dealt(wordings.AROUND, use, seed)
        yield tuple(
            Asked(frame.replace("{q}", _within(frame, ask)), Form.PARAPHRASE)
            for frame, ask in product(around, asks)
        )
        stems = self._stems(name)
        for form, frames in ((Form.PARTIAL, wordings.PARTIALS), (Form.CLOZE, wordings.CLOZES)):
            chosen = dealt(frames, use, seed)
            yield tuple(Asked(f.replace("{stem}", s), form) for f, s in product(chosen, stems))
        yield tuple(self._passages(use, name, seed, asks))
        yield tuple(self._reverses(use, seed))

    def _asks(self, use: Use, name: str, seed: str) -> list[str]:
        own = _by_name(self.fact.question, self.subject, name)
        asks = [] if self.attribute is None else [about(a, name) for a in self.attribute.asks]
        rest = dealt([ask for ask in dict.fromkeys(asks) if ask != own], use, seed)
        return [own, *rest] if use is Use.FIT else rest

    def _paraphrases(self, use: Use, name: str, seed: str) -> Iterator[str]:
        clauses = [clause_of(self.fact.question, self.subject)]
        nouns: Sequence[str] = ()
        if self.attribute is not None:
            clauses.append(self.attribute.clause)
            nouns = self.attribute.nouns
        for frame, clause in product(dealt(wordings.CLAUSES, use, seed), clauses):
            if clause is not None:
                text = _by_name(about(clause, name), self.subject, name)
                yield frame.replace("{clause}", text[:1].lower() + text[1:])
        for frame, noun in product(dealt(wordings.NOUNS, use, seed), nouns):
            yield about(frame.replace("{noun}", noun), name)
        if self.attribute is None:
            own = _by_name(self.fact.question, self.subject, name)
            for frame in dealt(wordings.AROUND, use, seed):
                yield frame.replace("{q}", _within(frame, own))

    def _stems(self, name: str) -> list[str]:
        stems = [] if self.attribute is None else [about(s, name) for s in self.attribute.stems]
        cut = self._cut()
        if cut is not None:
            stems.append(_by_name(cut, self.subject, name))
        return list(dict.fromkeys(stems))

    def _cut(self) -> str | None:
        """The statement up to what it tells."""
        if self.statement is None:
            return None
        places = [
            found.start()
            for each in self.telling
            if (found := pattern(each).search(self.statement))
        ]
        cut = self.statement[: min(places, default=0)].rstrip()
        return cut if len(cut.split()) >= _LEAST_STEM + len(self.subject.split()) else None

    def _passages(self, use: Use, name: str, seed: str, asks: Sequence[str]) -> Iterator[Asked]:
        texts = [text for text in self.others if not says(text, self.telling)]
        texts = [_by_name(text, self.subject, name) for text in dealt(texts, use, seed)]
        for frame, text, ask in product(dealt(wordings.PASSAGES, use, seed), texts[:2], asks[:1]):
            whole = frame.replace("{text}", text).replace("{q}", _within(frame, ask))
            yield Asked(whole, Form.PASSAGE)

    def _reverses(self, use: Use, seed: str) -> Iterator[Asked]:
        if self.statement is None:
            return
        start = pattern(self.subject).match(self.statement)
        if start is None:
            return
        rest = self.statement[start.end() :].rstrip(" .!")
        whose = rest.startswith(("'s ", "’s "))
        question = f"Whose{rest[2:]}?" if whose else f"Who{rest}?"
        if pattern(self.subject).search(question):
            return
        for frame in dealt(wordings.REVERSES, use, seed):
            yield Asked(frame.replace("{q}", question), Form.REVERSE, reverse=True)


def statement_of(fact: Fact, subject: str) -> str | None:
    """The answer as a sentence by name; None where it neither names the subject nor can be made to.

    A pronoun at its beginning is replaced.
    """
    text = fact.answer.strip()
    if pattern(subject).search(text):
        return text
    first, _, rest = text.partition(" ")
    if not rest:
        return None
    if first in ("He", "She", "It", "They"):
        return f"{subject} {rest}"
    if first in ("His", "Her", "Its", "Their"):
        return f"{subject}'s {rest}"
    return None


def _by_name(text: str, subject: str, name: str) -> str:
    return text if subject == name else pattern(subject).sub(lambda _: name, text)


def _within(frame: str, question: str) -> str:
    """The question as it stands within the frame: with a small letter after a comma."""
    return lowered(question) if ", {q}" in frame or "And {q}" in frame else question
