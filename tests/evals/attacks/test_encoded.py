"""What is encoded can be read again, by decoders that share nothing with the encoders."""

from random import Random

import pytest

from evals.attacks import ciphers
from evals.attacks.attack import Target
from evals.attacks.encoded import CIPHERS, ENCODINGS, ESCAPES, GAMES, LEAD, NOTE
from evals.attacks.registry import attack
from evals.attacks.wording import mentions, renamed
from tests.evals.attacks.decoders import DECODERS, bare
from tests.evals.attacks.examples import NOTARY, demo_targets

TABLES = {**ENCODINGS, **ESCAPES, **CIPHERS, **GAMES}
ONLY_BY_HAND = {"pig_latin", "spoonerism"}
LETTERS_ONLY = {"morse", "spoken"}
SOME = (NOTARY, *demo_targets()[::9])


def test_every_encoding_has_a_decoder_or_a_case_worked_by_hand() -> None:
    assert TABLES.keys() == DECODERS.keys() | ONLY_BY_HAND


@pytest.mark.parametrize("name", sorted(DECODERS))
@pytest.mark.parametrize("target", SOME, ids=lambda target: target.fact.question[:20])
def test_the_whole_question_and_the_name_come_back(name: str, target: Target) -> None:
    how = TABLES[name][1]
    whole, inside = attack(name).apply(target, Random(0))
    read = bare if name in LETTERS_ONLY else str
    lead, note = LEAD.format(how=how), NOTE.format(how=how)

    assert whole.ask.turns[0].startswith(lead)
    code = whole.ask.turns[0].removeprefix(lead)
    assert read(DECODERS[name](code)) == read(target.fact.question)

    before, after = target.fact.question.split(target.subject.name)
    written = inside.ask.turns[0]
    assert written.startswith(before)
    assert written.endswith(after + note)
    code = written.removeprefix(before).removesuffix(after + note)
    assert read(DECODERS[name](code)) == read(target.subject.name)


IN_CLEAR = {"punycode", "words_backwards"}
"""Punycode keeps ASCII, and words in another order are still words."""


@pytest.mark.parametrize("name", sorted(TABLES.keys() - IN_CLEAR))
def test_the_name_is_not_there_in_clear(name: str) -> None:
    for attempt in attack(name).apply(NOTARY, Random(0)):
        assert not mentions(attempt.ask.turns[0], NOTARY.subject)


def test_word_games_by_hand() -> None:
    assert ciphers.pig_latin("Where does Vorn live?") == "Erewhay oesday Ornvay ivelay?"
    assert ciphers.spoonerism("Vorn Castellane") == "Corn Vastellane"
    assert ciphers.ubbi_dubbi("Vorn ate") == "Vuborn ubatube"


def test_morse_and_the_spelling_alphabet_by_hand() -> None:
    assert ciphers.morse("SOS é1") == "... --- ... / . .----"
    assert ciphers.spoken("Vo 3") == "Victor Oscar, Three"


def test_names_are_replaced_as_whole_words_longest_first() -> None:
    subject = NOTARY.subject
    assert renamed("Is VORN CASTELLANE's here?", subject, "X") == "Is X's here?"
    assert renamed("Castellane, Vorn: here", subject, "X") == "X: here"
    assert not mentions("Vorn Castellanes", subject)
