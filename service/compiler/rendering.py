"""Prompts rendered once: policies are tried on the same ones again and again."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.chat_prompt import Conversation, PromptRenderer, Rendered
from models.conversation import Message

KEPT = 20_000


class RememberingRenderer(PromptRenderer):
    """Renders as its base does, and remembers the plain conversations.  For one thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._kept: OrderedDict[tuple[Message, ...], Rendered] = OrderedDict()

    def chat(self, conversation: Conversation, kwargs: Mapping[str, Any]) -> Rendered:
        """As the base; with tools or variables nothing is remembered."""
        if conversation.tools or kwargs:
            return super().chat(conversation, kwargs)
        found = self._kept.get(conversation.messages)
        if found is None:
            found = self._kept[conversation.messages] = super().chat(conversation, kwargs)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def forget(self) -> None:
        """Drop what is remembered."""
        self._kept.clear()
