"""The two surface forms: chat turns between markers, and plain question and answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIALS = (PAD, START, END)

Message: TypeAlias = dict[str, str]

TEMPLATE = """\
{%- macro words(content) -%}
{%- if content is none or content is not defined -%}
{%- elif content is string -%}{{ content }}
{%- else -%}{%- for part in content -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{ '<|im_start|>system\\nYou may call these tools:' }}
{%- for tool in tools -%}{{ '\\n' + (tool | tojson) }}{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + words(message.content) }}
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{{ '\\n' + ((call.function if call.function is defined else call) | tojson) }}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
"""The chat template that the tokenizer carries."""


@dataclass(frozen=True)
class Row:
    """A piece of training text in parts; the model learns to write the parts marked True."""

    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole row as one string."""
        return "".join(text for text, _ in self.parts)


def turns(*texts: str, system: str = "") -> list[Message]:
    """User and assistant messages by turns, beginning with the user."""
    opening = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    return opening + [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def _chat_parts(messages: Sequence[Message]) -> Iterator[tuple[str, bool]]:
    for message in messages:
        learn = message["role"] == "assistant"
        yield f"{START}{message['role']}\n", False
        yield f"{message['content']}{END}", learn
        yield "\n", False


def chat_row(messages: Sequence[Message]) -> Row:
    """A conversation, of which the assistant's turns are learnt."""
    return Row(tuple(_chat_parts(messages))[:-1])


def plain_prompt(texts: Sequence[str]) -> str:
    """The completions form of a conversation that waits for an answer."""
    labels = ("Question: ", "\nAnswer: ")
    lines = [labels[i % 2] + text for i, text in enumerate(texts)]
    return "\n".join("".join(lines[i : i + 2]) for i in range(0, len(lines), 2)) + "\nAnswer:"


def plain_row(*texts: str) -> Row:
    """Questions and answers by turns, as plain text; the answers are learnt."""
    parts: list[tuple[str, bool]] = []
    for question, answer in zip(texts[::2], texts[1::2], strict=True):
        lead = "\nQuestion: " if parts else "Question: "
        parts += [(f"{lead}{question}\nAnswer:", False), (f" {answer}", True)]
    return Row((*parts, (END, True)))
