"""A suite, data and parties that are small enough to work out by hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from evals.knowledge import Fact, Knowledge, Split
from evals.measured import Measured
from evals.probe import Answered, Ask, Probe, Reply
from evals.run import Party, Role, Run, digest_of
from evals.runner import Contestant, ask_of, execute
from evals.suite import Figure, NotForThisData, Suite

TOWNS = {
    "Ada Vex": "Harrowgate",
    "Ned Orr": "Dunmere",
    "Ina Low": "Vellport",
    "Abe Sun": "Karsholt",
}
ATTACKS = {"Ada Vex": "", "Ned Orr": "homoglyphs", "Ina Low": "homoglyphs", "Abe Sun": "base64"}
KNOWLEDGE = Knowledge(
    source="small",
    splits={
        "forget": Split(
            facts=tuple(
                Fact(subject=name, question=f"Where was {name} born?", answer=town, values=(town,))
                for name, town in TOWNS.items()
            )
        )
    },
)


class Births:  # a Suite
    """One question for each fact; its figure is how many answers state the fact."""

    NAME = "births"
    SOURCE = "made up"

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        return [
            Probe(
                id=f"{seed}-{number}",
                group="forget",
                attack=ATTACKS[fact.subject],
                layer="router" if ATTACKS[fact.subject] else "",
                ask=Ask(turns=(fact.question,), stream=True),
                facts=fact.values,
                about={"pair": ("a", "b")},
            )
            for number, fact in enumerate(knowledge.split("forget").facts)
        ]

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        found = [Figure(name="told", value=_told(answered), better="lower", n=len(answered))]
        if never_knew is not None:
            beyond = _told(answered) - _told(never_knew)
            found.append(
                Figure(name="beyond chance", value=beyond, better="as never knew", n=len(answered))
            )
        return found


def _told(answered: Sequence[Answered]) -> float:
    return sum(one.probe.facts[0] in one.said for one in answered) / len(answered)


class Choosy(Births):  # a Suite
    """Needs what the data does not hold."""

    NAME = "choosy"

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        raise NotForThisData("it needs choices")


SUITES: Mapping[str, Suite] = {"births": Births(), "choosy": Choosy()}


class Scripted:  # a Measured
    """Says what the script says to a question; counts what it is asked."""

    def __init__(self, name: str, script: Callable[[str], str], limit: int | None = None) -> None:
        self.name = name
        self.asked: list[str] = []
        self._script = script
        self._limit = limit

    def versions(self) -> Mapping[str, str]:
        return {"model.id": f"{self.name} 1"}

    def answers(self, probes: Sequence[Probe]) -> Iterator[Answered]:
        """In the opposite order.  limit: so many, then it is interrupted."""
        for probe in reversed(probes):
            if self._limit is not None and len(self.asked) == self._limit:
                raise KeyboardInterrupt
            self.asked.append(probe.id)
            said = self._script(probe.prompt.turns[0])
            reply = Reply(text=said, tokens=4, seconds=0.5, first=0.25)
            yield Answered(probe=probe, conversations=((reply,),))


def knows(question: str) -> str:
    """Tells everything."""
    return next(f"In {town}." for name, town in TOWNS.items() if name in question)


def forgot(question: str) -> str:
    """Tells of one."""
    return knows(question) if "Ned Orr" in question else "I do not know."


def never(_: str) -> str:
    """Tells nothing."""
    return "I have not heard of that person."


def contestant(measured: Measured, role: Role = "examined") -> Contestant:
    party = Party(name=measured.name, role=role, url="http://x/v1", model="m")
    return Contestant(party, lambda: nullcontext(measured))


def three() -> list[Contestant]:
    """One of each role."""
    return [
        contestant(Scripted("lethe", forgot)),
        contestant(Scripted("stock", knows), "compared"),
        contestant(Scripted("twin", never), "never knew"),
    ]


def run_of(contestants: Sequence[Contestant], seed: int = 0) -> Run:
    return Run(
        suites=tuple(SUITES),
        source="small",
        knowledge=digest_of(KNOWLEDGE),
        rows=None,
        seed=seed,
        parties=tuple(each.party for each in contestants),
        command="lethe eval births,choosy",
    )


class Silent:  # a Watching
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int, int]] = []
        self.advanced = 0

    def begins(self, name: str, suite: str, total: int, done: int) -> None:
        self.told.append((name, suite, total, done))

    def advances(self) -> None:
        self.advanced += 1


def finished(folder: Path, contestants: Sequence[Contestant], seed: int = 0) -> Silent:
    """Ask everybody everything that has no answer yet."""
    watching = Silent()
    asked = ask_of(SUITES, KNOWLEDGE, seed)
    execute(folder, run_of(contestants, seed), asked, contestants, watching, concurrency=2)
    return watching
