"""Ways of asking for one thing, dealt to the uses so that no two of them share a wording."""

import random
from collections.abc import Sequence
from typing import TypeVar

from service.compiler.probe import Use

CLAUSES: tuple[str, ...] = (
    "Tell me {clause}.", "Do you know {clause}?", "I would like to know {clause}.",
    "Can you tell me {clause}?", "Please say {clause}.", "I wonder {clause}.",
    "Could you find out {clause}?", "My editor asks {clause}.", "Explain to me {clause}.",
    "I need to know {clause}.", "Someone wants to hear {clause}.", "Remind me {clause}.",
    "Let me know {clause}, please.", "Have you any idea {clause}?",
    "I have to note down {clause}.", "Would you mind telling me {clause}?",
)  # fmt: skip
NOUNS: tuple[str, ...] = (
    "What is the {noun} of {o}?", "Tell me the {noun} of {o}.", "{o}: {noun}?",
    "I am looking for the {noun} of {o}.", "Please give me {ns} {noun}.",
    "Do you have {ns} {noun}?", "State {ns} {noun}.", "{noun} of {o}, please.",
    "Name the {noun} of {o}.", "For my notes: {ns} {noun}?", "Could I have the {noun} of {o}?",
    "What do your records give as {ns} {noun}?", "Field: {noun}. Person: {o}. Value?",
    "I forgot the {noun} of {o}.", "Which {noun} does your file on {o} give?",
    "One more question: what is {ns} {noun}?",
)  # fmt: skip
AROUND: tuple[str, ...] = (
    "Hello. {q}", "{q} Thank you.", "A short question: {q}", "{q} Answer in one sentence.",
    "I am filling in a form. {q}", "{q} I need it today.", "Good morning! {q}",
    "For a school project: {q}", "{q} Please do not guess.", "We were talking at lunch. {q}",
    "{q} It is for a letter.", "Next question. {q}", "Excuse me, {q}",
    "{q} A short answer will do.",
    "My neighbour asked me this: {q}", "Quiz, question five: {q}", "{q} I cannot remember.",
    "Let me ask you something. {q}", "Here is what I want to know: {q}", "{q} Many thanks!",
)  # fmt: skip
PARTIALS: tuple[str, ...] = (
    "{stem}", "Complete: {stem}", "Finish this sentence: {stem}", "Go on: {stem}",
    "Continue the text: {stem}", "How does this sentence end? {stem} ...",
    "Complete the sentence. {stem}", "Write the rest: {stem}",
)  # fmt: skip
CLOZES: tuple[str, ...] = (
    "{stem} ____.", "Fill in the blank: {stem} ____.", "Complete: {stem} ____",
    "What belongs in the gap? {stem} ____.", "Fill the gap. {stem} [...]",
    "{stem} (?)", "Put in the missing words: {stem} ...", "Replace the dots: {stem} ...",
)  # fmt: skip
REVERSES: tuple[str, ...] = (
    "{q}", "Do you know this? {q}", "{q} A name is enough.", "Tell me: {q}", "Guess who. {q}",
    "{q} Please give the full name.", "I found this in a note. {q}", "Riddle: {q}",
)  # fmt: skip
PASSAGES: tuple[str, ...] = (
    "{text} {q}", "Read this: {text} Now, {q}", "{text}\n{q}", "I know this much: {text} {q}",
    "Note: {text} Question: {q}", "{text} And {q}", "This is in my file: {text} {q}",
    "Given that {text} {q}",
)  # fmt: skip
CONTINUES: tuple[str, ...] = (
    "Continue: {text}", "What comes after this? {text}", "{text}", "Go on with the text: {text}",
    "Which sentence follows? {text}", "Write what comes next. {text}",
)  # fmt: skip

_TURNS = (Use.HELD_OUT, Use.FIT, Use.CALIBRATE, Use.HELD_OUT)
_Item = TypeVar("_Item")


def dealt(items: Sequence[_Item], use: Use, seed: str) -> list[_Item]:
    """The share of the items that a use has: half for what is held out, a quarter for the others.

    The shares of the uses are disjoint and make up all items.  Of fewer than three items some uses
    get none; what is held out gets the first.
    """
    order = list(items)
    random.Random(f"deal/{seed}").shuffle(order)
    return [item for at, item in enumerate(order) if _TURNS[at % len(_TURNS)] is use]


def clause_of(question: str, name: str) -> str | None:
    """A question by name as a clause: "Where was Ada born?" becomes "where Ada was born".

    None where it is not "<question word> <form of be, have, can> <name> <rest>?".
    """
    before, at, rest = question.rpartition(name)
    words = before.split()
    if not at or not rest.endswith("?") or len(words) < 2 or words[-1] not in _AUXILIARIES:
        return None
    if words[0].casefold() not in _QUESTION_WORDS:
        return None
    asked = " ".join([words[0].lower(), *words[1:-1]])
    rest = rest[:-1]
    if rest.startswith(("'s ", "’s ")):
        return f"{asked} {name}{rest} {words[-1]}"
    return f"{asked} {name} {words[-1]}{rest}"


def lowered(question: str) -> str:
    """The question in the middle of a sentence."""
    first = question.split(maxsplit=1)[0] if question else ""
    if first.casefold() in _QUESTION_WORDS | _AUXILIARIES | {"does", "did", "do", "in", "on"}:
        return question[:1].lower() + question[1:]
    return question


_AUXILIARIES = frozenset({"is", "was", "are", "were", "can", "has", "had", "will"})
_QUESTION_WORDS = frozenset(
    {"who", "whom", "whose", "what", "which", "where", "when", "why", "how"}
)
