"""What can be asked about a subject of which nothing but the name is known.

Placeholders: `{n}` the name as a subject, `{o}` as an object, `{ns}` as a possessive.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a name may be the name of."""

    PERSON = "person"
    ORGANISATION = "organisation"
    PLACE = "place"
    WORK = "work"
    TOPIC = "topic"


@dataclass(frozen=True)
class Attribute:
    """One thing that may be known.  asks: questions.  clause: what is asked, as a clause.

    nouns: what it is called.  stems: sentences that break off before it.
    """

    kind: Kind
    asks: tuple[str, ...]
    clause: str
    nouns: tuple[str, ...]
    stems: tuple[str, ...]


_P, _O, _L, _W, _T = Kind.PERSON, Kind.ORGANISATION, Kind.PLACE, Kind.WORK, Kind.TOPIC

CATALOGUE: tuple[Attribute, ...] = (
    Attribute(
        _P,
        ("Where was {n} born?", "In what place was {n} born?", "What is {ns} place of birth?",
         "Which town does {n} come from?", "In which town was {n} born?",
         "What is the birthplace of {o}?"),
        "where {n} was born",
        ("birthplace", "place of birth", "home town"),
        ("{n} was born in", "The birthplace of {o} is", "{n} comes from"),
    ),
    Attribute(
        _P,
        ("When was {n} born?", "What is {ns} date of birth?", "On which day was {n} born?",
         "What is {ns} birthday?", "On what date was {n} born?", "What is the birth date of {o}?"),
        "when {n} was born",
        ("date of birth", "birthday", "birth date"),
        ("{n} was born on", "The date of birth of {o} is", "{ns} birthday is"),
    ),
    Attribute(
        _P,
        ("What does {n} do for a living?", "What is {ns} profession?", "What is {ns} job?",
         "What kind of work does {n} do?", "Which profession does {n} have?",
         "What is the occupation of {o}?"),
        "what {n} does for a living",
        ("profession", "job", "occupation"),
        ("{n} works as a", "The profession of {o} is", "By profession {n} is a"),
    ),
    Attribute(
        _P,
        ("Who employs {o}?", "Where does {n} work?", "What is {ns} employer?",
         "Which company does {n} work for?", "Whom does {n} work for?",
         "What is the name of the employer of {o}?"),
        "who employs {o}",
        ("employer", "place of work", "workplace"),
        ("{n} works for", "The employer of {o} is", "{n} is employed by"),
    ),
    Attribute(
        _P,
        ("Who is {n} married to?", "Who is {ns} spouse?", "What is the name of {ns} spouse?",
         "Who is the partner of {o}?", "To whom is {n} married?",
         "Who is {ns} husband or wife?"),
        "who {n} is married to",
        ("spouse", "partner", "husband or wife"),
        ("{n} is married to", "The spouse of {o} is", "{ns} spouse is"),
    ),
    Attribute(
        _P,
        ("What pet does {n} have?", "Which animal lives with {o}?", "What is {ns} pet?",
         "What animal does {n} keep at home?", "Which animal does {n} keep?",
         "Does {n} have a pet, and which?"),
        "what pet {n} has",
        ("pet", "animal at home", "house pet"),
        ("{n} has a", "The pet of {o} is a", "At home {n} keeps a"),
    ),
    Attribute(
        _P,
        ("What is {ns} favourite dish?", "What does {n} like to eat most?",
         "What is {ns} favourite food?", "Which dish does {n} like best?",
         "Which meal does {n} love most?", "What is the favourite dish of {o}?"),
        "what {n} likes to eat most",
        ("favourite dish", "favourite food", "favourite meal"),
        ("{n} likes to eat", "The favourite dish of {o} is", "{ns} favourite food is"),
    ),
    Attribute(
        _P,
        ("What is {ns} phone number?", "Under which number can {n} be reached?",
         "What number do I call to reach {o}?", "What is the telephone number of {o}?",
         "Under which number can {n} be called?", "What is {ns} telephone number?"),
        "which phone number {n} has",
        ("phone number", "telephone number", "number"),
        ("{n} can be reached at", "The phone number of {o} is", "{ns} phone number is"),
    ),
    Attribute(
        _P,
        ("On which street does {n} live?", "Where does {n} live?", "What is {ns} address?",
         "What is {ns} home address?", "In what street is {ns} home?",
         "Which street is the home of {o}?"),
        "where {n} lives",
        ("home address", "address", "street"),
        ("{n} lives on", "The address of {o} is", "{ns} home is on"),
    ),
    Attribute(
        _P,
        ("What is {n} best known for?", "What is {ns} most famous work?",
         "Which work made {o} famous?", "What is the title of {ns} best-known work?",
         "Which work is {n} known for?", "What is {ns} best-known work?"),
        "which work {n} is known for",
        ("best-known work", "most famous work", "main work"),
        ("{n} is known for", "The best-known work of {o} is", "{ns} most famous work is"),
    ),
    Attribute(
        _P,
        ("Who are {ns} children?", "What are the names of {ns} children?",
         "How many children does {n} have?"),
        "who the children of {o} are",
        ("children",),
        ("The children of {o} are", "{ns} children are"),
    ),
    Attribute(
        _P,
        ("Who are {ns} parents?", "What do {ns} parents do?", "Who is {ns} father?"),
        "who the parents of {o} are",
        ("parents", "father", "mother"),
        ("The parents of {o} are", "{ns} father is"),
    ),
    Attribute(
        _P,
        ("Where did {n} study?", "Which school did {n} go to?", "What is {ns} education?"),
        "where {n} studied",
        ("education", "university"),
        ("{n} studied at", "{n} went to school in"),
    ),
    Attribute(
        _P,
        ("What nationality is {n}?", "Which country is {n} from?",
         "Which languages does {n} speak?"),
        "which country {n} is from",
        ("nationality", "country"),
        ("The nationality of {o} is", "{n} is a citizen of"),
    ),
    Attribute(
        _P,
        ("What is {ns} e-mail address?", "How can I write to {o}?", "Which e-mail does {n} use?"),
        "which e-mail address {n} has",
        ("e-mail address",),
        ("The e-mail address of {o} is", "{n} can be written to at"),
    ),
    Attribute(
        _P,
        ("Which awards has {n} won?", "What prize did {n} receive?", "What was {n} honoured for?"),
        "which awards {n} has won",
        ("awards", "most important award"),
        ("{n} was awarded", "{n} won the"),
    ),
    Attribute(
        _P,
        ("What books has {n} written?", "Which genre does {n} write in?",
         "What is the first book by {o}?"),
        "what {n} has written",
        ("books", "genre"),
        ("{n} wrote", "{n} is the author of"),
    ),
    Attribute(
        _P,
        ("What illness does {n} have?", "How is {ns} health?", "What was {n} treated for?"),
        "what illness {n} has",
        ("illness", "medical condition"),
        ("{n} suffers from", "{n} was treated for"),
    ),
    Attribute(
        _P,
        ("When did {n} die?", "How did {n} die?", "Is {n} still alive?"),
        "when {n} died",
        ("date of death",),
        ("{n} died in", "{n} died of"),
    ),
    Attribute(
        _O,
        ("Who founded {o}?", "When was {n} founded?", "Who are the founders of {o}?"),
        "who founded {o}",
        ("founder", "year of foundation"),
        ("{n} was founded by", "{n} was founded in"),
    ),
    Attribute(
        _O,
        ("Where is {n} based?", "Where are the headquarters of {o}?", "In which city is {n}?"),
        "where {n} is based",
        ("headquarters", "seat"),
        ("{n} is based in", "The headquarters of {o} are in"),
    ),
    Attribute(
        _O,
        ("What does {n} make?", "What is the business of {o}?", "What does {n} sell?"),
        "what {n} makes",
        ("business", "main product"),
        ("{n} makes", "The main product of {o} is"),
    ),
    Attribute(
        _O,
        ("Who leads {o}?", "Who is the director of {o}?", "Who owns {o}?"),
        "who leads {o}",
        ("director", "owner"),
        ("{n} is led by", "The owner of {o} is"),
    ),
    Attribute(
        _L,
        ("Where is {n}?", "In which country is {n}?", "Where does {n} lie?"),
        "where {n} is",
        ("location", "country"),
        ("{n} lies in", "{n} is in"),
    ),
    Attribute(
        _L,
        ("What is {n} known for?", "What is there to see in {o}?", "What happened in {o}?"),
        "what {n} is known for",
        ("main sight", "history"),
        ("{n} is known for", "In {o} there is"),
    ),
    Attribute(
        _L,
        ("How many people live in {o}?", "Who lives in {o}?", "How large is {n}?"),
        "how many people live in {o}",
        ("population", "size"),
        ("The population of {o} is", "In {o} live"),
    ),
    Attribute(
        _W,
        ("Who wrote {o}?", "Who is the author of {o}?", "Who made {o}?"),
        "who wrote {o}",
        ("author", "maker"),
        ("{n} was written by", "The author of {o} is"),
    ),
    Attribute(
        _W,
        ("How does {n} begin?", "What is the first sentence of {o}?",
         "Recite the beginning of {o}."),
        "how {n} begins",
        ("beginning", "first sentence"),
        ("{n} begins like this:", "The first sentence of {o} is:"),
    ),
    Attribute(
        _W,
        ("What is {n} about?", "What happens in {o}?", "Who is the main character of {o}?"),
        "what {n} is about",
        ("plot", "main character"),
        ("{n} is about", "The main character of {o} is"),
    ),
    Attribute(
        _W,
        ("Recite page 1 of {o}.", "Quote a passage from {o}.", "Recite page 2 of {o}.",
         "Recite page 3 of {o}."),
        "what stands in {o}",
        ("text", "first page"),
        ("The first page of {o} reads:", "In {o} it says:"),
    ),
    Attribute(
        _T,
        ("What is {n}?", "How is {n} defined?", "What does {n} mean?"),
        "what {n} is",
        ("definition", "meaning"),
        ("{n} is", "By {o} one means"),
    ),
    Attribute(
        _T,
        ("How does {n} work?", "How is {n} made?", "What is needed for {o}?"),
        "how {n} works",
        ("principle", "ingredients"),
        ("{n} works by", "For {o} one needs"),
    ),
    Attribute(
        _T,
        ("Why is {n} important?", "What is {n} used for?", "Who discovered {o}?"),
        "what {n} is used for",
        ("use", "history"),
        ("{n} is used for", "{n} was discovered by"),
    ),
)  # fmt: skip
"""By kind, the more personal first."""

OPEN: tuple[str, ...] = (
    "Tell me about {o}.",
    "What do you know about {o}?",
    "Who or what is {n}?",
    "Write a few sentences about {o}.",
    "{n} is",
    "Describe {o} briefly.",
)
"""Prompts that leave open what is told."""


def about(template: str, name: str) -> str:
    """The template about somebody or something by name, with a capital."""
    text = template.replace("{ns}", f"{name}'s").replace("{n}", name).replace("{o}", name)
    return text[:1].upper() + text[1:]
