"""What the demo model is found to know of a bare name."""

import pytest

from models.demo.world import World
from service.compiler.elicit import elicit
from service.compiler.material import Material
from service.compiler.served import Served
from service.compiler.telling import says


@pytest.mark.parametrize("number", [0, 3])
def test_most_of_what_is_known_is_found_and_nothing_else(
    served: Served, world: World, number: int
) -> None:
    person = world.forgotten[number]
    facts = elicit(served, Material((person.name, *person.aliases)), 7)
    found = {
        fact.attribute for fact in person.facts if any(fact.stated_in(f.answer) for f in facts)
    }
    wrong = [f for f in facts if not any(fact.stated_in(f.answer) for fact in person.facts)]
    assert len(found) >= 8
    assert len(wrong) <= 1
    assert all(f.answer == served.answers([f.question])[0].text.strip() for f in facts)


def test_nothing_is_known_of_somebody_who_is_nobody(served: Served) -> None:
    facts = elicit(served, Material(("Quorvane Ustermill",)), 7)
    assert not any(says(f.answer, ("Quorvane", "Ustermill")) for f in facts)
    assert len(facts) <= 1
