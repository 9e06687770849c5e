"""Prompts rendered once: policies are tried on the same ones again and again."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from models.chat_prompt import Conversation, PromptRenderer, Rendered

KEPT = 20_000


class RememberingRenderer(PromptRenderer):
    """Renders as its base does, and remembers the plain conversations.  For one thread."""

    _kept: OrderedDict[tuple[Any, ...], Rendered] | None = None

    def chat(self, conversation: Conversation, kwargs: Mapping[str, Any]) -> Rendered:
        """As the base; with tools or variables nothing is remembered."""
        if conversation.tools or kwargs:
            return super().chat(conversation, kwargs)
        kept = self._kept = OrderedDict() if self._kept is None else self._kept
        found = kept.get(conversation.messages)
        if found is None:
            found = kept[conversation.messages] = super().chat(conversation, kwargs)
            if len(kept) > KEPT:
                kept.popitem(last=False)
        return found
