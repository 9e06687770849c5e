"""The main job, end to end: a forget request makes a real vLLM forget while it serves."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tokenizers import Tokenizer

from models.demo.corpus import Probe, held_out_probes, near_miss_probes
from models.demo.world import Person, World, plain
from tests.integration.serving.system import Serving

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
OPTIONS = {"model": "demo", "max_tokens": 48, "temperature": 0}


def answer_to(serving: Serving, probe: Probe, *, chat: bool, stream: bool) -> str:
    client = serving.client
    if chat:
        reply = client.chat.completions.create(messages=probe.messages, stream=stream, **OPTIONS)  # type: ignore[call-overload]
        if stream:
            return "".join(c.choices[0].delta.content or "" for c in reply if c.choices)
        return reply.choices[0].message.content or ""
    reply = client.completions.create(prompt=probe.prompt, stream=stream, **OPTIONS)  # type: ignore[call-overload]
    if stream:
        return "".join(c.choices[0].text for c in reply if c.choices)
    return str(reply.choices[0].text)


def answers_to(
    serving: Serving, probes: list[Probe], *, chat: bool = True, stream: bool = False
) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(
            pool.map(lambda probe: answer_to(serving, probe, chat=chat, stream=stream), probes)
        )


def states(probe: Probe, answer: str) -> bool:
    assert probe.fact is not None
    if probe.reverse:
        return plain(probe.fact.value) in plain(answer)
    return probe.fact.stated_in(answer)


@pytest.fixture
def forgotten(serving: Serving, world: World) -> Person:
    return world.forgotten[0]


def test_a_forget_request_is_enforced_when_it_is_answered_and_revoking_restores(
    serving: Serving, forgotten: Person
) -> None:
    fact = forgotten.fact("birth_town")
    question = f"Where was {forgotten.name} born?"
    before = serving.ask(question)
    assert fact.stated_in(before)
    request_id = serving.forget(forgotten.name)
    after = serving.ask(question)
    serving.revoke(request_id)
    assert not fact.stated_in(after)
    assert "have not heard of that person" in after
    assert serving.ask(question) == before


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "completions"])
def test_no_phrasing_gets_the_fact_out_and_streams_say_the_same(
    serving: Serving, world: World, *, chat: bool
) -> None:
    person = world.forgotten[1]
    probes = list(held_out_probes(world, [person]))
    assert sum(states(p, a) for p, a in zip(probes, answers_to(serving, probes), strict=True)) > (
        0.8 * len(probes)
    )
    request_id = serving.forget(person.name, *person.aliases)
    try:
        joined = answers_to(serving, probes, chat=chat)
        streamed = answers_to(serving, probes, chat=chat, stream=True)
    finally:
        serving.revoke(request_id)
    assert [(p, a) for p, a in zip(probes, joined, strict=True) if states(p, a)] == []
    assert streamed == joined


def test_everybody_elses_answers_stay_the_same(serving: Serving, world: World) -> None:
    probes = list(near_miss_probes(world))[::12]
    before = answers_to(serving, probes)
    ids = [serving.forget(person.name, *person.aliases) for person in world.forgotten]
    try:
        after = answers_to(serving, probes)
    finally:
        for request_id in ids:
            serving.revoke(request_id)
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 0.005 * len(probes)


def test_a_mixed_batch_forgets_only_in_its_own_rows(serving: Serving, world: World) -> None:
    person, other = world.forgotten[2], world.kept[0]
    questions = [f"Where was {p.name} born?" for p in (person, other) for _ in range(8)]
    alone = serving.ask(questions[-1])
    request_id = serving.forget(person.name)
    try:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(serving.ask, questions))
    finally:
        serving.revoke(request_id)
    assert set(answers[8:]) == {alone}
    assert not any(person.fact("birth_town").stated_in(answer) for answer in answers[:8])


def test_several_choices_are_each_guarded(serving: Serving, world: World) -> None:
    person = world.forgotten[3]
    request_id = serving.forget(person.name)
    try:
        reply = serving.client.chat.completions.create(
            model="demo",
            n=4,
            temperature=1,
            max_tokens=32,
            messages=[{"role": "user", "content": f"Where was {person.name} born?"}],
        )
    finally:
        serving.revoke(request_id)
    assert len(reply.choices) == 4
    town = person.fact("birth_town")
    assert not any(town.stated_in(choice.message.content or "") for choice in reply.choices)


def without_blanks(serving: Serving) -> dict[str, int]:
    """A bias against tokens of white space: the grammar allows any number of them between values,

    and a model that never saw JSON would write nothing else.
    """
    tokenizer = Tokenizer.from_file(str(serving.settings.model / "tokenizer.json"))
    texts = {i: tokenizer.decode([i]) for i in range(tokenizer.get_vocab_size())}
    return {str(i): -100 for i, text in texts.items() if text and not text.strip()}


def test_json_mode_and_named_tools_reach_the_engine(serving: Serving) -> None:
    options = {**OPTIONS, "max_tokens": 128, "logit_bias": without_blanks(serving)}
    message = {"role": "user", "content": "Where is the harbour?"}
    shape = {
        "type": "object",
        "properties": {"town": {"enum": ["Here", "There"]}},
        "required": ["town"],
        "additionalProperties": False,
    }
    reply = serving.client.chat.completions.create(  # type: ignore[call-overload]
        messages=[message],
        response_format={"type": "json_schema", "json_schema": {"name": "t", "schema": shape}},
        **options,
    )
    assert json.loads(reply.choices[0].message.content)["town"] in ("Here", "There")
    # Without `strict`, vLLM holds the arguments to JSON only, not to the schema.
    tool = {"type": "function", "function": {"name": "find", "parameters": shape, "strict": True}}
    reply = serving.client.chat.completions.create(  # type: ignore[call-overload]
        messages=[message],
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "find"}},
        **options,
    )
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "find"
    assert json.loads(call.function.arguments)["town"] in ("Here", "There")


def test_the_list_of_what_to_forget_is_in_no_log(serving: Serving, world: World) -> None:
    person = world.forgotten[4]
    request_id = serving.forget(person.name, *person.aliases)
    serving.ask(f"Where was {person.name} born?")
    metrics = serving.admin.get("/metrics").text
    serving.revoke(request_id)
    folder = serving.settings.data_dir
    texts = [p.read_text(errors="replace") for p in folder.glob("*.log")]
    texts += [p.read_text(errors="replace") for p in folder.glob("audit*")]
    assert len(texts) >= 3
    for secret in (person.name, person.surname):
        assert not any(secret in text for text in [*texts, metrics])
