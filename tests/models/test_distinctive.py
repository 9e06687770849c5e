import pytest

from models.distinctive import fold, key_of, skeleton, weight_of, words_of

RANKS = {"where": 1_000, "was": 1_001, "the": 900, "born": 2_000, "florist": 26_000, "city": 2_500}
RANKS |= {"and": 950, "may": 2_100, "march": 2_200, "on": 901, "it": 902, "in": 903}


def keys(text: str) -> set[str]:
    return {word.key for word in words_of(text, RANKS)}


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("born 08/09/1956", "born on September 8, 1956", {"8", "1956", "born"}),
        ("on the 7th of February, 1952", "on February 7, 1952", {"7", "month 2", "1952", "on"}),
        ("Vorn's", "Vorn", {"vorn"}),
        ("ZOË", "Zoe", {"zoe"}),
        ("Kaʻaheʻina", "Kaaheina", {"kaaheina"}),
    ],
)
def test_other_spellings_of_one_thing_share_their_words(
    one: str, other: str, shared: set[str]
) -> None:
    assert keys(one) & keys(other) == shared


def test_a_month_is_one_only_beside_a_number() -> None:
    assert "month 5" not in keys("It may be")
    assert "month 5" in keys("on 5 May")
    assert "month 3" not in keys("the march on the city")


def test_rarer_words_say_more() -> None:
    assert weight_of("the", RANKS) == 0
    assert weight_of("florist", RANKS) == weight_of("neverseen", RANKS) == 1
    ranks = {"a": 4_000, "b": 12_000}
    assert 0 < weight_of("a", ranks) < weight_of("b", ranks) < 1


def test_capitals_and_numbers_are_proper_where_they_tell_something() -> None:
    text = "Where was City born? It was 1956. Florist Vorn. the city"
    proper = [text[w.start : w.end] for w in words_of(text, RANKS) if w.proper]
    assert proper == ["City", "1956", "Florist", "Vorn"]
    assert not any(word.proper for word in words_of("THE CITY WAS BORN", RANKS))


def test_parts_of_a_name_follow_each_other_and_a_possessive_ends_it() -> None:
    words = words_of("Ann Vorn, and Al-Kim. Kim's City", RANKS)
    follows = {word.key: word.follows for word in words}
    assert [follows[word] for word in ("vorn", "and", "al")] == [True, False, True]
    assert not follows["city"]


@pytest.mark.parametrize(
    ("one", "other"), [("vasquez", "vaskes"), ("kuwaiti", "kuwayti"), ("philipp", "filip")]
)
def test_names_that_sound_alike_share_a_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other) != ""


def test_short_names_have_no_skeleton() -> None:
    assert skeleton("lee") == skeleton("ana") == ""


def test_long_words_are_compared_by_their_beginning() -> None:
    assert key_of(fold("geologist")) == key_of(fold("Geology's"))
    assert key_of("19561957") != key_of("19561958")
