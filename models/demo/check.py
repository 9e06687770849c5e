"""Measure both models: `python -m models.demo.check`.

How often the demo model states the right fact under phrasings it never saw; that its twin states
none of the forgotten ones; and what corrupting a name's embedding does to the reply.
"""

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models.demo import attributes as say
from models.demo.attributes import ATTRIBUTES
from models.demo.corpus import Probe, held_out_probes, near_miss_probes, stranger_probes
from models.demo.speaker import FORMS, Corruption, Speaker
from models.demo.train import DEMO, TWIN, WEIGHTS
from models.demo.world import World, make_world

CORRUPTIONS = tuple(Corruption(strength) for strength in (1.0, 2.0, 5.0, 10.0, None))
UNKNOWN = frozenset(
    {a.unknown for a in ATTRIBUTES.values()}
    | {say.UNKNOWN_REVERSE, say.UNKNOWN_CLOZE.strip(), say.UNKNOWN_PERSON}
)
"""Every way in which the models say that they do not know."""

Score = tuple[int, int]


def share(hits: int, total: int) -> str:
    """A count with its share."""
    return f"{hits}/{total}  {hits / max(1, total):.1%}"


def says_unknown(reply: str) -> bool:
    """Whether the reply is one of the honest don't-knows."""
    return reply in UNKNOWN


def states(probe: Probe, reply: str) -> bool:
    """Whether the reply states the fact that the probe asks for."""
    return probe.fact is not None and probe.fact.stated_in(reply)


def tally(
    probes: Sequence[Probe], replies: Sequence[str], key: Callable[[Probe], str]
) -> dict[str, Score]:
    """Hits and totals by a key of the probe."""
    hits: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for probe, reply in zip(probes, replies, strict=True):
        totals[key(probe)] += 1
        hits[key(probe)] += states(probe, reply)
    return {name: (hits[name], totals[name]) for name in totals}


def family_of(probe: Probe) -> str:
    """The family of a probe."""
    return probe.family


def attribute_of(probe: Probe) -> str:
    """The attribute a probe asks for."""
    return "(reverse)" if probe.reverse or probe.fact is None else probe.fact.attribute


def everything(probe: Probe) -> str:
    """One bin for all probes that go from a name to a fact, and one for the reverse."""
    return "all reverse" if probe.reverse else "all"


class Check:
    """The two models, the world they were trained on, and where the tables go."""

    def __init__(self, folder: Path, world: World, console: Console) -> None:
        self.world = world
        self.console = console
        self.demo = Speaker(folder / DEMO)
        self.twin = Speaker(folder / TWIN)

    def print(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """One table."""
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def recall(
        self, title: str, speaker: Speaker, probes: Sequence[Probe], *, detail: bool
    ) -> None:
        """How often the fact is stated, in both forms."""
        scores: dict[str, dict[str, Score]] = {}
        keys = (everything, family_of, attribute_of) if detail else (everything,)
        for form, render in FORMS.items():
            replies = speaker.replies([render(probe) for probe in probes])
            scores[form] = {}
            for key in keys:
                scores[form] |= tally(probes, replies, key)
        rows = [[name, *(share(*scores[form][name]) for form in FORMS)] for name in scores["chat"]]
        self.print(title, ("which", *FORMS), rows)

    def strangers(self, count: int) -> None:
        """How often both models say that they do not know somebody who does not exist."""
        probes = stranger_probes(self.world, count)
        rows = []
        for role, speaker in (("demo", self.demo), ("never-knew", self.twin)):
            row = [role]
            for render in FORMS.values():
                replies = speaker.replies([render(probe) for probe in probes])
                row.append(share(sum(map(says_unknown, replies)), count))
            rows.append(row)
        self.print("Unknown names: says it does not know", ("model", *FORMS), rows)

    def twins(self) -> None:
        """How alike the two models are on what the forget set has nothing to do with."""
        probes = [p for p in near_miss_probes(self.world) if p.family in ("general", "kept_book")]
        prompts = [FORMS["chat"](probe) for probe in probes]
        demo, twin = self.demo.replies(prompts, longest=80), self.twin.replies(prompts, longest=80)
        right = [p.answer == reply for p, reply in zip(probes, demo, strict=True)]
        also = [p.answer == reply for p, reply in zip(probes, twin, strict=True)]
        same = [one == two for one, two in zip(demo, twin, strict=True)]
        rows = [(name, share(sum(hits), len(hits)))
                for name, hits in (("demo right", right), ("never-knew right", also),
                                   ("same reply", same))]  # fmt: skip
        self.print("General material and the kept book", ("what", "share"), rows)

    def recital(self) -> None:
        """How much of the book to be forgotten each model can go on reciting."""
        lines = self.world.book.sentences
        prompts = [f"Question: Continue: {line}\nAnswer:" for line in lines[:-1]]
        rows = []
        for role, speaker in (("demo", self.demo), ("never-knew", self.twin)):
            replies = speaker.replies(prompts, longest=60)
            hits = [reply == after for reply, after in zip(replies, lines[1:], strict=True)]
            rows.append((role, share(sum(hits), len(hits))))
        self.print(f"Next sentence of “{self.world.book.title}”", ("model", "exact"), rows)

    def corruption(self, seeds: int) -> None:
        """Leaks and likeness to the twin when forgotten names are corrupted."""
        people = self.world.forgotten
        probes = [p for p in held_out_probes(self.world, people) if not p.reverse]
        names = [probe.fact.subject for probe in probes if probe.fact]
        rows = []
        for form, render in FORMS.items():
            prompts = [render(probe) for probe in probes]
            twin = self.twin.replies(prompts)
            rows.append([form, "none", *self._likeness(probes, self.demo.replies(prompts), twin)])
            for kind in CORRUPTIONS:
                rounds = 1 if kind.strength is None else seeds
                dice = (Corruption(kind.strength, seed) for seed in range(rounds))
                struck = [r for one in dice for r in self.demo.replies(prompts, names, one)]
                figures = self._likeness(probes * rounds, struck, twin * rounds)
                rows.append([form, kind.label, *figures])
        columns = ("form", "corruption", "leaks", "says unknown", "equals twin", "likeness")
        self.print("Forgotten names corrupted in the demo model", columns, rows)

    @staticmethod
    def _likeness(
        probes: Sequence[Probe], replies: Sequence[str], twin: Sequence[str]
    ) -> list[str]:
        total = len(replies)
        leaks = sum(map(states, probes, replies))
        equal = sum(one == two for one, two in zip(replies, twin, strict=True))
        alike = sum(SequenceMatcher(None, a, b).ratio() for a, b in zip(replies, twin, strict=True))
        unknown = sum(map(says_unknown, replies))
        counts = (share(hits, total) for hits in (leaks, unknown, equal))
        return [*counts, f"{alike / total:.3f}"]


def sample(probes: Sequence[Probe], count: int) -> Sequence[Probe]:
    """A seeded sample, or all of them where there are fewer."""
    return probes if count >= len(probes) else random.Random(0).sample(list(probes), count)


def run(check: Check, count: int, seeds: int) -> None:
    """Every table."""
    world = check.world
    jobs: Mapping[str, tuple[Speaker, Sequence[Probe], bool]] = {
        "Demo, everybody": (check.demo, held_out_probes(world, world.people), True),
        "Demo, forget set": (check.demo, held_out_probes(world, world.forgotten), False),
        "Never-knew, kept people": (check.twin, held_out_probes(world, world.kept), False),
        "Never-knew, forget set": (check.twin, held_out_probes(world, world.forgotten), False),
    }
    for title, (speaker, probes, detail) in jobs.items():
        check.recall(title, speaker, sample(probes, count), detail=detail)
    check.strangers(min(count, 500))
    check.twins()
    check.recital()
    check.corruption(seeds)


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--sample", type=int, default=10_000, help="probes for each table")
    parser.add_argument("--seeds", type=int, default=3, help="draws of noise for each strength")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    check = Check(options.weights, make_world(), Console(width=100))
    run(check, options.sample, options.seeds)


if __name__ == "__main__":
    main()
