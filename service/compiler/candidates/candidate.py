"""A candidate: guards with a name, and what candidates are fitted with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.policy import GuardSpec
from guards.rules import Rules
from guards.vocabulary import Vocabulary
from models.artifact import ArtifactStore
from models.conversation import Message
from service.compiler.invented import FUNCTION_WORDS, WORD, is_person_like
from service.compiler.served import Served
from service.compiler.surrogate import Surrogate
from service.compiler.trial import Sheet

SHORTEST_NAME = 4  # letters of a word that is followed by itself into an answer


class Candidate(NamedTuple):
    """Guards to be tried together.  name: what reports call it; it says nothing of a subject."""

    name: str
    guards: tuple[GuardSpec, ...]


@dataclass(frozen=True)
class Ground:
    """What candidates are fitted to.

    names: of the subject, it first.  sheet: probes to fit to.  rules: of a policy with such guards.
    function, strength: the operator's stop-gap corruption.
    """

    served: Served
    surrogate: Surrogate
    artifacts: ArtifactStore
    names: tuple[str, ...]
    sheet: Sheet
    rules: Callable[[tuple[GuardSpec, ...]], Rules]
    function: str
    strength: float
    seed: int

    @property
    def vocabulary(self) -> Vocabulary:
        """The served model's, to which artifacts that act on logits are bound."""
        engine = self.served.engine
        return Vocabulary(engine.pieces, engine.end_ids, engine.vocab_size)

    @property
    def followed(self) -> tuple[str, ...]:
        """The names, and the words of a person's that are long enough to be one by themselves.

        Those are looked for only in answers to prompts that are about the subject anyway.
        """
        words = (
            word
            for name in self.names
            if is_person_like(name)
            for word in WORD.findall(name)
            if len(word) >= SHORTEST_NAME and word.casefold() not in FUNCTION_WORDS
        )
        return tuple(dict.fromkeys((*self.names, *words)))

    def put(
        self, manifest: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], *, sealed: bool
    ) -> str:
        """Store an artifact.  sealed: where it holds anything of a name."""
        arrays = {name: np.asarray(value) for name, value in tensors.items()}
        return self.artifacts.put(manifest, arrays, sealed=sealed)

    def chat(self, prompt: str) -> tuple[int, ...]:
        """The prompt as the model is given it, up to where the answer begins."""
        renderer = self.served.renderer
        if not self.served.chats:
            return tuple(renderer.completion(prompt).ids)
        return tuple(
            renderer.chat(renderer.conversation([Message("user", (prompt,))], None), {}).ids
        )
