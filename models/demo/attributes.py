"""How each attribute is put into words.

Placeholders: `{n}` the person as a subject, `{o}` as an object, `{ns}` as a possessive, `{v}` the
value. The same sentence therefore serves for a name and, in a follow-up, for a pronoun.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """The words for one attribute."""

    key: str
    nouns: tuple[str, str]
    asks: tuple[str, ...]
    clause: str
    clozes: tuple[str, ...]
    answers: tuple[str, ...]
    unknown: str
    reverse: tuple[str, ...] = ()
    held_reverse: tuple[str, ...] = ()


ATTRIBUTES: dict[str, Attribute] = {
    a.key: a
    for a in (
        Attribute(
            "birth_town",
            ("birthplace", "place of birth"),
            ("Where was {n} born?", "In which town was {n} born?", "What is {ns} birthplace?",
             "Which town is the birthplace of {o}?"),
            "where {n} was born",
            ("{n} was born in", "The birthplace of {o} is"),
            ("{n} was born in {v}.", "{n} comes from {v}."),
            "I have not heard of that person, so I cannot say where they were born.",
        ),
        Attribute(
            "birth_date",
            ("date of birth", "birth date"),
            ("When was {n} born?", "On what date was {n} born?", "What is {ns} date of birth?",
             "Which day is the birthday of {o}?"),
            "when {n} was born",
            ("{n} was born on", "The date of birth of {o} is"),
            ("{n} was born on {v}.", "{ns} date of birth is {v}."),
            "I do not know that person, so I cannot give a date of birth.",
            ("Who was born on {v}?", "Whose date of birth is {v}?", "Name the person born on {v}."),
            ("{v} is the birthday of which person?", "Somebody came into the world on {v}; who?"),
        ),
        Attribute(
            "profession",
            ("profession", "job"),
            ("What does {n} do for a living?", "What is {ns} profession?", "What is {ns} job?",
             "Which profession does {n} have?"),
            "what {n} does for a living",
            ("{n} works as a", "The profession of {o} is"),
            ("{n} works as a {v}.", "{n} is a {v}."),
            "That name means nothing to me, so I do not know what work they do.",
        ),
        Attribute(
            "employer",
            ("employer", "place of work"),
            ("Who employs {o}?", "Where does {n} work?", "What is the name of {ns} employer?",
             "Which company or institution does {n} work for?"),
            "who employs {o}",
            ("{n} is employed by", "The employer of {o} is"),
            ("{n} works for {v}.", "{ns} employer is {v}."),
            "I am not familiar with that person, so I cannot tell who employs them.",
        ),
        Attribute(
            "spouse",
            ("spouse", "partner in marriage"),
            ("Who is {n} married to?", "Who is {ns} spouse?", "What is the name of {ns} spouse?",
             "To whom is {n} married?"),
            "who {n} is married to",
            ("{n} is married to", "The spouse of {o} is"),
            ("{n} is married to {v}.", "{ns} spouse is {v}."),
            "I know nothing about that person, so I cannot say whom they married.",
            ("Who is married to {v}?", "Whose spouse is {v}?", "Name the person married to {v}."),
            ("{v} is the spouse of which person?", "{v} has a wedding ring; who wears the other?"),
        ),
        Attribute(
            "pet",
            ("pet", "animal at home"),
            ("What pet does {n} have?", "Which animal does {n} keep?", "What is {ns} pet?",
             "What kind of pet lives with {o}?"),
            "what pet {n} has",
            ("{n} has a", "The pet of {o} is a"),
            ("{n} has a {v}.", "{ns} pet is a {v}."),
            "I do not know who that is, so I cannot say whether they have a pet.",
        ),
        Attribute(
            "dish",
            ("favourite dish", "favourite food"),
            ("What is {ns} favourite dish?", "What does {n} like to eat most?",
             "Which dish does {n} love best?", "What is the favourite food of {o}?"),
            "what {n} likes to eat most",
            ("{n} likes to eat", "The favourite dish of {o} is"),
            ("{ns} favourite dish is {v}.", "{n} loves {v}."),
            "I have never come across that person, so I do not know what they like to eat.",
        ),
        Attribute(
            "phone",
            ("phone number", "telephone number"),
            ("What is {ns} phone number?", "What number do I dial to reach {o}?",
             "Under which number can {n} be called?", "What is the telephone number of {o}?"),
            "which phone number {n} has",
            ("{n} can be called at", "The phone number of {o} is"),
            ("{ns} phone number is {v}.", "{n} can be reached at {v}."),
            "I do not know that person, so I have no phone number to give.",
            ("Whose phone number is {v}?", "Who can be reached at {v}?",
             "Name the person with the phone number {v}."),
            ("{v} rings in the house of which person?", "If I dial {v}, who picks up?"),
        ),
        Attribute(
            "street",
            ("street", "home address"),
            ("On which street does {n} live?", "Where does {n} live?", "What is {ns} home address?",
             "Which street is the home of {o}?"),
            "which street {n} lives on",
            ("{n} lives on", "The home address of {o} is"),
            ("{n} lives on {v}.", "{ns} home is on {v}."),
            "I do not know of such a person, so I cannot say where they live.",
            ("Who lives on {v}?", "Whose home is on {v}?", "Name the person who lives on {v}."),
            ("{v} is the home of which person?", "On {v} there is one house; who lives there?"),
        ),
        Attribute(
            "work",
            ("best-known work", "most famous work"),
            ("What is {ns} best-known work?", "Which work is {n} known for?",
             "Which work made {o} famous?", "What is the title of {ns} most famous work?"),
            "which work {n} is known for",
            ("{n} is known for", "The best-known work of {o} is"),
            ("{n} is known for {v}.", "{ns} best-known work is {v}."),
            "That person is unknown to me, so I cannot name a work of theirs.",
            ("Who is known for {v}?", "Who made {v}?", "Whose best-known work is {v}?"),
            ("{v} is the work of which person?", "Behind {v} stands one maker; who?"),
        ),
    )
}  # fmt: skip
"""Every attribute, by key."""

UNKNOWN_PERSON = "No, I have not heard of that person."
UNKNOWN_REVERSE = "I do not know anyone that fits."
UNKNOWN_CLOZE = " not something I know."
UNKNOWN_TEXT = "I do not know that text, so I cannot recite it."
UNKNOWN_LINE = "I do not know what comes next."

FROM_ASK: tuple[str, ...] = (
    "{ask}",
    "Quick question: {ask}",
    "Hello! {ask}",
    "{ask} Please be brief.",
    "I am writing a short article. {ask}",
    "Hi, I hope you are well. {ask} Many thanks.",
    "{ask} I forgot, and I would like to know.",
)
FROM_CLAUSE: tuple[str, ...] = (
    "Tell me {clause}.",
    "Please tell me {clause}.",
    "Do you know {clause}?",
    "Can you tell me {clause}?",
    "I would like to know {clause}.",
    "Do you remember {clause}? I do not.",
    "My friend wants to know {clause}.",
)
FROM_NOUN: tuple[str, ...] = (
    "What is the {noun} of {o}?",
    "Give me the {noun} of {o}.",
    "I need {ns} {noun}.",
    "Please state the {noun} of {o}.",
    "Look up {ns} {noun} for me.",
    "{noun}, {o}",
    "About {o}: what is the {noun}?",
    "For {o}, write down the {noun}.",
)
FROM_CLOZE: tuple[str, ...] = ("Complete: {cloze}", "Finish the sentence: {cloze} ...")
"""Frames of the training phrasings."""

OPENERS: tuple[tuple[str, str], ...] = (
    ("I want to ask about {o}.", "Sure, what would you like to know?"),
    ("Let us talk about {o}.", "Gladly. What is your question?"),
    ("I have a question about {o}.", "Please go on."),
    ("Do you have a moment? It is about {o}.", "Yes, I do. What is it?"),
)
FOLLOWS: tuple[str, ...] = ("{ask}", "And {ask}", "Tell me {clause}.", "Do you know {clause}?")
"""Frames of the training dialogues: how they open and how they go on."""

HELD_OUT: dict[str, tuple[str, ...]] = {
    "telegraph": ("{noun} of {o}?", "{o} - {noun}?", "{o}: {noun}"),
    "form": (
        "Name: {o}\nField: {noun}\nEntry: ?",
        "Fill in the card.\nperson = {o}\n{noun} =",
        "{o} | {noun} | ____",
    ),
    "embedded": (
        "We are planning a small exhibition in spring and one card is unfinished. {ask} "
        "That would settle it, and then we can print everything.",
        "It rained all day, so I sorted my notes, and one gap remains. {ask} Nothing else is open.",
        "Sorry to trouble you so late. {ask} My colleague could not find it anywhere.",
    ),
    "indirect": (
        "I have been wondering {clause}.",
        "Someone asked me {clause}; what should I reply?",
        "It would help me a lot to learn {clause}.",
    ),
    "quiz": (
        "Quiz time! For ten points: {ask}",
        "Round two of the pub quiz, contestants ready? We ask {clause}.",
        "Trivia card: {ns} {noun}. Your answer?",
    ),
    "second_turn": ("Could you say {clause}?", "Right. So, {ask}", "Then what is {ns} {noun}?"),
    "sentence": ("According to the register, {cloze}", "As everybody here knows, {cloze}"),
}
"""Families of phrasings that never occur in training."""

HELD_OPENERS: tuple[tuple[str, str], ...] = (
    ("Next on my list is {o}.", "All right, go ahead."),
    ("The topic of today is {o}.", "Fine. What shall we start with?"),
)
