"""What a vocabulary works out about its tokens, against looking at each token."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from guards.vocabulary import Vocabulary

PIECES = st.lists(st.binary(max_size=4), min_size=1, max_size=30).map(tuple)


@given(PIECES, st.integers(0, 3))
def test_tokens_that_may_continue_a_character(pieces: tuple[bytes, ...], padding: int) -> None:
    vocabulary = Vocabulary(pieces, frozenset(), len(pieces) + padding)
    within = {t: piece for t, piece in enumerate(pieces) if piece and piece[0] & 0xC0 == 0x80}
    assert {*vocabulary.strays.nonzero()[0].tolist()} == {*within}
    found = {
        int(token): led.lead + rest
        for led in vocabulary.led
        for token, rest in zip(led.tokens, led.rests, strict=True)
    }
    assert found == within
    for led in vocabulary.led:
        assert all(byte & 0xC0 == 0x80 for byte in led.lead)
        assert all(not rest or rest[0] & 0xC0 != 0x80 for rest in led.rests)
        assert sorted(led.tokens) == list(led.tokens)
    assert len({led.lead for led in vocabulary.led}) == len(vocabulary.led)


@given(PIECES, st.integers(0, 3))
def test_where_tokens_lie_in_all_bytes(pieces: tuple[bytes, ...], padding: int) -> None:
    vocabulary = Vocabulary(pieces, frozenset(), len(pieces) + padding)
    joined, starts = b"".join(vocabulary.padded), vocabulary.starts.tolist()
    cut = [joined[first:last] for first, last in pairwise(starts)]
    assert cut == [*pieces, *[b""] * padding]
