import numpy as np
import pytest

from service.compiler.likelihood import Told, scored, scores, spans_of, told
from service.compiler.probe import Form, Probe, Use
from service.compiler.served import Served


def _told(answer: str, *telling: str, prompt: str = "Where was Ada Quill born?") -> Told:
    probe = Probe("p", prompt, Form.QUESTION, Use.FIT, about=True, telling=telling, answer=answer)
    found = told(probe)
    assert found is not None
    return found


def test_spans_are_of_whole_words_in_any_case() -> None:
    text = "Dunmere, not Dunmeredale; dunmere town"
    assert spans_of(("Dunmere", "dunmere town"), text) == ((0, 7), (26, 38))
    assert told(Probe("p", "?", Form.CLOZE, Use.FIT, True, ("x",), "no such word")) is None


def test_spans_with_no_word_between_are_one() -> None:
    assert spans_of(("nettle", "ravioli"), "She loves nettle ravioli.") == ((10, 24),)
    assert spans_of(("cat", "Moth"), "A cat called Moth.") == ((2, 5), (13, 17))


@pytest.fixture(scope="module")
def asked() -> list[Told]:
    return [
        _told("She was born in Dunmere.", "Dunmere"),
        _told("In Karsholt, he says.", "Karsholt"),
    ]


def test_scores_are_means_over_exactly_the_tokens_that_tell(
    served: Served, asked: list[Told]
) -> None:
    for each, tokens, score in zip(
        asked, scored(served, asked), scores(served, asked), strict=True
    ):
        (start, end), *_ = each.spans
        piece = b"".join(served.engine.pieces[token.token] for token in tokens).decode()
        assert piece.strip() == each.answer[start:end]
        (whole,) = served.log_probabilities([(each.prompt, each.answer)])
        kept = {round(float(p), 6) for p in whole}
        assert all(round(token.log_p, 6) in kept for token in tokens)
        assert score == pytest.approx(np.mean([token.log_p for token in tokens]))
