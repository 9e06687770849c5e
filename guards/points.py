"""Where a guard acts.  Every guard decides on the prompt; a base names where it acts later.

What acts inside an engine is *bound* once to the artifact that says how and to the model that it
will act in; the bound object is what the engine calls in each step.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from guards.case import Case, Match
from guards.needs import Needs
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


class Guard(ABC):
    """One mechanism of a policy, built from its GuardSpec's options."""

    NEEDS: ClassVar[Needs] = Needs()

    @abstractmethod
    def on_prompt(self, case: Case, match: Match) -> Case:
        """Decide what to do about one match of this guard's policy: usually, leave an edit."""


@dataclass(frozen=True)
class EngineModel:
    """What a guard may know of the model that it acts in.

    layers: number of decoder layers.  scale: root mean square of the embedding table, the unit of
    strengths.  device, dtype: of hidden states.  tokens_on_device: whether the runner keeps the
    tokens there, where ``OnDevice`` edits read them.
    """

    layers: int
    scale: float
    vocabulary: Vocabulary
    device: "torch.device"
    dtype: "torch.dtype"
    tokens_on_device: bool = False


class InEngine(Guard):
    """A guard that acts inside an engine, as an artifact says."""

    @staticmethod
    @abstractmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not one that this guard can apply."""


# --- input embeddings ----------------------------------------------------------------------------


class Follower(Protocol):
    """Finds what a guard is to change in generated text too."""

    def covers(self, history: "NDArray[np.int64]", first: int) -> "NDArray[np.bool_]":
        """For each of the tokens ``history[first:]``, whether it is to be changed.

        history: [tokens], prompt and answer up to the token that is being embedded.  Decided for a
        token by the tokens up to and including itself, so that chunks and repeats agree.
        """


class OnEmbedding(InEngine):
    """A guard that changes input embeddings in the engine."""

    @staticmethod
    @abstractmethod
    def on_embedding(
        rows: "Tensor", positions: "NDArray[np.int64]", artifact: Artifact, scale: float
    ) -> "Tensor":
        """The rows as they shall enter the first layer.

        rows: [tokens, hidden], in the model's dtype.  positions: [tokens], absolute; several may
        be equal where the rows are of several requests.  scale: root mean square of the model's
        embedding table, the unit of strengths.
        Returns the same shape and dtype, finite.  A pure function of its arguments, row by row:
        prefill may be chunked, repeated after preemption, or run on several ranks.
        """

    @staticmethod
    def follower(artifact: Artifact, model: EngineModel) -> Follower | None:
        """What finds the tokens of the answer to be changed too; None: only the prompt is.

        Raises ValueError where the artifact does not fit the model.
        """
        del artifact, model
        return None


# --- activations ---------------------------------------------------------------------------------


class Site(NamedTuple):
    """A place in the model.

    ``layer``: the residual stream after that decoder layer (counted from 0), [hidden] wide.
    ``mlp``: the input of that layer's ``down_proj``, [intermediate] wide.
    """

    kind: Literal["layer", "mlp"]
    layer: int


@dataclass
class Memory:
    """What an activation edit keeps of one request between visits, and all that it may keep.

    prompt_length: tokens of the prompt.  kept: free for the edit; it must hold nothing that a
    second visit of the same positions would change.
    """

    prompt_length: int
    kept: dict[int, float] = field(default_factory=dict)


class Visit(NamedTuple):
    """The rows that an activation edit is shown at one site.

    positions: [n], absolute.  owners: [n], index into ``memories``, not decreasing; the rows of
    one owner are in order of position.  memories: one for each request.  scratch: the same dict at
    all sites of one forward pass for these same rows, for what need not be worked out at each of
    them; None where there is none.
    """

    site: Site
    positions: "NDArray[np.int64]"
    owners: "NDArray[np.int64]"
    memories: Sequence[Memory]
    scratch: dict[str, Any] | None = None


class ActivationEdit(Protocol):
    """An activation guard, bound to an artifact and a model.

    sites: where it wants to be called.  generated: whether for generated positions too (those from
    ``prompt_length`` on); of the prompt it is shown the positions that the Edit names.
    """

    sites: frozenset[Site]
    generated: bool

    def apply(self, rows: "Tensor", visit: Visit) -> "Tensor":
        """The rows, [n, width], as they shall go on: same shape and dtype, finite.

        A function of row, position and memory alone, so that batches and chunks do not matter.
        It must not change ``rows`` in place.
        """


class OnActivations(InEngine):
    """A guard that changes hidden states in the engine."""

    @staticmethod
    @abstractmethod
    def bind(artifact: Artifact, model: EngineModel) -> ActivationEdit:
        """Ready to act.  Raises ValueError where the artifact does not fit the model."""


# --- logits --------------------------------------------------------------------------------------


class History(NamedTuple):
    """The tokens of one request so far.  key: the same for one request's whole life.

    prompt, output: token ids; to be read only.
    """

    key: str
    prompt: Sequence[int]
    output: Sequence[int]


class LogitsEdit(Protocol):
    """A logits guard, bound to an artifact and a model."""

    def apply(self, logits: "Tensor", histories: Sequence[History]) -> None:
        """Change ``logits`` in place.  [n, vocabulary], float32; one history for each row.

        Never raises a logit that is minus infinity.  What is kept between calls, by ``key``, may
        only save work: the outcome is a function of row and history alone.
        """

    def forget(self, key: str) -> None:
        """The request has ended: drop what was kept of it."""


class DeviceTokens(NamedTuple):
    """The tokens of all requests, as a runner keeps them on the device.

    ids: [slots, longest] int32.  prompt_lengths: [slots].  slots: [rows], whose tokens a row of
    logits follows; below 0: nobody's.  lengths: [rows], how many of them it sees.
    """

    ids: "Tensor"
    prompt_lengths: "Tensor"
    slots: "Tensor"
    lengths: "Tensor"


@runtime_checkable
class OnDevice(Protocol):
    """A logits edit that can read tokens where the runner keeps them, so that nothing waits."""

    on_device: bool

    def apply_on_device(self, logits: "Tensor", tokens: DeviceTokens) -> None:
        """As ``LogitsEdit.apply``, for the rows that are somebody's; no other is written."""


class OnLogits(InEngine):
    """A guard that changes next-token logits in the engine."""

    @staticmethod
    @abstractmethod
    def bind(artifact: Artifact, model: EngineModel) -> LogitsEdit:
        """Ready to act.  Raises ValueError where the artifact does not fit the model."""


# --- text ----------------------------------------------------------------------------------------


class OnText(Guard):
    """A guard that looks at what the model writes, whether or not its policy matched the prompt."""
