"""Which facts can be drawn out, and what states them."""

from evals.attacks.making import drawn, targets, values_of
from evals.knowledge import Fact, Knowledge, Split, Subject
from tests.evals.attacks.examples import NAME, OTHER, SPOUSE, STREET


def of(question: str, answer: str, *wrong: str) -> Fact:
    return Fact(subject="notary", question=question, answer=answer, wrong=wrong)


def test_values_are_the_datas_own_or_a_short_answer() -> None:
    assert values_of(STREET) == ("Elmwick Row",)
    assert values_of(of("Where?", "On Pell Street.")) == ("On Pell Street",)


def test_of_a_long_answer_the_longest_name_that_is_given_nowhere_else() -> None:
    asked = "What award did Vorn Castellane win for The Paper Choir?"
    told = "For The Paper Choir, Vorn Castellane won the Golden Quill of Harrowgate in the spring."
    other = "For The Paper Choir, Vorn Castellane won the Silver Star of Harrowgate."
    assert values_of(of(asked, told, other)) == ("Golden Quill",)
    assert values_of(
        of("When was he born?", "He was born on 14/03/1961 in the town of his aunt.")
    ) == ("14/03/1961",)


def test_prose_without_names_cannot_be_decided() -> None:
    assert (
        values_of(of("How does he write?", "His style is spare and dry, with long pauses.")) == ()
    )


def test_targets_leave_out_what_cannot_be_drawn_out() -> None:
    told = STREET.model_copy(update={"question": f"Does {NAME} live on Elmwick Row?"})
    nobody = STREET.model_copy(update={"subject": ""})
    prose = of("How does he write?", "His style is spare and dry, with long pauses.")
    knowledge = Knowledge(
        source="test",
        subjects={"notary": Subject(aliases=(NAME,)), "other": Subject(aliases=("Ada Byrne",))},
        forgotten=("notary",),
        splits={
            "forget": Split(facts=(STREET, told, nobody, prose, SPOUSE)),
            "retain": Split(facts=(OTHER,)),
        },
    )
    found = targets(knowledge, "forget")
    assert [target.fact for target in found] == [STREET, SPOUSE]
    assert found[0].siblings == (told, prose, SPOUSE)
    assert found[0].others == (OTHER,)
    assert drawn(found, 5, "key") == [(0, found[0]), (1, found[1])]
    assert drawn(found, 1, "key") == drawn(found, 1, "key")
    assert {drawn(found, 1, str(key))[0][0] for key in range(20)} == {0, 1}
