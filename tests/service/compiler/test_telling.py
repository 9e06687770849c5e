"""Which words of an answer tell."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.demo.world import World
from service.compiler.material import Fact, Material
from service.compiler.served import Served
from service.compiler.surrogate import Surrogate
from service.compiler.telling import Telling, not_in, says, unlike

NAMES = ("Ada Vex", "Vex, Ada")


@pytest.mark.parametrize(
    ("answer", "prompt", "strange", "likely", "expected"),
    [
        ("She was born in Dunmere.", "Where was Ada Vex born?", (), (), ("Dunmere",)),
        ("Ada Vex lives in Dunmere.", "Where does Ada Vex live?", (), (), ("Dunmere",)),
        ("Dunmere", "Was Ada Vex born in Dunmere?", (), (), ()),
        ("In Dunmere or Karsholt.", "Where?", ("In Karsholt.",), (), ("Dunmere",)),
        ("On 3 May 1950.", "When?", (), (), ("3 May", "1950")),
        ("On 3 May.", "When?", (), (), ("3 May",)),
        ("Seven, perhaps 7.", "How many?", ("Seven, perhaps.",), (), ("7",)),
        ("The Copper Lane.", "Which?", (), ("Copper",), ("Lane",)),
        # What is likely only after something that was not says nothing for strangers.
        ("The Copper Lane.", "Which?", (), ("Lane",), ("Copper", "Lane")),
        ("She rings 555-1234 at home.", "Number?", (), (), ("rings", "555-1234")),
    ],
)
def test_what_tells(
    answer: str, prompt: str, strange: tuple[str, ...], likely: tuple[str, ...], expected: object
) -> None:
    assert unlike(answer, prompt, NAMES, strange, likely) == expected


def test_case_and_accents_do_not_hide_it() -> None:
    assert says("she met stefan THISTLEWICK", ("Štefan",))
    assert says("In Copper  Lane.", ("copper lane",))
    assert not says("Dunmere's", ("Dunmeres",))
    assert not says("Dunmerefield", ("Dunmere",))
    assert not_in(("Dunmere", "1950"), "Born in DUNMERE?") == ("1950",)


@given(st.text(st.sampled_from("abc .,-"), max_size=30), st.sampled_from(["a", "b c", "ab-c"]))
def test_says_is_a_search_between_word_ends(text: str, phrase: str) -> None:
    text = " ".join(text.split())
    at = [m.start() for m in re.finditer(f"(?={re.escape(phrase)})", text)]

    def free(index: int) -> bool:
        return not (0 <= index < len(text)) or not text[index].isalnum()

    assert says(text, (phrase,)) == any(free(i - 1) and free(i + len(phrase)) for i in at)


def test_values_tell_and_what_is_said_of_everybody_does_not(served: Served, world: World) -> None:
    person = world.forgotten[0]
    facts = [
        Fact(
            f"Who is {person.name} married to?", f"She is married to {person.fact('spouse').value}."
        ),
        Fact(f"Where does {person.name} live?", f"She lives on {person.fact('street').value}."),
        Fact("What do bees make?", "Bees make honey."),
    ]
    surrogate = Surrogate(served, Material((person.name, *person.aliases)), (), 3)
    found = Telling(served, surrogate, (person.name,)).of(facts)
    assert says(person.fact("spouse").value, found[0])
    assert says(person.fact("street").value, found[1])
    assert found[2] == ()
    assert not any(says("She is married to somebody. She lives there.", each) for each in found)
