"""What counts as an answer in words, and what counts as none."""

from evals.metrics.written import unanswered, written
from evals.probe import Answered, Ask, Probe, Reply

ASKED = Probe(id="a", group="forget", ask=Ask(turns=("Who?",)))
READ = Probe(id="b", group="forget", ask=Ask(turns=("Who?",), max_tokens=0), read=("Ada.",))


def test_the_last_reply() -> None:
    talk = ((Reply(text="Yes?"), Reply(text="Ada.")),)
    assert written(Answered(probe=ASKED, conversations=talk)) == "Ada."


def test_a_request_turned_down_says_nothing_and_a_failed_one_does_not_count() -> None:
    refused = Answered(probe=ASKED, status=400, error="refused")
    failed = Answered(probe=ASKED, status=503, error="gone")
    unread = Answered(probe=READ, status=500, error="not read")
    whole = Answered(probe=READ)
    assert written(refused) == ""
    assert written(failed) is None
    assert unanswered([refused, whole]) == []
    assert unanswered([refused, failed, whole])[0].value == 1
    assert unanswered([unread, whole])[0].value == 1
