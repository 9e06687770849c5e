"""A certificate: how well a policy forgets, what it costs, and under what that was measured."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rate(_Closed):
    """So many of so many, with the upper end of a one-sided 95 % confidence interval."""

    found: int = Field(ge=0)
    of: int = Field(ge=0)
    upper: float = Field(ge=0, le=1)


class Measures(_Closed):
    """One policy on one set of probes.  Nothing here quotes a probe.

    leaks: answers to probes about the subject that state what must not be said.  changed: near
    misses whose answer's tokens differ from those without the policy.  unmatched: probes about the
    subject that the router does not find.  matched: near misses that it does.
    distance: Kolmogorov-Smirnov statistic between the mean log probabilities of what must not be
    said under the policy and those under the surrogate of a model that never knew; p_value: of it.
    fluency: mean log probability (nats a token) that the plain model gives to what is written
    under the policy, minus the same for the surrogate's answers.  cost: seconds under the policy,
    over seconds without it.
    """

    leaks: Rate
    changed: Rate
    unmatched: Rate
    matched: Rate
    distance: float
    p_value: float
    fluency: float
    cost: float


class Tried(_Closed):
    """A candidate that was measured, and why it was kept or not, in words of our own."""

    name: str
    measures: Measures
    kept: bool
    why: str


class Certificate(_Closed):
    """What is known of a policy.  Signed with the epoch that it becomes active in.

    policy: digest of the manifest without its certificate.  model: digest of the weights,
    tokenizer, quantisation and adapter it was measured on.  versions: of what measured it.
    held_out: on probes that nothing was fitted to or chosen by.
    """

    format: Literal[1] = 1
    policy: str
    model: str
    versions: dict[str, str]
    seed: int
    held_out: Measures
    tried: tuple[Tried, ...] = ()
    router: dict[str, Any] = Field(default_factory=dict)
    made_at: int
    seconds: float
