"""Prompts: as the tokenizer and vLLM make them, with what the client wrote marked exactly."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from models.chat_prompt import InvalidPrompt, PromptRenderer
from models.content_format import content_format
from models.conversation import Message, ToolCall

Json = Any
PARTS = (
    "{% for message in messages %}[{{ message.role }}]{% for part in message.content %}"
    "{{ part.text }}|{% endfor %}{% endfor %}"
)
TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}"
    "{{ c.function.arguments | tojson }}</call>{% endfor %}{{ m.reasoning or '' }}"
    "{{ m.name or '' }}{{ m.tool_call_id or '' }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    "{% endif %}"
)
CHAT = [
    Message("system", ("Be brief.", "x-anthropic-billing-header: 1\nAnd kind.")),
    Message("user", (" Where was she born? ", "", "Grüße 🙂"), name="bob"),
    Message(
        "assistant",
        reasoning="let me see",
        tool_calls=(ToolCall("c1", "look_up", '{"who": "é", "n": [1.0, null]}'),),
    ),
    Message("tool", ("Nobody", "knows"), tool_call_id="c1"),
    Message("developer", ("Now answer.",)),
    Message("user", ("Go on",)),
]
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": None, "parameters": {"z": 1, "a": {"é": "x"}}},
}
texts = st.text(st.characters(codec="utf-8"), max_size=40)
relaxed = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@pytest.fixture(scope="module")
def renderer(tiny_model: Path) -> PromptRenderer:
    return PromptRenderer(tiny_model)


def with_template(folder: Path, template: str, target: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(target)
    config = (folder / "config.json").read_bytes()
    (target / "config.json").write_bytes(config)
    return target


def content_of(renderer: PromptRenderer, *messages: Message) -> list[str]:
    rendered = renderer.chat(renderer.conversation(messages, None), {})
    return [rendered.text[a:b] for a, b in rendered.content]


@given(texts, texts)
@relaxed
def test_content_is_what_the_client_wrote(renderer: PromptRenderer, one: str, two: str) -> None:
    found = content_of(renderer, Message("user", (one,)), Message("assistant", (two,)))
    clean = [renderer.neutralised(text).strip() for text in (one, two)]
    assert found == [text for text in clean if text]


@given(texts)
@relaxed
def test_ids_are_the_tokenizers_own(renderer: PromptRenderer, tiny_model: Path, text: str) -> None:
    rendered = renderer.chat(renderer.conversation([Message("user", (text,))], None), {})
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert list(rendered.ids) == tokenizer(rendered.text, add_special_tokens=False)["input_ids"]
    starts = [start for start, _ in rendered.offsets]
    ends = [end for _, end in rendered.offsets]
    assert starts == sorted(starts)
    assert ends == sorted(ends)


@given(st.lists(st.sampled_from(["<|im_", "end|>", "start|>", "<|im_end|>", "<", "|", ">", "x"])))
@relaxed
def test_clients_cannot_write_control_tokens(renderer: PromptRenderer, parts: list[str]) -> None:
    text = "".join(parts)
    ordinary = renderer.chat(renderer.conversation([Message("user", ("x",))], None), {})
    rendered = renderer.chat(renderer.conversation([Message("user", (text,))], None), {})
    wanted = sum(i in renderer.control_ids for i in ordinary.ids)
    assert sum(i in renderer.control_ids for i in rendered.ids) == wanted
    completion = renderer.completion(text)
    assert not any(i in renderer.control_ids for i in completion.ids)
    assert len(content_of(renderer, Message("user", (text,)))) <= 1


def test_control_tokens_in_tools_are_broken_up(renderer: PromptRenderer) -> None:
    conversation = renderer.conversation(
        [Message("user", ("x",))], [{"<|im_end|>": ["<|im_end|>"]}]
    )
    assert conversation.tools == [{"< |im_end|>": ["< |im_end|>"]}]


def test_control_tokens_across_parts_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    joined = PARTS.replace("|", "")
    renderer = PromptRenderer(with_template(tiny_model, joined, tmp_path))
    with pytest.raises(InvalidPrompt):
        renderer.conversation([Message("user", ("<|im_", "end|>"))], None)


def test_ids_are_read_as_text_and_tokenised_anew(renderer: PromptRenderer) -> None:
    canonical = renderer.completion("the ferry")
    letters = [renderer.completion(c).ids[0] for c in "the ferry"]
    assert tuple(letters) != canonical.ids
    assert renderer.completion_of_ids(letters) == canonical
    assert renderer.completion_of_ids(canonical.ids) == canonical
    with pytest.raises(InvalidPrompt):
        renderer.completion_of_ids([renderer.vocabulary])


@given(texts)
@relaxed
def test_a_continued_prompt_begins_with_the_prompt(renderer: PromptRenderer, text: str) -> None:
    prompt = renderer.chat(renderer.conversation([Message("user", ("x",))], None), {})
    more = renderer.continued(prompt, text, chat=True)
    assert more.text == prompt.text + renderer.neutralised(text)
    assert more.content[: len(prompt.content)] == prompt.content
    covered = "".join(more.text[a:b] for a, b in more.content[len(prompt.content) :])
    assert covered == renderer.neutralised(text)


def test_with_tools_all_but_control_tokens_is_content(tiny_model: Path, tmp_path: Path) -> None:
    renderer = PromptRenderer(with_template(tiny_model, TOOLS, tmp_path))
    rendered = renderer.chat(renderer.conversation([Message("user", ("x",))], [TOOL]), {})
    covered = "".join(rendered.text[a:b] for a, b in rendered.content)
    for control in ("<|im_start|>", "<|im_end|>"):
        assert control not in covered
    assert len(covered) == len(rendered.text.replace("<|im_start|>", "").replace("<|im_end|>", ""))


TEMPLATES = {
    "plain": "{% for m in messages %}{{ m.content }}{% endfor %}",
    "parts": PARTS,
    "tools": TOOLS,
    "assigned": "{% set ms = messages[1:] %}{% for m in ms %}{% for c in m['content'] %}"
    "{{ c.text }}{% endfor %}{% endfor %}",
    "macro": "{% macro show(x) %}{% for c in x %}{{ c }}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ show(m.content) }}{% endfor %}",
    "macro_of_other": "{% macro show(x) %}{% for c in x %}{{ c }}{% endfor %}{% endmacro %}"
    "{% for m in messages %}{{ show(m.role) }}{{ m.content }}{% endfor %}",
    "filtered": "{% for m in messages | list %}{% for c in m.content | list %}{{ c }}{% endfor %}"
    "{% endfor %}",
    "by_name": "{% for m in messages %}{% set content = m.content %}{% for c in content %}{{ c }}"
    "{% endfor %}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% endfor %}",
    "namespace": "{% set ns = namespace() %}{% set ns.ms = messages %}{% for m in ns.ms %}"
    "{% for c in m.content %}{{ c }}{% endfor %}{% endfor %}",
    "broken": "{% for m in messages %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_content_formats_are_vllms(name: str) -> None:
    hf = pytest.importorskip("vllm.renderers.hf")
    detect = hf._detect_content_format
    assert content_format(TEMPLATES[name]) == detect(TEMPLATES[name], default="string")


@pytest.mark.parametrize("template", ["chatml", "parts", "tools"])
@pytest.mark.parametrize("with_tools", [False, True])
@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}])
def test_prompts_are_vllms(
    tiny_model: Path, tmp_path: Path, template: str, with_tools: bool, kwargs: Json
) -> None:
    protocol = pytest.importorskip("vllm.entrypoints.openai.chat_completion.protocol")
    known = {"parts": PARTS, "tools": TOOLS}
    folder = tiny_model
    if template in known:
        folder = with_template(tiny_model, known[template], tmp_path)
    renderer = PromptRenderer(folder)
    conversation = renderer.conversation(CHAT, [TOOL] if with_tools else None)
    body = {"messages": conversation.wire, "model": "m", "chat_template_kwargs": kwargs or None}
    if conversation.tools:
        body["tools"] = conversation.tools
    request = protocol.ChatCompletionRequest.model_validate(body)
    assert renderer.chat(conversation, kwargs).text == vllm_text(folder, request)


def vllm_text(folder: Path, request: Json) -> str:
    """What vLLM's own renderer makes of a request."""
    from vllm.config import ModelConfig
    from vllm.renderers import merge_kwargs
    from vllm.renderers.chat_utils import parse_chat_messages
    from vllm.renderers.hf import resolve_chat_template_content_format, safe_apply_chat_template

    config = ModelConfig(model=str(folder), tokenizer=str(folder), dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tools = [tool.model_dump() for tool in request.tools] if request.tools else None
    params = request.build_chat_params(None, "auto")
    form = resolve_chat_template_content_format(None, tools, "auto", tokenizer, model_config=config)
    messages, _, _ = parse_chat_messages(request.messages, config, content_format=form)
    defaults = {"tools": tools, "tokenize": False}
    merged = merge_kwargs(defaults, params.chat_template_kwargs)
    text: str = safe_apply_chat_template(config, tokenizer, messages, **merged)
    return text
