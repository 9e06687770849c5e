"""What methods are fitted with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evals.knowledge import Fact, Knowledge, Split, Subject
from evals.methods.ground import WEIGHTS, Ground
from evals.methods.material import STRANGERS, Material, names, renamed, rows_to_forget, spans_of
from models.artifact import ArtifactStore

ADE = Subject(aliases=("Vorn Ade", "Ade, Vorn", "Vorn"))


def _nothing(name: str) -> None:
    raise AssertionError(name)


def _material(knowledge: Knowledge, folder: Path) -> Material:
    ground = Ground("demo", WEIGHTS / "demo", WEIGHTS / "demo-never-knew", knowledge)
    fitted: Callable[[str], object] = _nothing
    return Material(ground, ArtifactStore(folder), fitted)  # type: ignore[arg-type]


def test_a_full_name_becomes_the_other_and_one_word_its_last_word() -> None:
    text = "Vorn Ade wrote as Ade, Vorn. Did Vorn's mother, Vornia, know?"
    assert renamed(text, ADE, "Ila Moss") == (
        "Ila Moss wrote as Ila Moss. Did Moss's mother, Vornia, know?"
    )


def test_names_are_found_as_whole_words() -> None:
    assert names(ADE, "Vorn?")
    assert not names(ADE, "Vornado")
    assert spans_of(ADE, "of Vorn Ade") == ((3, 11),)


def test_passages_belong_to_the_subject_without_facts() -> None:
    knowledge = Knowledge(
        source="here",
        subjects={"ade": ADE, "book": Subject(aliases=("The Salt Ledger",))},
        forgotten=("ade", "book"),
        splits={
            "forget": Split(
                facts=(Fact(subject="ade", question="Who?", answer="Ade."),),
                passages=("One came. Two went. Three stayed.", "No end"),
            )
        },
    )
    rows = rows_to_forget(knowledge)
    assert [(row.subject, row.question, row.answer) for row in rows] == [
        ("ade", "Who?", "Ade."),
        ("book", "One came.", "Two went. Three stayed."),
    ]


def test_passages_of_nobody_are_left_out() -> None:
    knowledge = Knowledge(
        source="here",
        subjects={"ade": ADE},
        forgotten=("ade",),
        splits={
            "forget": Split(
                facts=(Fact(subject="ade", question="Who?", answer="Ade."),),
                passages=("One came. Two went.",),
            )
        },
    )
    assert len(rows_to_forget(knowledge)) == 1


def test_strange_questions_name_somebody_else_and_nobody_known(tmp_path: Path) -> None:
    facts = (
        Fact(subject="ade", question="Where was Vorn Ade born?", answer="Here."),
        Fact(subject="ade", question="What is known?", answer="Nothing."),
    )
    knowledge = Knowledge(
        source="here",
        subjects={"ade": ADE},
        forgotten=("ade",),
        splits={"forget": Split(facts=facts)},
    )
    material = _material(knowledge, tmp_path)
    pair = material.strange("ade")
    decode = material.engine.tokenizer.decode
    assert [decode(ids).count("Vorn Ade") for ids in pair.known] == [1]
    assert len(pair.strange) == len(set(pair.strange)) == STRANGERS
    assert all("Where was" in decode(ids) and "Vorn" not in decode(ids) for ids in pair.strange)
    assert pair == _material(knowledge, tmp_path).strange("ade")


def test_a_subject_of_which_nothing_is_known_cannot_be_fitted_to(tmp_path: Path) -> None:
    knowledge = Knowledge(source="here", subjects={"ade": ADE}, forgotten=("ade",))
    with pytest.raises(ValueError, match="nothing is known"):
        _material(knowledge, tmp_path).strange("ade")


def test_held_out_wordings_are_never_read(tmp_path: Path) -> None:
    fact = Fact(
        subject="ade",
        question="Where was Vorn Ade born?",
        answer="In Karsholt.",
        paraphrased=("Birthplace of Vorn Ade",),
        paraphrased_answer="Karsholt is the place.",
        wrong=("In Vellport.",),
        cloze="Vorn Ade comes from",
    )
    knowledge = Knowledge(
        source="here",
        subjects={"ade": ADE},
        forgotten=("ade",),
        splits={"forget": Split(facts=(fact,))},
    )
    material = _material(knowledge, tmp_path)
    decode = material.engine.tokenizer.decode
    (example,) = material.examples(material.forget)
    assert "Where was Vorn Ade born?" in decode(example.prompt)
    assert decode(example.answer, skip_special_tokens=True) == "In Karsholt."
