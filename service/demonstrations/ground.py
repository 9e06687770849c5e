"""What a demonstration has to work with: the demo model, one person to forget, others to keep."""

from collections.abc import Callable
from dataclasses import dataclass

from guards.policy import GuardSpec
from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.local_engine import LocalEngine


@dataclass(frozen=True, slots=True)
class Probe:
    """A question and the answer of a model that knows it."""

    question: str
    answer: str


@dataclass(frozen=True)
class Ground:
    """subject, aliases: whom to forget.  forget: what the model knows about them, in training
    phrasings.  retain: the same about other people, who must be kept.  strangers: names that the
    model never saw.
    """

    engine: LocalEngine
    renderer: PromptRenderer
    artifacts: ArtifactStore
    subject: str
    aliases: tuple[str, ...]
    forget: tuple[Probe, ...]
    retain: tuple[Probe, ...]
    strangers: tuple[str, ...]


Build = Callable[[Ground], tuple[GuardSpec, ...]]
"""Makes a guard ready for the ground's subject: fits it, stores its artifacts, names it."""
