"""Asking an admin plane for scores, over HTTP to a small server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from evals.probe import Ask, Reading
from evals.scoring import MOST, MOST_CHARS, ROUTE, NotOffered, NotScored, Scorer
from service.gateway.score import ScoreRequest
from service.scoring import MOST as MOST_OF_ROUTE
from service.scoring import MOST_TOKENS

Json = Any
KEY = "lethe_ak_test"


@dataclass
class Plane:
    """Says how long a continuation is: one token for each word, of probability 1 / its length."""

    url: str = ""
    asked: list[Json] = field(default_factory=list)
    instead: tuple[int, bytes] | None = None

    def answer(self, path: str, key: str | None, body: Json) -> tuple[int, bytes]:
        if path != ROUTE or key != f"Bearer {KEY}":
            return 401, b'{"error": {"code": "invalid_api_key"}}'
        self.asked.append(body)
        ScoreRequest.model_validate(body)  # what the route itself takes
        if self.instead is not None:
            return self.instead
        scores = [_scores(index, text) for index, text in enumerate(body["continuations"])]
        return 200, json.dumps({"object": "scores", "scores": scores}).encode()


def _scores(index: int, text: str) -> Json:
    logs = [None if word == "banned" else -float(len(word)) for word in text.split()]
    count = len(logs)
    return {
        "index": index,
        "tokens": count,
        "offsets": [[0, 1]] * count,
        "logprobs": logs,
        "likeliest": [log == -1.0 for log in logs],
        "means": [-2.0] * count,
        "deviations": [0.5] * count,
    }


@pytest.fixture
def plane() -> Iterator[Plane]:
    made = Plane()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, said = made.answer(self.path, self.headers["authorization"], body)
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: Any) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()


def test_a_chat_is_read_after_its_opening_and_first_turn(plane: Plane) -> None:
    ask = Ask(
        turns=("Who?", "And then?"),
        opening=({"role": "system", "content": "Be brief."},),
        temperature=0.7,
        extra={"tools": [{"type": "function"}], "top_p": 0.5},
    )
    found = Scorer(plane.url, KEY, tenant="acme").read(ask, ("a bcd banned",))
    assert found == (
        Reading(
            logprobs=(-1.0, -3.0, None),
            likeliest=(True, False, False),
            means=(-2.0,) * 3,
            deviations=(0.5,) * 3,
        ),
    )
    assert plane.asked == [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Who?"},
            ],
            "tools": [{"type": "function"}],
            "tenant": "acme",
            "continuations": ["a bcd banned"],
        }
    ]


def test_a_completion_is_read_after_its_prompt(plane: Plane) -> None:
    Scorer(plane.url, KEY).read(Ask(turns=("Who is",), kind="completion"), (" it",))
    (sent,) = plane.asked
    assert sent == {"prompt": "Who is", "tenant": "default", "continuations": [" it"]}


@pytest.mark.parametrize("lengths", [[1] * (2 * MOST + 3), [MOST_CHARS // 2] * 5, [3]])
def test_many_continuations_come_back_in_their_order(plane: Plane, lengths: list[int]) -> None:
    texts = [f"{'x' * (length - 1)}{index % 10}" for index, length in enumerate(lengths)]
    found = Scorer(plane.url, KEY).read(Ask(turns=("Who?",)), texts)
    assert [reading.logprobs for reading in found] == [(-float(n),) for n in lengths]
    assert [text for sent in plane.asked for text in sent["continuations"]] == texts
    assert all(sum(map(len, sent["continuations"])) <= MOST_CHARS for sent in plane.asked)
    assert MOST <= MOST_OF_ROUTE
    assert 4 * MOST_CHARS <= MOST_TOKENS


def test_nothing_is_asked_where_there_is_nothing_to_read(plane: Plane) -> None:
    assert Scorer(plane.url, KEY).read(Ask(turns=("Who?",)), ()) == ()
    assert plane.asked == []


@pytest.mark.parametrize(
    ("instead", "status", "code"),
    [
        ((409, b'{"error": {"code": "no_likelihood"}}'), 409, "no_likelihood"),
        ((501, b'{"error": {"code": "cannot_score"}}'), 501, "cannot_score"),
        ((503, b"<html>"), 503, ""),
        ((400, b'{"error": {"code": null}}'), 400, ""),
        ((200, b"[]"), 200, ""),
        ((200, b'{"scores": []}'), 200, ""),
        ((200, b'{"scores": [{"logprobs": [1.0]}]}'), 200, ""),
    ],
)
def test_what_is_not_scored_is_raised(
    plane: Plane, instead: tuple[int, bytes], status: int, code: str
) -> None:
    plane.instead = instead
    with pytest.raises(NotScored) as raised:
        Scorer(plane.url, KEY).read(Ask(turns=("Who is it?",)), ("a",))
    assert raised.value.response.status_code == status
    assert raised.value.code == code
    assert isinstance(raised.value, NotOffered) == bool(code)
    assert "Who" not in str(raised.value)
    assert KEY not in str(raised.value)


def test_another_key_is_not_let_in(plane: Plane) -> None:
    with pytest.raises(NotScored, match="invalid_api_key"):
        Scorer(plane.url, "other").read(Ask(turns=("Who?",)), ("a",))
    assert KEY not in repr(Scorer(plane.url, KEY))


def test_who_is_not_there_is_no_answer() -> None:
    with pytest.raises(httpx.TransportError):
        Scorer("http://127.0.0.1:9", KEY).read(Ask(turns=("Who?",)), ("a",))
