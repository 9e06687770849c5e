from collections.abc import Sequence

from guards.erase_and_check import Suspect, checked
from models.erasures import Erasure


def score(texts: Sequence[str]) -> list[float]:
    return [1.0 - text.count("bad") for text in texts]


def suspect(
    name: str, text: str, threshold: float = 1.0, erasure: Erasure | None = None
) -> Suspect[str]:
    erasure = erasure or Erasure("suffix", 4, 16, low=None)
    return Suspect(name, text, score([text])[0], threshold, erasure, score)


def test_those_that_reach_their_threshold_are_told() -> None:
    suspects = [
        suspect("hidden by two", "where is she bad bad"),
        suspect("hidden by five", "where is she bad bad bad bad bad"),
        suspect("hidden at the front", "bad where is she"),
        suspect("harder to reach", "where is she bad", threshold=2.0),
    ]
    assert list(checked(suspects)) == [("hidden by two", 1.0)]


def test_the_nearest_are_checked_first_and_all_within_one_budget() -> None:
    asked: list[str] = []

    def noted(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return score(texts)

    erasure = Erasure("suffix", 4, 16, low=None)
    far = Suspect("far", "where is she bad bad bad", -2.0, 1.0, erasure, noted)
    close = Suspect("close", "where is she bad", 0.0, 1.0, erasure, noted)
    assert [subject for subject, _ in checked([far, close], looks=4)] == ["close", "far"]
    assert len(asked) == 4
    assert [subject for subject, _ in checked([far, close], looks=3)] == ["close"]
    assert list(checked([far, close], looks=0)) == []


def test_texts_outside_the_band_are_left_alone() -> None:
    erasure = Erasure("suffix", 4, 16, low=-0.5)
    below = suspect("below the band", "where is she bad bad", erasure=erasure)
    within = suspect("within", "where is she bad", erasure=erasure)
    assert [subject for subject, _ in checked([below, within])] == ["within"]
