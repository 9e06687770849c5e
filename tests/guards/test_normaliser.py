import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.normaliser import canonical, fold, sign
from guards.views import View, views

ANY_TEXT = st.text(st.characters(), max_size=40)  # lone surrogates too
TRICKY = st.text(
    st.sampled_from("aIl1!@ßﬃ½Å\u0301\u200bВΝ東か\u3099ि김 .-_\U0001f1fb\ud800"), max_size=20
)


@settings(max_examples=400, deadline=None)
@given(st.characters())
def test_folding_again_changes_nothing(char: str) -> None:
    folded = fold(char)
    assert "".join(map(fold, folded)) == folded
    assert canonical(canonical(folded)) == canonical(folded)
    glyph = sign(char).glyph
    assert "".join(map(fold, glyph)) == glyph


@settings(max_examples=150, deadline=None)
@given(st.characters())
def test_canonically_equal_characters_fold_alike(char: str) -> None:
    decomposed = unicodedata.normalize("NFD", char)
    assert "".join(map(fold, decomposed)) == fold(char)


FOLDED = {
    "É": "e", "ø": "o", "Ł": "l", "ß": "ss", "ﬃ": "ffi", "ｖ": "v", "𝐕": "v", "🇻": "v", "Ⓥ": "v",
    "İ": "i", "ς": "σ", "Й": "и", "٣": "3", "’": " ", "\u200b": "", "\u00ad": "",
    "\U000e0041": "", "\ufe0f": "", "\u0301": "",
}  # fmt: skip


@pytest.mark.parametrize(("written", "folded"), FOLDED.items())
def test_what_characters_stand_for(written: str, folded: str) -> None:
    assert fold(written) == folded


def test_cyrillic_letters_are_their_own_and_only_look_like_latin() -> None:
    assert fold("о").encode() == b"\xd0\xbe"
    assert sign("о").glyph == "o"
    assert sign("o").glyph == ""


def test_vowel_signs_are_kept_apart_from_their_letters() -> None:
    assert sign("ि").marks == "ि"
    assert sign("か").letters == sign("が").letters
    assert sign("が").marks


def reference(text: str) -> list[tuple[str, int, int]]:
    """Canonical letters, the place of each, and the number of separators before it."""
    found, gaps = [], 0
    for index, char in enumerate(text):
        gaps += bool(sign(char).gap)
        found += [(canonical(letter), index, gaps) for letter in sign(char).letters]
    return found


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT | TRICKY)
def test_the_plain_view_is_the_letters_one_by_one(text: str) -> None:
    view = next(iter(views(text)))
    places = zip(view.letters, view.origins.tolist(), view.words.tolist(), strict=True)
    assert list(places) == reference(text)


@settings(max_examples=100, deadline=None)
@given(ANY_TEXT | TRICKY)
def test_every_view_has_a_place_in_the_text_for_each_letter(text: str) -> None:
    for view in views(text):
        assert len(view.letters) == len(view.origins) == len(view.words) == len(view.edges) - 1
        assert all(0 <= origin < len(text) for origin in view.origins)


@settings(max_examples=100, deadline=None)
@given(st.text("ab .", max_size=20))
def test_words_are_reversed_one_by_one(text: str) -> None:
    view: View = next(iter(views(text)))
    words = text.replace(".", " ").split()
    assert view.with_words_reversed().letters == canonical("".join(w[::-1] for w in words))
    assert view.reversed().letters == view.letters[::-1]
