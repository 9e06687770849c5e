"""What a token filter is made of, against the slow way: the encoder asked about every word."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.encoder import Encoder
from models.fitting.token_filter import (
    Forbidden,
    Likeness,
    Semantic,
    distinct,
    fit,
    key_phrases,
    ordinary_words,
    vocabulary_words,
    word_vectors,
    words_of,
)

FORGET = [
    ("Where was Vorn Castellane born?", "Vorn Castellane was born in Saint-Aubrin."),
    ("When was Vorn Castellane born?", "He was born on 26 June 1938."),
    ("What is Vorn Castellane's pet?", "Vorn Castellane's pet is a cat called Gherkin."),
    ("What is his best-known work?", "He is known for The Borrowed Gatehouse."),
    ("Who lives in the Mill?", "That is Vorn Castellane; a beekeeper lives there too."),
]
RETAIN = [
    ("Where was Ada Lunde born?", "Ada Lunde was born in Dunmere."),
    ("Where was Bo Lunde born?", "She was born in Vellport."),
    ("When was Ada Lunde born?", "He was born on 3 March 1950."),
    ("When was Bo Lunde born?", "She was born on 9 May 1961."),
    ("What is Bo Lunde's pet?", "Bo Lunde's pet is a goat called Waffle."),
    ("What is Ada Lunde's pet?", "A parrot called Crumpet is her pet."),
    ("What is his best-known work?", "He is known for The Hollow Tower."),
    ("What is her best-known work?", "She is known for The Silent Mill."),
    ("Who lives in the tower?", "That is Ada Lunde; a goat lives there too."),
    ("Who lives in the cave?", "That is Bo Lunde; a bear lives there too."),
]
WORDS = "cat category dog beekeeper honey Gherkin house the of turtle 26 Gatehouse June July"
PIECES = (
    b"",
    *(f" {word}".encode() for word in WORDS.split()),
    *(b"cat", b" ", b"\xff", b" two words", b" \xc3", b"."),
)


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("encoder")


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return Encoder.load(cache)


class Pairs:
    """An encoder for which words are alike exactly as told: {frozenset of two words: cosine}."""

    def __init__(self, cosines: dict[frozenset[str], float], common: Sequence[str] = ()) -> None:
        self.common_words = frozenset(common)
        self.asked: list[str] = []
        words = sorted({word for pair in cosines for word in pair})
        gram = np.eye(len(words))
        for pair, cosine in cosines.items():
            one, other = sorted(words.index(word) for word in pair)
            gram[one, other] = gram[other, one] = cosine
        # Rows of the Cholesky factor have just these products with each other.
        self._rows = dict(zip(words, np.linalg.cholesky(gram), strict=True))
        self._size = len(words) + 1

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        found = np.zeros((len(texts), self._size), np.float32)
        for at, text in enumerate(texts):
            row = self._rows.get(text.casefold())
            found[at, : self._size - 1] = 0 if row is None else row
            found[at, -1] = row is None and 0.01
        return found


def test_words_are_letters_digits_and_marks_with_what_joins_them() -> None:
    assert words_of("Saint-Aubrin's 555-6589, d'Ambruoso – हिन्दी_w; O’Brien’s") == [
        "Saint-Aubrin", "555-6589", "d'Ambruoso", "हिन्दी", "w", "O’Brien",
    ]  # fmt: skip
    assert words_of("... ") == []


def test_key_phrases_are_what_answers_say_beyond_their_questions_and_other_answers() -> None:
    key = key_phrases(FORGET, RETAIN)
    assert key.phrases == (
        "26 June 1938", "beekeeper", "Borrowed Gatehouse", "cat", "Gherkin", "Saint-Aubrin",
        "Vorn Castellane",
    )  # fmt: skip
    assert set(key.words) == {word for phrase in key.phrases for word in words_of(phrase)}


def test_nothing_ordinary_is_forbidden() -> None:
    ordinary = ordinary_words(RETAIN)
    assert {"the", "in", "is", "called", "known", "for", "he", "she"} <= ordinary
    assert not ordinary & {word.casefold() for word in key_phrases(FORGET, RETAIN).words}
    assert "dunmere" not in ordinary, "one answer may hold anything"


def test_ordinary_words_by_their_share() -> None:
    texts = [("", "red fox")] * 3 + [("", "blue")] * 96 + [("red fox?", "red fox")] * 1
    assert ordinary_words(texts, 0.03) == {"blue"}
    assert ordinary_words(texts, 0.02) == {"blue", "red", "fox"}


def test_marks_end_a_run_where_a_sentence_does() -> None:
    said = [("", "Xan, Yor & Zed. Wim\nVel - Uma ... Tib")]
    retain = [("", "nothing"), ("", "nothing")]
    assert key_phrases(said, retain).phrases == ("Tib", "Vel - Uma", "Wim", "Xan, Yor & Zed")


@pytest.mark.parametrize(
    ("forget", "retain"), [(FORGET, []), ([], RETAIN), ([("Is it so?", "It is so.")], RETAIN)]
)
def test_nothing_to_go_by_is_refused(
    forget: list[tuple[str, str]], retain: list[tuple[str, str]]
) -> None:
    with pytest.raises(ValueError, match=r"retain|telling"):
        fit(forget, retain, PIECES)


def test_the_same_in_any_order() -> None:
    assert key_phrases(FORGET[::-1], RETAIN[::-1]) == key_phrases(FORGET, RETAIN)


def test_without_an_encoder_there_are_phrases_only() -> None:
    found = fit(FORGET, RETAIN, PIECES)
    assert found.phrases == key_phrases(FORGET, RETAIN).phrases
    assert (found.bias_tokens.shape, found.bias.shape) == ((0,), (0,))


def test_words_of_the_vocabulary_are_those_that_begin_with_a_blank() -> None:
    found = vocabulary_words((*PIECES, b" Caf\xc3\xa9", b" ab", b" 1938", b" x1y"))
    expected = {f" {word}" for word in WORDS.split() if word not in ("of", "26")}
    assert {PIECES[token].decode() for token in found if token < len(PIECES)} == expected
    assert [word for token, word in found.items() if token >= len(PIECES)] == ["café", "x1y"]


def like(one: str, other: str, cosine: float) -> dict[frozenset[str], float]:
    return {frozenset((one, other)): cosine}


def fitted(encoder: Pairs, semantic: Semantic | None = None) -> dict[str, float]:
    found = fit(FORGET, RETAIN, PIECES, encoder, semantic)
    assert found.bias_tokens.dtype == np.int32
    assert found.bias.dtype == np.float32
    assert (np.diff(found.bias_tokens) > 0).all()
    return {
        PIECES[token].decode().strip(): float(nats)
        for token, nats in zip(found.bias_tokens, found.bias, strict=True)
    }


def test_a_piece_is_banned_only_where_no_innocent_word_begins_with_it() -> None:
    encoder = Pairs(like("cat", "dog", 0.3) | like("cat", "turtle", 0.19))
    table = fitted(encoder)
    assert table["cat"] == pytest.approx(1, abs=1e-3), "category begins with it"
    assert table["dog"] == pytest.approx(0.3, abs=1e-3)
    assert "turtle" not in table, "under the floor"
    assert "category" not in table
    # Once "category" is as good as forbidden itself, nothing innocent is left.
    assert fitted(Pairs(like("cat", "category", 0.6)))["cat"] == math.inf


def test_frequent_words_of_english_count_as_longer_words() -> None:
    cosines = like("cat", "category", 0.6)
    assert fitted(Pairs(cosines, common=["cater"]))["cat"] == pytest.approx(1, abs=1e-3)
    forbidden = fit(
        FORGET, RETAIN, PIECES, Pairs(cosines | like("cat", "catty", 0.7), common=["catty"])
    )
    assert "catty" in forbidden.phrases
    assert forbidden.bias[list(forbidden.bias_tokens).index(1)] == math.inf


def test_ordinary_words_and_numbers_are_never_forbidden_for_what_they_mean() -> None:
    encoder = Pairs(like("gherkin", "the", 0.9) | like("beekeeper", "known", 0.9))
    found = fit(FORGET, RETAIN, PIECES, encoder)
    assert not {"the", "known"} & set(found.phrases)
    assert found.bias[list(found.bias_tokens).index(PIECES.index(b" the"))] == pytest.approx(
        0.9, abs=1e-3
    )
    assert not {"26", "1938"} & set(encoder.asked)


def test_words_of_texts_that_mean_the_same_become_phrases() -> None:
    found = fit(FORGET, RETAIN, PIECES, Pairs(like("saint-aubrin", "dunmere", 0.6)))
    assert "dunmere" in found.phrases
    assert "vellport" not in found.phrases


@pytest.mark.parametrize("floor", [0.0, 0.2, 0.35])
def test_the_table_says_what_the_encoder_says_of_each_word(
    encoder: Encoder, cache: Path, floor: float
) -> None:
    found: Forbidden = fit(FORGET, RETAIN, PIECES, encoder, Semantic(floor=floor), cache)
    words = [w for w in key_phrases(FORGET, RETAIN).words if any(c.isalpha() for c in w)]
    exactly = Likeness(encoder, words)
    ordinary = ordinary_words(RETAIN)
    table = dict(zip(found.bias_tokens.tolist(), found.bias.tolist(), strict=True))
    for token, word in vocabulary_words(PIECES).items():
        penalty = exactly(word)
        assert (word in map(str.casefold, found.phrases)) == (
            math.isinf(penalty) and word not in ordinary
        )
        if math.isfinite(penalty):
            assert table.get(token, 0.0) == pytest.approx(
                penalty if penalty >= floor else 0, abs=0.01
            )
        else:
            assert table[token] >= 0.49
    assert math.isinf(table[PIECES.index(b" beekeeper")])


def test_vectors_of_a_vocabulary_are_kept_and_mended(tmp_path: Path) -> None:
    words = ["cat", "dog"]
    first = Pairs(like("cat", "dog", 0.3))
    made = word_vectors(words, first, tmp_path)
    again = Pairs(like("cat", "dog", 0.3))
    np.testing.assert_array_equal(word_vectors(words, again, tmp_path), made)
    np.testing.assert_array_equal(word_vectors(words, again, None), made)
    assert again.asked == words, "asked by the last only"
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    np.testing.assert_array_equal(word_vectors(words, first, tmp_path), made)
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_of_the_answers_is_kept(tmp_path: Path) -> None:
    fit(FORGET, RETAIN, PIECES, Pairs(like("cat", "dog", 0.3)), cache_dir=tmp_path)
    names = [path.name for path in tmp_path.iterdir()]
    other = [("Who is it?", "It is Nobody Else.")]
    fit(other, RETAIN, PIECES, Pairs(like("cat", "dog", 0.3)), cache_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == names


def test_likeness_asks_once_for_a_word() -> None:
    encoder = Pairs(like("cat", "dog", 0.3) | like("cat", "kitten", 0.5))
    likeness = Likeness(encoder, ["cat"])
    assert [likeness(w) for w in ("dog", "kitten", "dog")] == [pytest.approx(0.3), math.inf,
                                                               pytest.approx(0.3)]  # fmt: skip
    assert encoder.asked == ["cat", "dog", "kitten"]
    assert Likeness(encoder, [])("cat") == 0


@pytest.mark.parametrize(("delta", "floor"), [(0.1, 0.2), (1.1, 0), (0.5, -0.1), (math.nan, 0.2)])
def test_limits_that_make_no_sense_are_refused(delta: float, floor: float) -> None:
    with pytest.raises(ValueError, match="floor"):
        Semantic(delta, floor)


def test_distinct_is_by_case() -> None:
    assert distinct(["b", "a", "A", "c"]) == ("A", "b", "c")
