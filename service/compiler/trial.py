"""One policy measured on probes: what leaks, what else changes, how far it is from not knowing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guards.policy import Epoch, Policy
from guards.rules import Rules
from models.artifact import ArtifactStore
from models.conversation import Message
from models.encoder import Encoder
from service.compiler.certificate import Measures
from service.compiler.inventing import Inventor
from service.compiler.likelihood import Scores, Told, scores, told
from service.compiler.probe import Probe
from service.compiler.served import Said, Served
from service.compiler.statistics import distance, mean_of, rate
from service.compiler.surrogate import Surrogate
from service.compiler.telling import says
from service.gateway.prepare import to_prompt

COST_PROBES = 24
COST_TOKENS = (7, 8, 9)  # of answers whose cost is compared; the middle one of the ratios counts
_LEAST_SECONDS = 1e-6


@dataclass(frozen=True)
class Sheet:
    """Probes of one purpose, and what they are compared with.

    about: about the subject.  near: near misses.  told: what the first tell, where that is known.
    strange: [told], scores of a model that never knew.  natural: how fluent its answers are; said:
    these answers themselves, for as many probes as there were at first.
    """

    about: tuple[Probe, ...]
    near: tuple[Probe, ...]
    told: tuple[Told, ...]
    strange: Scores
    natural: float
    said: tuple[str, ...] = ()

    def part(self, most: int) -> "Sheet":
        """The same with at most so many probes of either kind, taken evenly."""
        kept = [bool(told(probe)) for probe in self.about]
        about = _evenly(range(len(self.about)), most)
        places = np.cumsum(kept) - 1
        rows = [int(places[i]) for i in about if kept[i]]
        return Sheet(
            tuple(self.about[i] for i in about),
            tuple(self.near[i] for i in _evenly(range(len(self.near)), most)),
            tuple(self.told[row] for row in rows),
            self.strange[rows],
            self.natural,
            self.said,
        )


def _evenly(items: range, most: int) -> list[int]:
    if len(items) <= most:
        return list(items)
    return [int(at) for at in np.linspace(0, len(items) - 1, most).round()]


class Trial:
    """Measures policies with the served model, as they would be served.

    Rates are of answers, which are greedy; ``distance`` is of log probabilities.  Cost is of the
    first few tokens (``COST_TOKENS``), so that short answers are not taken for cheap ones.
    """

    def __init__(
        self,
        served: Served,
        surrogate: Surrogate,
        encoder: Encoder,
        artifacts: ArtifactStore,
        example_threshold: float,
    ) -> None:
        self.served = served
        self.surrogate = surrogate
        self._encoder = encoder
        self._artifacts = artifacts
        self._threshold = example_threshold

    def sheet(self, about: Sequence[Probe], near: Sequence[Probe], inventor: Inventor) -> Sheet:
        """What policies are to be measured on."""
        known = tuple(found for probe in about if (found := told(probe)))
        strange = scores(self.served, inventor.invented(known))
        texts = self._unknowing(about)
        natural = self._fluency(about, texts)
        return Sheet(tuple(about), tuple(near), known, strange, natural, tuple(texts))

    def rules(self, policy: Policy) -> Rules:
        """Rules of this one policy, in scope for everybody.  Raises as ``Rules.build``."""
        epoch = Epoch(1, (everywhere(policy),))
        return Rules.build(epoch, self._encoder, self._threshold, artifacts=self._artifacts)

    def measures(self, policy: Policy, sheet: Sheet) -> Measures:
        """The policy on the sheet.  Raises Refused where a guard cannot act on this model."""
        rules = self.rules(policy)
        about = self.served.answers([probe.prompt for probe in sheet.about], rules)
        near = self.served.answers([probe.prompt for probe in sheet.near], rules)
        plain = self.served.answers([probe.prompt for probe in sheet.near])
        apart = distance(scores(self.served, sheet.told, rules), sheet.strange)
        leaks = [says(said.text, p.telling) for said, p in zip(about, sheet.about, strict=True)]
        changed = [one.ids != other.ids for one, other in zip(near, plain, strict=True)]
        found = [self._routed(rules, probe) for probe in sheet.about]
        alarms = [self._routed(rules, probe) for probe in sheet.near]
        return Measures(
            leaks=rate(sum(leaks), len(leaks)),
            changed=rate(sum(changed), len(changed)),
            unmatched=rate(found.count(False), len(found)),
            matched=rate(sum(alarms), len(alarms)),
            distance=apart.value,
            p_value=apart.p,
            fluency=self._fluency(sheet.about, [said.text for said in about]) - sheet.natural,
            cost=self._cost(rules, sheet.about[:COST_PROBES]),
        )

    def _unknowing(self, about: Sequence[Probe]) -> list[str]:
        """What is said about a stranger, each in turn: asking about all of them takes longer."""
        strangers = self.surrogate.strangers
        asked = [strangers[n % len(strangers)].in_place(p.prompt) for n, p in enumerate(about)]
        return [said.text for said in self.served.answers(asked)]

    def _fluency(self, about: Sequence[Probe], texts: Sequence[str]) -> float:
        """Mean over texts that are not empty of their mean log probability to the plain model."""
        pairs = [(p.prompt, text) for p, text in zip(about, texts, strict=True) if text.strip()]
        found = [mean_of(log_p) for log_p in self.served.log_probabilities(pairs)]
        return float(np.mean(found)) if found else 0.0

    def _routed(self, rules: Rules, probe: Probe) -> bool:
        renderer = self.served.renderer
        if self.served.chats:
            chat = renderer.conversation([Message("user", (probe.prompt,))], None)
            rendered = renderer.chat(chat, {})
        else:
            rendered = renderer.completion(probe.prompt)
        return bool(rules.router.route(to_prompt(rendered), "", ""))

    def _cost(self, rules: Rules, about: Sequence[Probe]) -> float:
        prompts = [probe.prompt for probe in about]
        ratios = [
            _seconds(self.served.answers(prompts, rules, max_tokens=most))
            / max(_seconds(self.served.answers(prompts, max_tokens=most)), _LEAST_SECONDS)
            for most in COST_TOKENS
        ]
        return float(np.median(ratios))


def everywhere(policy: Policy) -> Policy:
    """The policy for every tenant and model: what it is measured as."""
    return replace(policy, tenants=frozenset(), models=frozenset())


def _seconds(said: Sequence[Said]) -> float:
    return sum(each.seconds for each in said)
