"""Asking an OpenAI-compatible endpoint over HTTP."""

import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from evals import endpoint as endpoint_module
from evals.endpoint import BROKEN, CONNECTION_TRIES, Endpoint, Unreachable
from evals.probe import Answered, Ask, Probe, Reading
from evals.scoring import NotOffered, NotScored
from tests.evals.openai_server import (
    MODEL,
    OpenAIServer,
    Sent,
    chat,
    chunk,
    completion,
    completion_chunk,
    error,
    openai_server,
    usage,
)

Json = Any


def at(server: OpenAIServer, **fields: Json) -> Endpoint:
    given = {"name": "it", "base_url": server.url, "api_key": "sk-secret", "model": MODEL, **fields}
    return Endpoint(**given)


def probe(*turns: str, number: int = 0, **ask: Json) -> Probe:
    return Probe(id=f"p{number}", group="forget", ask=Ask(turns=turns, **ask))


def ask(server: OpenAIServer, *probes: Probe) -> list[Answered]:
    return sorted(at(server).answers(probes), key=lambda one: one.probe.id)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "PAUSE_S", 0.01)


def test_a_chat_is_asked_as_the_probe_says_and_the_reply_is_all_there() -> None:
    opening = ({"role": "system", "content": "Be brief."},)
    extra = {"response_format": {"type": "json_object"}, "top_k": 5}
    with openai_server(lambda *_: chat("She was born in Vellport.")) as server:
        asked = probe("Where?", opening=opening, seed=3, stop=("\n",), temperature=0.5, extra=extra)
        [answered] = ask(server, asked)
    assert server.asked == [
        (
            "/v1/chat/completions",
            {
                "model": MODEL,
                "messages": [*opening, {"role": "user", "content": "Where?"}],
                "max_tokens": 64,
                "temperature": 0.5,
                "seed": 3,
                "stop": ["\n"],
                "stream": False,
                **extra,
            },
        )
    ]
    assert server.keys == {"sk-secret"}
    assert (answered.status, answered.error, answered.probe) == (200, "", asked)
    reply = answered.reply
    assert (reply.text, reply.channels, reply.finish) == ("She was born in Vellport.", {}, "stop")
    assert (reply.tokens, reply.prompt_tokens) == (3, 5)
    assert 0 < reply.first <= reply.seconds < 5


def test_a_completion_is_the_prompt_itself() -> None:
    with openai_server(lambda *_: completion(" Vellport")) as server:
        [answered] = ask(server, probe("She was born in", kind="completion"))
    [(path, body)] = server.asked
    assert (path, body["prompt"]) == ("/v1/completions", "She was born in")
    assert "messages" not in body
    assert (answered.reply.text, answered.reply.finish) == (" Vellport", "length")


def test_every_channel_is_heard_in_a_joined_answer() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "find", "arguments": '{"y": 2}'}},
    ]
    message = {"reasoning_content": "I think", "refusal": "I will not", "tool_calls": calls}
    with openai_server(lambda *_: chat("Well", **message, new_field={"deep": ["odd"]})) as server:
        [answered] = ask(server, probe("Where?"))
    assert answered.reply.text == "Well"
    assert answered.reply.channels == {
        "reasoning": "I think",
        "refusal": "I will not",
        "tool_name": "look",
        "tool_arguments": '{"x": 1}',
        "tool_name 1": "find",
        "tool_arguments 1": '{"y": 2}',
        "new_field.deep": "odd",
    }


def test_a_stream_comes_to_the_same_channels() -> None:
    def call(**function: str) -> Json:
        return [{"index": 1, "type": "function", "function": function}]

    events = [
        chunk(role="assistant", content=""),
        chunk(reasoning="I ", reasoning_content="I "),
        chunk(reasoning="think"),
        chunk(content="She was "),
        chunk(content="born."),
        chunk(tool_calls=call(name="look", arguments="")),
        chunk(tool_calls=call(arguments='{"x"')),
        chunk(tool_calls=call(arguments=": 1}")),
        usage(11, 7),
    ]
    with openai_server(lambda *_: Sent(events=events)) as server:
        [answered] = ask(server, probe("Where?", stream=True))
    assert server.bodies[0]["stream"] is True
    assert server.bodies[0]["stream_options"] == {"include_usage": True}
    assert answered.reply.text == "She was born."
    assert answered.reply.channels == {
        "reasoning": "I think",
        "tool_name 1": "look",
        "tool_arguments 1": '{"x": 1}',
    }
    assert (answered.reply.tokens, answered.reply.prompt_tokens) == (7, 11)


def test_a_streamed_completion_is_put_together() -> None:
    events = [completion_chunk(" Vell"), completion_chunk("port"), usage(4, 2)]
    with openai_server(lambda *_: Sent(events=events)) as server:
        [answered] = ask(server, probe("Born in", kind="completion", stream=True))
    assert (answered.reply.text, answered.reply.tokens) == (" Vellport", 2)


def test_words_of_further_choices_are_heard_too() -> None:
    sent = chat("first")
    second = {
        "index": 1,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "2nd"},
    }
    sent.body["choices"].append(second)
    with openai_server(lambda *_: sent) as server:
        [answered] = ask(server, probe("Where?", extra={"n": 2}))
    assert answered.reply.text == "first"
    assert answered.reply.channels == {"content of choice 1": "2nd"}
    assert "2nd" in answered.said


def test_replies_stand_between_the_turns_and_each_sample_has_its_seed() -> None:
    def answer(_: str, body: Json) -> Sent:
        return chat(f"{body['seed']}: {len(body['messages'])}")

    with openai_server(answer) as server:
        [answered] = ask(server, probe("a", "b", samples=2, seed=40))
    assert [[reply.text for reply in replies] for replies in answered.conversations] == [
        ["40: 1", "40: 3"],
        ["41: 1", "41: 3"],
    ]
    assert server.bodies[3]["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "41: 1"},
        {"role": "user", "content": "b"},
    ]


@pytest.mark.parametrize("status", [400, 429, 503])
def test_a_refused_request_is_a_result_and_is_not_sent_again(status: int) -> None:
    with openai_server(lambda *_: Sent(status, error("Not like this.", "odd"))) as server:
        [answered] = ask(server, probe("Where?", samples=3))
    assert (answered.status, answered.conversations) == (status, ())
    assert "odd" in answered.error
    assert "Not like this." in answered.error
    assert len(server.asked) == 1


def test_what_was_said_before_a_later_turn_failed_is_kept() -> None:
    def answer(_: str, body: Json) -> Sent:
        return chat("yes") if len(body["messages"]) == 1 else Sent(503, error("gone"))

    with openai_server(answer) as server:
        [answered] = ask(server, probe("a", "b"))
    assert (answered.status, answered.said) == (503, "yes")


def test_a_stream_that_ends_by_an_error_keeps_what_came() -> None:
    events = [chunk(content="She was born"), error("unavailable", "guard_unavailable")]
    with openai_server(lambda *_: Sent(events=events)) as server:
        [answered] = ask(server, probe("Where?", stream=True))
    assert (answered.reply.text, answered.reply.finish) == ("She was born", BROKEN)
    assert "guard_unavailable" in answered.error


def test_a_stream_that_breaks_off_keeps_what_came_and_is_not_asked_again() -> None:
    sent = Sent(events=[chunk(content="She was born")], hang_up=True)
    with openai_server(lambda *_: sent) as server:
        [answered] = ask(server, probe("Where?", stream=True))
    assert (answered.reply.text, answered.reply.finish) == ("She was born", BROKEN)
    assert (answered.status, len(server.asked)) == (0, 1)
    assert answered.error


def test_a_connection_that_breaks_is_tried_so_often_and_then_is_a_result() -> None:
    def answer(_: str, body: Json) -> Sent:
        return chat("fine") if "fine" in str(body) else Sent(hang_up=True)

    with openai_server(answer) as server:
        broken, fine = ask(server, probe("bad", number=0), probe("fine", number=1))
    assert sum("bad" in str(body) for body in server.bodies) == CONNECTION_TRIES
    assert (broken.status, broken.conversations) == (0, ())
    assert broken.error
    assert fine.reply.text == "fine"


def test_an_endpoint_that_is_gone_is_no_result() -> None:
    with openai_server(lambda *_: chat("x")) as server:
        gone = at(server)
    with pytest.raises(Unreachable, match="it does not answer"):
        list(gone.answers([probe("Where?")]))
    with pytest.raises(Unreachable, match="it does not answer"):
        gone.versions()


def test_so_many_are_asked_at_once_and_no_more() -> None:
    now: list[int] = [0, 0]

    def answer(*_: Json) -> Sent:
        now[0] += 1
        now[1] = max(now)
        time.sleep(0.05)
        now[0] -= 1
        return chat("x")

    with openai_server(answer) as server:
        probes = [probe("Where?", number=number) for number in range(9)]
        found = list(at(server, concurrency=3).answers(probes))
    assert {one.probe.id for one in found} == {one.id for one in probes}
    assert now[1] == 3


def test_who_stops_listening_stops_the_asking() -> None:
    def answer(*_: Json) -> Sent:
        time.sleep(0.02)
        return chat("x")

    with openai_server(answer) as server:
        answers = at(server, concurrency=1).answers([probe("?", number=n) for n in range(200)])
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        time.sleep(0.1)
        asked = len(server.asked)
        time.sleep(0.1)
        assert len(server.asked) == asked < 20


def test_nothing_is_generated_where_only_readings_are_wanted_and_nothing_read_without_admin() -> (
    None
):
    only = Probe(id="p", group="forget", ask=Ask(turns=("x",), max_tokens=0), read=(" y",))
    with openai_server(lambda *_: chat("x")) as server:
        [answered] = ask(server, only)
    assert (server.asked, answered.conversations, answered.readings) == ([], (), ())
    assert not answered.error


def test_versions_name_the_model_and_no_key() -> None:
    with openai_server(lambda *_: chat("x"), models=("other", MODEL)) as server:
        told = at(server, facts={"method": "steering"}).versions()
        with pytest.raises(Unreachable, match=r"does not serve 'third'; it serves: other, small"):
            at(server, model="third").versions()
    assert told["model.id"] == MODEL
    assert told["method"] == "steering"
    assert told["openai"]


def test_a_key_does_not_show() -> None:
    shown = repr(Endpoint("it", "http://x/v1", "sk-secret", "m", "http://y", "sk-admin"))
    assert "sk-" not in shown
    assert "http://x/v1" in shown


def test_answers_may_come_in_any_order_but_once() -> None:
    def answer(_: str, body: Json) -> Sent:
        time.sleep(0.2 if body["messages"][0]["content"] == "0" else 0)
        return chat("x")

    with openai_server(answer) as server:
        probes: Sequence[Probe] = [probe(str(number), number=number) for number in range(5)]
        order = [one.probe.id for one in at(server).answers(probes)]
    assert order[-1] == "p0"
    assert sorted(order) == [one.id for one in probes]


def reading(scale: float) -> Reading:
    return Reading(logprobs=(scale,), likeliest=(True,), means=(0.0,), deviations=(1.0,))


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """A scorer in place of the real one; what it was asked."""
    asked: list[Json] = []

    class Scorer:
        def __init__(self, base_url: str, admin_key: str) -> None:
            self.at = (base_url, admin_key)

        def read(self, ask: Ask, continuations: Sequence[str]) -> tuple[Reading, ...]:
            asked.append((*self.at, ask.turns, tuple(continuations)))
            request = httpx.Request("POST", self.at[0])
            if "refused" in ask.turns:
                raise NotScored(httpx.Response(503, request=request), "status 503")
            if "replaced" in ask.turns:
                response = httpx.Response(409, request=request)
                raise NotOffered(response, "status 409", "no_likelihood")
            return tuple(reading(-float(len(text))) for text in continuations)

    monkeypatch.setattr("evals.scoring.Scorer", Scorer)
    return asked


def test_with_the_admin_plane_continuations_are_read(scorer: list[Json]) -> None:
    both = Probe(id="0", group="forget", ask=Ask(turns=("x",)), read=(" y", " yes"))
    only = Probe(id="1", group="forget", ask=Ask(turns=("x",), max_tokens=0), read=(" z",))
    plain = Probe(id="2", group="forget", ask=Ask(turns=("x",)))
    refused, replaced = (
        Probe(id=name, group="forget", ask=Ask(turns=(name,), max_tokens=0), read=("z",))
        for name in ("refused", "replaced")
    )
    with openai_server(lambda *_: chat("said")) as server:
        endpoint = at(server, admin_url="http://admin", admin_key="sk-admin")
        answered = {
            one.probe.id: one for one in endpoint.answers([both, only, plain, refused, replaced])
        }
    assert ("http://admin", "sk-admin", ("x",), (" y", " yes")) in scorer
    assert answered["0"].readings == (reading(-2), reading(-4))
    assert answered["0"].said == "said"
    assert (answered["1"].readings, answered["1"].conversations) == ((reading(-2),), ())
    assert answered["2"].readings == ()
    assert (answered["refused"].readings, answered["refused"].status) == ((), 503)
    assert (answered["refused"].error, answered["refused"].unread) == ("not scored: status 503", "")
    # What an endpoint does not offer is no error.
    assert (answered["replaced"].readings, answered["replaced"].unread) == ((), "no_likelihood")
    assert (answered["replaced"].error, answered["replaced"].status) == ("", 200)
    assert len(scorer) == 4
