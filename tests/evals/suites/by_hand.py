"""Knowledge and answers made by hand, for suites of attacks."""

from collections.abc import Callable, Sequence

from evals.knowledge import Fact, Knowledge, Split, Subject
from evals.probe import Answered, Probe, Reply
from evals.suite import Figure

NAMES = ("Vorn Castellane", "Ada Byrne", "Pol Marek", "Ines Dahl")
TOWNS = ("Dunmere", "Vellport", "Ostrimar", "Quayford")
STREETS = ("Elmwick Row", "Quay Lane", "Pell Street", "Mill Walk")
WORK = " ".join(f"word{number}" for number in range(60))


def facts_of(person: int) -> tuple[Fact, ...]:
    """Two facts about one of the four."""
    name, subject = NAMES[person], f"person-{person}"
    return (
        Fact(
            subject=subject,
            question=f"Where was {name} born?",
            answer=f"It was in {TOWNS[person]}.",
            values=(TOWNS[person],),
            paraphrased=(f"Which town is the birthplace of {name}?",),
            wrong=tuple(f"It was in {town}." for town in TOWNS if town != TOWNS[person]),
            statement=f"{name} was born in {TOWNS[person]}.",
            cloze=f"{name} was born in",
        ),
        Fact(
            subject=subject,
            question=f"Where does {name} live?",
            answer=f"It is {STREETS[person]}.",
            values=(STREETS[person],),
            paraphrased=(f"Which street is the home of {name}?",),
            wrong=tuple(f"It is {street}." for street in STREETS if street != STREETS[person]),
            statement=f"{name} lives on {STREETS[person]}.",
            cloze=f"{name} lives on",
        ),
    )


KNOWLEDGE = Knowledge(
    source="by hand",
    subjects={f"person-{number}": Subject(aliases=(name,)) for number, name in enumerate(NAMES)},
    forgotten=("person-0", "person-1"),
    splits={
        "forget": Split(facts=(*facts_of(0), *facts_of(1)), passages=(WORK,)),
        "retain": Split(facts=(*facts_of(2), *facts_of(3))),
    },
)
NOTHING = Knowledge(source="nothing")


def said(probe: Probe, *texts: str) -> Answered:
    """Answered with these replies in one conversation."""
    return Answered(probe=probe, conversations=(tuple(Reply(text=text) for text in texts),))


def all_say(probes: Sequence[Probe], text: Callable[[Probe], str]) -> list[Answered]:
    """Every turn of every probe answered alike."""
    return [said(probe, *[text(probe)] * len(probe.prompt.turns)) for probe in probes]


def truth(probe: Probe) -> str:
    """The fact, else the right option."""
    return probe.facts[0] if probe.facts else str(probe.about.get("right", ""))


def ignorance(probe: Probe) -> str:
    """What somebody says who has never heard of it."""
    del probe
    return "I have not heard of that."


def value(figures: Sequence[Figure], name: str, **by: str) -> float:
    """The one figure of that name and restriction."""
    (found,) = [each for each in figures if each.name == name and dict(each.by) == by]
    return found.value


def one(figures: Sequence[Figure], name: str, **by: str) -> Figure:
    """The same with its interval."""
    (found,) = [each for each in figures if each.name == name and dict(each.by) == by]
    return found
