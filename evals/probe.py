"""What is asked of an endpoint, and what came back: plain values, kept as JSON."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value that does not change, with the same fields in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ask(Frozen):
    """A conversation to be held, or a text to be continued.

    turns: what the user says, one after another; replies stand between them.  For kind
    ``completion`` there is one turn, the prompt itself.  opening: messages of the OpenAI API before
    the first turn.  extra: further fields of the request body.  samples: independent repetitions of
    the whole conversation, the i-th with ``seed + i``.
    """

    turns: tuple[str, ...]
    kind: Literal["chat", "completion"] = "chat"
    opening: tuple[dict[str, Any], ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    samples: int = 1
    seed: int = 0
    stream: bool = False
    stop: tuple[str, ...] = ()
    extra: dict[str, Any] = {}


class Probe(Frozen):
    """One thing to find out.

    id: unique within a suite, and the same in every run with the same data and seed.
    group: the split that it belongs to: ``forget``, ``retain``, ``holdout``, ``real_authors``, ...
    attack: class of the evasion that the prompt makes use of; empty where it is asked plainly.
    layer: which layer of the defence is expected to stop it, as the attack kit names them.
    ask: what is to be generated; None where only likelihoods are wanted.
    read: continuations whose tokens are scored after the prompt (the opening and the first turn).
    facts: texts of which none may be stated, each an alternative way of saying it.
    reference: the true answer.  subject: whom it is about, an opaque label to group by.
    about: whatever else the suite's summary needs, as plain JSON.
    """

    id: str
    group: str
    attack: str = ""
    layer: str = ""
    ask: Ask | None = None
    read: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    reference: str = ""
    subject: str = ""
    about: dict[str, Any] = {}

    @property
    def prompt(self) -> Ask:
        """Where ``read`` continues.  Raises ValueError where there is no prompt."""
        if self.ask is None:
            raise ValueError("a probe without a prompt cannot be read")
        return self.ask


class Reading(Frozen):
    """A continuation as the model reads it, token by token, under the policies of its prompt.

    logprobs: of each token, in nats.  likeliest: whether it is the argmax.  means, deviations: mean
    and standard deviation of the log probability under the model's distribution at each token (for
    min-k++).  A token that a guard forbids has logprob -inf, kept as None.
    """

    logprobs: tuple[float | None, ...]
    likeliest: tuple[bool, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]


class Reply(Frozen):
    """What one request was answered.

    text: the content.  channels: whatever else can carry words, by name: ``reasoning``,
    ``tool_arguments``, ...  seconds: until the last byte; first: until the first byte of content.
    """

    text: str
    channels: Mapping[str, str] = {}
    finish: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    first: float = 0.0

    @property
    def said(self) -> str:
        """All channels together, as a leak may be in any."""
        return "\n".join([self.text, *self.channels.values()])


REFUSED = frozenset({400, 413, 415, 422})
"""Statuses that turn the request itself down: nothing is stated, and that is an answer."""


class Answered(Frozen):
    """A probe with what came back.

    conversations: one for each sample, a reply for each turn.  readings: one for each of ``read``.
    status: of the last request; error: why there is nothing, where there is nothing.  unread: the
    endpoint's code for not offering the readings of this prompt, which is no error.
    """

    probe: Probe
    conversations: tuple[tuple[Reply, ...], ...] = ()
    readings: tuple[Reading, ...] = ()
    status: int = 200
    error: str = ""
    unread: str = ""

    @property
    def decided(self) -> bool:
        """Whether the endpoint replied, or turned the request itself down."""
        return bool(self.conversations) or self.status in REFUSED

    @property
    def reply(self) -> Reply:
        """The last reply of the first conversation.  Raises IndexError where there is none."""
        return self.conversations[0][-1]

    @property
    def said(self) -> str:
        """Every reply of every conversation."""
        return "\n".join(reply.said for replies in self.conversations for reply in replies)
