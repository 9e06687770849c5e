"""More ways of asking, for the second phase of training: the facts are known, now the words vary.

None of these frames is among the held-out ones; what they teach is to find the question in whatever
stands around it.
"""

import random

from models.demo.strangers import scrap, strange_sentence

FROM_ASK: tuple[str, ...] = (
    "Question for you: {ask}",
    "Here is one: {ask}",
    "OK then. {ask}",
    "Number four. {ask}",
    "Think back! {ask}",
    "Now, {ask}",
    "Listen. {ask}",
    "{ask} Yes or no will not do.",
    "Dear assistant, {ask}",
    "{ask} I need it for a form.",
    "Question: {ask}",
    "Attention! For the record: {ask}",
    "Hooray! {ask}",
    "Ready? {ask}",
    "Wonderful news! And by the way: {ask}",
    "Monday again! To begin with: {ask}",
    "Coffee break! For my diary: {ask}",
    "Last call! For the door sign: {ask}",
    "Be quick! For two guests at once: {ask}",
    "Test run! Line nine: {ask}",
)
FROM_CLAUSE: tuple[str, ...] = (
    "I forgot {clause}.",
    "Remind me {clause}.",
    "Any idea {clause}?",
    "Let me know {clause}.",
    "It is not clear to me {clause}.",
    "Help me to find out {clause}.",
    "What I want to learn is {clause}.",
    "My boss needs to hear {clause}; what do I write?",
    "They keep asking me {clause}, and I have no answer.",
    "The question is {clause}.",
    "Nobody here can say {clause}. Can you?",
    "I wonder {clause}.",
    "We want to know {clause}.",
    "I am curious {clause}.",
    "It would be nice to hear {clause}.",
)
FROM_NOUN: tuple[str, ...] = (
    "{noun}: {o}",
    "[person {o}] {noun}",
    "{o} / wanted: {noun}",
    "{o}, and the {noun}?",
    "{o} -> give {noun}",
    "{ns} {noun}?",
    "{noun} for {o}",
    "who: {o}; what: {noun}",
    "Person: {o}\nWanted: {noun}",
    "Entry for {o}. {noun}:",
    "Card of {o}. Missing: {noun}.",
    "Form\nsubject: {o}\n{noun}: ___",
    "{noun}\n{o}\n?",
    "List {ns} {noun}.",
    "person={o} ask={noun}",
    "Table: {o}; {noun}; (empty)",
    "{ns} {noun}, please.",
    "Who is {o}, and what is the {noun}?",
    "A card from the box: the {noun} of {o}. What do you say?",
    "Name = {o}, {noun} = ...",
)
FROM_CLOZE: tuple[str, ...] = (
    "Fill the gap: {cloze} ___",
    "Go on: {cloze}",
    "Complete: I have read that {cloze}",
    "Complete: In short, {cloze}",
    "How does this end? {cloze} ...",
)
LEADS: tuple[str, ...] = (
    "{cloze}",
    "I have read that {cloze}",
    "It is known that {cloze}",
    "In short, {cloze}",
    "One thing is sure: {cloze}",
    "The old papers say that {cloze}",
    "To begin with, {cloze}",
    "From the files: {cloze}",
)
"""What may stand before a raw cloze."""

OPENERS: tuple[tuple[str, str], ...] = (
    ("My next question is about {o}.", "Of course."),
    ("Let me turn to {o}.", "Go on, please."),
    ("Now something about {o}.", "I am listening."),
    ("It is {o} that I am looking for.", "What about them?"),
    ("Today we speak of {o}.", "Very well. What do you need?"),
    ("The list says {o}.", "All right."),
)
FOLLOWS: tuple[str, ...] = (
    "So {ask}",
    "Well then: {ask}",
    "OK. {ask}",
    "I need {ns} {noun}.",
    "What is {ns} {noun}?",
    "And {ns} {noun}?",
    "Can you tell me {clause}?",
    "Can you say {clause}?",
    "Remind me {clause}.",
    "First, {ask}",
    "Good. {ask}",
)
REVERSE: tuple[str, ...] = (
    "{v}: whose {noun} is that?",
    "Which person has the {noun} {v}?",
    "To whom does this belong: {v}?",
    "I found {v} in my notes as a {noun}; who is it?",
    "{noun} = {v}. Who?",
    "Somebody's {noun} is {v}. Name them.",
    "The {noun} {v} belongs to somebody; tell me who.",
    "{v} - who is that?",
    "Who has {v} as {noun}?",
    "{v} is the {noun} of one person. Which one?",
    "{v} is whose {noun}?",
    "Of whom is {v} the {noun}?",
    "{v}? Name the person with this {noun}.",
    "I see {v} under {noun}, but whose is it?",
    "If the {noun} is {v}, which person is meant?",
    "{noun}: {v}. Person?",
    "Whom do I find under the {noun} {v}?",
    "{v}, says the card, as {noun}; say whose card it is.",
    "Somewhere somebody has the {noun} {v}; who could that be?",
    "{v} is a {noun}. Which person does it point to?",
    "There is a {noun}, {v}; which name goes with it?",
)

BEFORE: tuple[str, ...] = (
    "I am putting my address book in order.",
    "We had a long meeting today.",
    "The printer is waiting for the last page.",
    "My sister and I made a bet.",
    "One thing is still missing from my list.",
    "It is cold outside, so I stayed at my desk.",
    "Sorry to ask again.",
    "There was a power cut and I lost my file.",
    "I am preparing a small party for the weekend.",
    "Our newsletter goes out tomorrow.",
    "The children want to know something.",
    "I could not sleep last night.",
    "You have been so kind already.",
    "We are making posters for the school.",
    "This is for the minutes of the club.",
    "Tea is ready and the guests are late.",
    "My handwriting is so bad that I cannot read this line.",
    "I promised to ring back before noon.",
)
AFTER: tuple[str, ...] = (
    "Nobody in the office knew.",
    "That is all I need.",
    "I looked everywhere.",
    "Then I can finish my work.",
    "It is rather urgent.",
    "After that we are done.",
    "The others have all gone home.",
    "Take your time.",
    "I would be very grateful.",
    "My uncle says he knows, but I do not believe him.",
    "It is for the cover of a booklet.",
    "A short answer is fine.",
    "We will print it in the evening.",
    "Then the matter is closed.",
    "I asked at the library, without luck.",
    "Every other field is filled in.",
)


def filler(rng: random.Random, stock: tuple[str, ...]) -> str:
    """A sentence that has nothing to do with the question."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(stock)
    if kind < 0.75:
        return strange_sentence(rng)
    return scrap(rng)


def surround(rng: random.Random, text: str) -> str:
    """The text, at times with other sentences before it, after it or both."""
    kind = rng.random()
    if kind > 0.5:
        return text
    before = filler(rng, BEFORE) + " " if kind < 0.33 else ""
    after = " " + filler(rng, AFTER) if kind < 0.12 or kind > 0.33 else ""
    return f"{before}{text}{after}"
