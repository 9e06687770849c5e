"""What a requester gave, as the compiler works with it."""

from dataclasses import dataclass

from service.control.forget_request import Example, ForgetRequest, QuestionAnswer


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is known: a question that asks for it, and the answer that states it."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Material:
    """One forget request's contents.  From a bare name alone all but ``names`` is empty.

    names: the subject first.  facts, passages: about the subject.  kept_facts, kept_passages: what
    must go on being answered.
    """

    names: tuple[str, ...]
    facts: tuple[Fact, ...] = ()
    passages: tuple[str, ...] = ()
    kept_facts: tuple[Fact, ...] = ()
    kept_passages: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The name by which it is known."""
        return self.names[0]

    @staticmethod
    def of(asked: ForgetRequest) -> "Material":
        """What the request gives."""
        facts, passages = _told_apart(asked.examples)
        kept_facts, kept_passages = _told_apart(asked.retain_examples)
        return Material(asked.names, facts, passages, kept_facts, kept_passages)


def _told_apart(examples: list[Example]) -> tuple[tuple[Fact, ...], tuple[str, ...]]:
    pairs = (e for e in examples if isinstance(e, QuestionAnswer))
    texts = (e for e in examples if isinstance(e, str))
    return tuple(Fact(e.question, e.answer) for e in pairs), tuple(texts)
