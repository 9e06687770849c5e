"""What a method is fitted with: the model, its vocabulary, rows to forget and rows to retain."""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.knowledge import Fact, Knowledge, Subject
from evals.methods.ground import Ground
from guards.case import Span
from guards.vocabulary import Vocabulary
from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.demo.strangers import draw_stranger
from models.demo.world import plain
from models.encoder import Encoder, default_folder
from models.fitting.assistants import Example
from models.local_engine import LocalEngine

if TYPE_CHECKING:
    from evals.methods.kept import Fit

MOST_RETAINED = 400  # rows; as many as ULD takes on TOFU
STRANGERS = 4  # invented names for each question

Ids = tuple[int, ...]
Tensors = Mapping[str, NDArray[Any]]


class Pair(NamedTuple):
    """Prompts that name the subject, and the same ones with invented names."""

    known: list[Ids]
    strange: list[Ids]


class Material:
    """Rows are drawn with fixed seeds; the same ground gives the same material.

    store: where artifacts go; digests of what is put there are listed in ``put_there``.
    fitted: gives the kept fit of another method on the same ground, for methods made of others.
    """

    def __init__(
        self, ground: Ground, store: ArtifactStore, fitted: "Callable[[str], Fit]"
    ) -> None:
        self.ground = ground
        self.store = store
        self.fitted = fitted
        self.put_there: list[str] = []
        self._knowledge = ground.knowledge

    # --- who and what ----------------------------------------------------------------------------

    @cached_property
    def forgotten(self) -> Mapping[str, Subject]:
        """Whom to forget, by label."""
        return {label: self._knowledge.subjects[label] for label in self._knowledge.forgotten}

    @cached_property
    def forget(self) -> tuple[Fact, ...]:
        """What is to be forgotten."""
        return rows_to_forget(self._knowledge)

    @cached_property
    def retain(self) -> tuple[Fact, ...]:
        """What is to be kept: at most ``MOST_RETAINED`` rows."""
        facts = self._knowledge.split("retain").facts
        if len(facts) <= MOST_RETAINED:
            return facts
        return tuple(random.Random(0).sample(facts, MOST_RETAINED))

    def about(self, label: str) -> tuple[Fact, ...]:
        """What is to be forgotten of one subject."""
        return tuple(fact for fact in self.forget if fact.subject == label)

    def strange(self, label: str) -> Pair:
        """The subject's questions that name it, and the same about strangers.

        Of these there are ``STRANGERS`` for each question.  Where no question names it, questions
        about others stand for those about strangers.  Raises ValueError where there is no question.
        """
        subject = self.forgotten[label]
        asked = [f.question for f in self.about(label) if names(subject, f.question)]
        if not asked:
            return self._beside_others(label)
        invented = [
            renamed(question, subject, self.stranger(f"{label}/{number}"))
            for number in range(STRANGERS)
            for question in asked
        ]
        return Pair(self.chats(asked), self.chats(invented))

    def _beside_others(self, label: str) -> Pair:
        asked = [fact.question for fact in self.about(label)]
        if not asked:
            raise ValueError("nothing is known of a subject that is to be forgotten")
        return Pair(self.chats(asked), self.chats(fact.question for fact in self.retain))

    def stranger(self, seed: str) -> str:
        """An invented name that is nobody's; the same for the same seed."""
        taken = {plain(each.name) for each in self._knowledge.subjects.values()}
        return draw_stranger(random.Random(f"stranger/{seed}"), taken).name

    # --- the model -------------------------------------------------------------------------------

    @cached_property
    def engine(self) -> LocalEngine:
        """The model that knows."""
        return LocalEngine.load(self.ground.model)

    @property
    def model(self) -> Any:
        """The same, of transformers."""
        return self.engine.model

    @cached_property
    def renderer(self) -> PromptRenderer:
        """Its prompts."""
        return PromptRenderer(self.ground.model)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What artifacts that act on logits are bound to."""
        engine = self.engine
        return Vocabulary(engine.pieces, engine.end_ids, engine.vocab_size)

    @cached_property
    def encoder(self) -> Encoder:
        """The sentence encoder that the gateway has too.  Raises EncoderUnavailable."""
        return Encoder.load(default_folder())

    # --- rows ------------------------------------------------------------------------------------

    def chat(self, question: str) -> Ids:
        """A question as a chat, up to where the answer begins."""
        chat = self.renderer.conversation([Message("user", (question,))], None)
        return tuple(self.renderer.chat(chat, {}).ids)

    def chats(self, questions: Iterable[str]) -> list[Ids]:
        """The same for many."""
        return [self.chat(question) for question in questions]

    def said(self, answer: str) -> Ids:
        """An answer with the token that ends it."""
        tokenizer = self.engine.tokenizer
        return (*tokenizer.encode(answer, add_special_tokens=False), int(tokenizer.eos_token_id))

    def examples(self, facts: Iterable[Fact]) -> list[Example]:
        """Questions with their answers."""
        return [Example(self.chat(fact.question), self.said(fact.answer)) for fact in facts]

    # --- artifacts -------------------------------------------------------------------------------

    def put(self, manifest: Mapping[str, Any], tensors: Tensors, *, sealed: bool = False) -> str:
        """Store an artifact; its digest."""
        digest = self.store.put(manifest, {k: np.asarray(v) for k, v in tensors.items()},
                                sealed=sealed)  # fmt: skip
        self.put_there.append(digest)
        return digest


def rows_to_forget(knowledge: Knowledge) -> tuple[Fact, ...]:
    """The facts, and each passage as what follows its first sentence.

    Passages name nobody; they are taken for those of the first subject that no fact is about.
    """
    split = knowledge.split("forget")
    known = {fact.subject for fact in split.facts}
    others = [label for label in knowledge.forgotten if label not in known]
    if not others:
        return split.facts
    return (*split.facts, *(told for text in split.passages for told in _told(others[0], text)))


def _told(label: str, passage: str) -> tuple[Fact, ...]:
    """Its first sentence, and what follows; nothing where that is all."""
    first, end, rest = passage.partition(". ")
    return (Fact(subject=label, question=first + end.rstrip(), answer=rest),) if rest else ()


def names(subject: Subject, text: str) -> bool:
    """Whether the text names it, as whole words."""
    return _either(subject.aliases).search(text) is not None


def spans_of(subject: Subject, text: str) -> tuple[Span, ...]:
    """Where the text names it, as whole words."""
    return tuple(Span(*found.span()) for found in _either(subject.aliases).finditer(text))


def renamed(text: str, subject: Subject, name: str) -> str:
    """The text about somebody else.  For one word of a name stands the last word of the other."""
    one_word = name.split()[-1]
    return _either(subject.aliases).sub(
        lambda found: name if len(found.group().split()) > 1 else one_word, text
    )


def _either(aliases: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(aliases, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
