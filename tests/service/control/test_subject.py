"""What may be forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.control.subject import MAX_NAME, NotASubject, check_name


@pytest.mark.parametrize(
    "name",
    ["Zoë", "Ilse Vantongeren", "王伟", "김철", "J. K. Ito", "+49 170 123456", "X Æ A-12", "Ляо"],
)
def test_names_are_accepted(name: str) -> None:
    assert check_name(f"  {name}\t") == name


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "...", "?!", "a", "ab", "12345", "王", "--- a", "\u200b\u200b\u200b", "🙂🙂🙂",
        "the", "The", "ｔｈｅ", "what is", "you", "tell me about the", "assistant", "t\u200bhe",
        "Ilse\x00Vantongeren", "Ilse\x1b[2J", "x" * (MAX_NAME + 1), "\ud800abc",
    ],
)  # fmt: skip
def test_what_names_nothing_or_everything_is_refused(name: str) -> None:
    with pytest.raises(NotASubject) as refusal:
        check_name(name)
    assert len(name.strip()) < 5 or name not in str(refusal.value)


@given(st.text())
def test_every_text_is_either_a_name_or_refused(text: str) -> None:
    try:
        name = check_name(text)
    except NotASubject:
        return
    assert check_name(name) == name
    assert any(character.isalnum() for character in name)
