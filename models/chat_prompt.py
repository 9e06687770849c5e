"""Prompts, rendered and tokenised exactly as vLLM 0.32 will: what is classified is what is run."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from jinja2 import meta
from transformers import AutoTokenizer

from models.content_format import ContentFormat, content_format, parsed
from models.conversation import Json, Message, ToolCall, settled, to_template, to_wire

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: they mark where a client's text comes to lie
_MARKS = re.compile(f"[{_OPEN}{_CLOSE}]")
_BREAK = " "  # what comes between the first two characters of a control token that a client wrote
_ALWAYS_TAKEN = {"add_generation_prompt", "continue_final_message", "documents"}

Range = tuple[int, int]


class InvalidPrompt(ValueError):
    """A conversation or prompt that cannot be run.  The text is fit for the client."""


class Rendered(NamedTuple):
    """A prompt.  offsets: each id's characters in ``text``, never decreasing.

    content: the characters that came from the client, sorted and disjoint.
    """

    text: str
    ids: tuple[int, ...]
    offsets: tuple[Range, ...]
    content: tuple[Range, ...]


@dataclass(frozen=True)
class Conversation:
    """What is sent to the engine: canonical, with no control token that a client wrote.

    tools: as vLLM hands them to the template; None where there are none.
    """

    messages: tuple[Message, ...]
    tools: list[Json] | None
    form: ContentFormat

    @property
    def wire(self) -> list[Json]:
        """The messages of the upstream body."""
        return [to_wire(message, self.form) for message in self.messages]


class PromptRenderer:
    """The chat template and the tokenizer of one model folder.  Safe from several threads."""

    def __init__(self, folder: Path) -> None:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        added = self._backend.get_added_tokens_decoder()
        self._control_ids = frozenset(added) | frozenset(tokenizer.all_special_ids)
        self._control = _any_of(
            {token.content for token in added.values()} | set(tokenizer.all_special_tokens)
        )
        self._prefix = tuple(self._backend.encode("", add_special_tokens=True).ids)

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return len(self._tokenizer)

    @property
    def control_ids(self) -> frozenset[int]:
        """The ids of special and added tokens."""
        return self._control_ids

    def conversation(
        self, messages: Sequence[Message], tools: Sequence[Json] | None
    ) -> Conversation:
        """What may be sent.  Raises InvalidPrompt where the model has no chat template."""
        clean_tools = [self.neutralised(tool) for tool in tools] if tools else None
        template = self._template(clean_tools)
        knows_developer = '"developer"' in template or "'developer'" in template
        clean = tuple(
            self._clean(message) for message in settled(messages, developer=knows_developer)
        )
        if self._control.search("".join(chain.from_iterable(m.texts() for m in clean))):
            raise InvalidPrompt("messages spell a control token of the model across their parts")
        return Conversation(clean, clean_tools, content_format(template))

    def chat(self, conversation: Conversation, kwargs: Mapping[str, Json]) -> Rendered:
        """The prompt of a chat.  kwargs: further variables of the template."""
        text = self._render(conversation, conversation.messages, kwargs)
        ids, offsets = self._encode(text, special=False)
        content = self._marked_content(conversation, kwargs, text)
        if content is None:
            content = _between(text, ids, offsets, self._control_ids)
        elif _overlap(ids, offsets, self._control_ids, content):
            raise InvalidPrompt("messages spell a control token of the model")
        return Rendered(text, ids, offsets, content)

    def completion(self, text: str) -> Rendered:
        """The prompt of a completion, with the special tokens that the model puts before it."""
        clean = self._neutral_text(text)
        ids, offsets = self._encode(clean, special=True)
        return Rendered(clean, ids, offsets, ((0, len(clean)),) if clean else ())

    def completion_of_ids(self, ids: Sequence[int]) -> Rendered:
        """The same for ids: read as text, then tokenised as that text is, so nothing hides in them.

        Raises InvalidPrompt for an id outside the vocabulary.
        """
        if not all(0 <= i < self.vocabulary for i in ids):
            raise InvalidPrompt("the prompt has a token id outside the vocabulary")
        bare = list(ids)
        if self._prefix and tuple(bare[: len(self._prefix)]) == self._prefix:
            bare = bare[len(self._prefix) :]
        return self.completion(self._backend.decode(bare, skip_special_tokens=False))

    def continued(self, prompt: Rendered, text: str, *, chat: bool) -> Rendered:
        """The prompt followed by what the model has said; that counts as content too."""
        whole = prompt.text + self._neutral_text(text)
        ids, offsets = self._encode(whole, special=not chat)
        content = (*prompt.content, (len(prompt.text), len(whole)))
        return Rendered(whole, ids, offsets, content if text else prompt.content)

    def plain(self, text: str) -> Rendered:
        """Any text as if it were a prompt: all of it content, nothing added."""
        ids, offsets = self._encode(text, special=False)
        return Rendered(text, ids, offsets, ((0, len(text)),))

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self._backend.encode(text, add_special_tokens=False).ids)

    def neutralised(self, value: Json) -> Json:
        """A JSON value with every control token in its strings and keys broken up."""
        if isinstance(value, str):
            return self._neutral_text(value)
        if isinstance(value, list):
            return [self.neutralised(item) for item in value]
        if isinstance(value, dict):
            return {self._neutral_text(k): self.neutralised(v) for k, v in value.items()}
        return value

    def _neutral_text(self, text: str) -> str:
        while self._control.search(text):
            text = self._control.sub(lambda found: found[0][0] + _BREAK + found[0][1:], text)
        return text

    def _clean(self, message: Message) -> Message:
        neutral = self._neutral_text
        return replace(
            message,
            parts=tuple(neutral(part) for part in message.parts),
            name=message.name and neutral(message.name),
            reasoning=message.reasoning and neutral(message.reasoning),
            tool_call_id=message.tool_call_id and neutral(message.tool_call_id),
            tool_calls=tuple(self._clean_call(call) for call in message.tool_calls),
        )

    def _clean_call(self, call: ToolCall) -> ToolCall:
        try:
            arguments = json.loads(call.arguments)
        except (ValueError, RecursionError):
            arguments = None
        # vLLM turns whatever is not an object into an empty one.
        kept = self.neutralised(arguments) if isinstance(arguments, dict) else {}
        neutral = self._neutral_text
        written = json.dumps(kept, ensure_ascii=False)
        return ToolCall(neutral(call.id), neutral(call.name), written)

    def _template(self, tools: list[Json] | None) -> str:
        try:
            template: str = self._tokenizer.get_chat_template(None, tools=tools)
        except ValueError as error:
            raise InvalidPrompt("the model has no chat template") from error
        return template

    def _render(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        kwargs: Mapping[str, Json],
    ) -> str:
        template = self._template(conversation.tools)
        taken = _variables(template) | _ALWAYS_TAKEN
        given = {"add_generation_prompt": True, "continue_final_message": False, **kwargs}
        try:
            text: str = self._tokenizer.apply_chat_template(
                conversation=[to_template(message, conversation.form) for message in messages],
                tools=conversation.tools,
                chat_template=template,
                tokenize=False,
                **{key: value for key, value in given.items() if key in taken},
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise InvalidPrompt("the model's chat template refuses these messages") from error
        return text

    def _marked_content(
        self, conversation: Conversation, kwargs: Mapping[str, Json], text: str
    ) -> tuple[Range, ...] | None:
        """Where the client's texts lie, found by rendering them with marks; None if it fails."""
        if conversation.tools or any(m.tool_calls for m in conversation.messages):
            return None  # templates look into those, and marks would change what they see
        if any(_MARKS.search(t) for m in conversation.messages for t in m.texts()):
            return None
        try:
            marked = self._render(conversation, [_mark(m) for m in conversation.messages], kwargs)
        except InvalidPrompt:
            return None
        plain, ranges = _unmarked(marked)
        return ranges if plain == text else None

    def _encode(self, text: str, *, special: bool) -> tuple[tuple[int, ...], tuple[Range, ...]]:
        encoding = self._backend.encode(text, add_special_tokens=special)
        offsets = encoding.offsets
        if sorted(offsets) != offsets:  # seldom, and much cheaper to ask than to mend
            offsets = _never_decreasing(offsets, len(text))
        return tuple(encoding.ids), tuple(offsets)


@lru_cache(maxsize=32)
def _variables(template: str) -> frozenset[str]:
    """What the template reads; milliseconds to find.  Raises jinja2.TemplateError."""
    return frozenset(meta.find_undeclared_variables(parsed(template)))


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the words, the longest first.  Blank ones are text, not control."""
    found = sorted((w for w in words if w.strip()), key=len, reverse=True)
    found = [w for w in found if len(w) > 1]  # one character cannot be broken up
    return re.compile("|".join(map(re.escape, found)) or r"(?!)")


def _mark(message: Message) -> Message:
    return replace(
        message,
        parts=tuple(_mark_text(part) for part in message.parts),
        name=message.name and _mark_text(message.name),
        reasoning=message.reasoning and _mark_text(message.reasoning),
        tool_call_id=message.tool_call_id and _mark_text(message.tool_call_id),
    )


def _mark_text(text: str) -> str:
    """The text with marks about it, inside its outer blanks: templates like to trim."""
    core = text.strip()
    if not core:
        return text
    start = text.index(core)
    return f"{text[:start]}{_OPEN}{core}{_CLOSE}{text[start + len(core) :]}"


def _unmarked(marked: str) -> tuple[str, tuple[Range, ...]]:
    """The text without the marks, and the ranges that they stood about."""
    ranges: list[Range] = []
    pieces: list[str] = []
    length, opened, last = 0, None, 0
    for found in _MARKS.finditer(marked):
        pieces.append(marked[last : found.start()])
        length += found.start() - last
        last = found.end()
        if found[0] == _OPEN:
            opened = length
        elif opened is not None:
            ranges.append((opened, length))
            opened = None
    return "".join([*pieces, marked[last:]]), tuple(ranges)


def _never_decreasing(offsets: Iterable[Range], length: int) -> Iterator[Range]:
    """Offsets with those of tokens that stand for no text, (0, 0), moved to where they stand."""
    reached = 0
    for start, end in offsets:
        start, end = max(start, reached), max(end, reached)
        yield min(start, length), min(end, length)
        reached = start


def _between(
    text: str, ids: Sequence[int], offsets: Sequence[Range], control: frozenset[int]
) -> tuple[Range, ...]:
    """Everything but the control tokens."""
    ranges: list[Range] = []
    last = 0
    for token, (start, end) in zip(ids, offsets, strict=True):
        if token in control and end > start:
            ranges.append((last, start))
            last = end
    ranges.append((last, len(text)))
    return tuple(r for r in ranges if r[1] > r[0])


def _overlap(
    ids: Sequence[int],
    offsets: Sequence[Range],
    control: frozenset[int],
    content: Sequence[Range],
) -> bool:
    """Whether a control token lies on the client's text."""
    places = [o for i, o in zip(ids, offsets, strict=True) if i in control and o[1] > o[0]]
    return any(start < b and a < end for start, end in places for a, b in content)
