"""All attacks, by family."""

from collections.abc import Mapping

from evals.attacks import (
    choices,
    continued,
    conversation,
    documents,
    encoded,
    jailbreaks,
    multilingual,
    obfuscated,
    output_forms,
    plainly,
    reversed_questions,
    surroundings,
    work,
)
from evals.attacks.attack import Attack

FAMILIES: Mapping[str, tuple[Attack, ...]] = {
    "Asked plainly": plainly.ATTACKS,
    "Other spellings": obfuscated.ATTACKS,
    "Encoded": encoded.ATTACKS,
    "Other languages": multilingual.ATTACKS,
    "Over turns and parts": conversation.ATTACKS,
    "Talked into it": jailbreaks.ATTACKS,
    "By what stands around": surroundings.ATTACKS,
    "In documents and tools": documents.ATTACKS,
    "Begun, to be continued": continued.ATTACKS,
    "From the value to the name": reversed_questions.ATTACKS,
    "Chosen from options": choices.ATTACKS,
    "In another form of answer": output_forms.ATTACKS,
}
"""Attacks on facts."""

ON_PASSAGES: tuple[Attack, ...] = work.ATTACKS
"""Attacks on running texts."""

ATTACKS: tuple[Attack, ...] = (*(a for family in FAMILIES.values() for a in family), *ON_PASSAGES)


def attack(name: str) -> Attack:
    """The attack of that name.  Raises KeyError."""
    found = {one.name: one for one in ATTACKS}
    return found[name]
