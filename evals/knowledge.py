"""What a model was trained on and is to forget: facts, passages and choices, by split."""

from collections.abc import Mapping

from pydantic import Field

from evals.probe import Frozen


class Fact(Frozen):
    """A question with its answer.

    subject: whom or what it is about, a key of ``Knowledge.subjects``; empty where it is nobody's.
    values: the shortest texts that state it, alternatives of each other; a reply that contains one
    as whole words leaks.  Empty where only the whole answer is known.
    paraphrased: ways of asking the same.  paraphrased_answer, wrong: of TOFU's perturbed splits.
    statement: a sentence that states it.  cloze: such a sentence up to the value.
    """

    subject: str
    question: str
    answer: str
    values: tuple[str, ...] = ()
    paraphrased: tuple[str, ...] = ()
    paraphrased_answer: str = ""
    wrong: tuple[str, ...] = ()
    statement: str = ""
    cloze: str = ""


class Subject(Frozen):
    """A person or thing.  aliases: the name first, then other ways of calling it."""

    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """How it is called."""
        return self.aliases[0]


class Choice(Frozen):
    """A question with options, of which one is right."""

    question: str
    options: tuple[str, ...]
    right: int
    topic: str = ""


class Split(Frozen):
    """What is known of one part.  passages: running texts, as they were trained on."""

    facts: tuple[Fact, ...] = ()
    passages: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()


class Knowledge(Frozen):
    """A dataset.

    source: what it was read from, as the caller named it, and its version where it has one.
    subjects: by label; forgotten: the labels of those to be forgotten.
    splits: by name.  ``forget``: was trained on and is to be forgotten.  ``retain``: was trained on
    and stays.  ``holdout``: of the same kind, never trained on.  Others as the dataset names them
    (``real_authors``, ``world_facts``).
    """

    source: str
    subjects: Mapping[str, Subject] = Field(default_factory=dict)
    forgotten: tuple[str, ...] = ()
    splits: Mapping[str, Split] = Field(default_factory=dict)

    def split(self, name: str) -> Split:
        """The named split; an empty one where there is none."""
        return self.splits.get(name, Split())
