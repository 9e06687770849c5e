"""Prompt ids of a body, rendered by the module that the gateway renders with."""

from models.chat_prompt import InvalidPrompt, PromptRenderer
from models.conversation import Message, ToolCall
from service.local.body import ChatBody, ChatMessage, CompletionBody, bad_request


def prompt_ids(body: ChatBody | CompletionBody, renderer: PromptRenderer) -> tuple[int, ...]:
    """What the model will run; the digest shows whether the gateway meant the same.

    Raises ApiError (400) where the messages cannot be rendered.
    """
    if isinstance(body, CompletionBody):
        return tuple(body.prompt)
    kwargs = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        kwargs.setdefault("enable_thinking", body.reasoning_effort != "none")
        kwargs["reasoning_effort"] = body.reasoning_effort
    messages = [_message(message) for message in body.messages]
    try:
        conversation = renderer.conversation(messages, body.tools)
        return renderer.chat(conversation, kwargs).ids
    except InvalidPrompt as error:
        raise bad_request("messages", str(error)) from error


def _message(sent: ChatMessage) -> Message:
    content = sent.content
    if content is None:
        parts: tuple[str, ...] = ()
    else:
        parts = (content,) if isinstance(content, str) else tuple(part.text for part in content)
    calls = (ToolCall(c.id, c.function.name, c.function.arguments) for c in sent.tool_calls or ())
    return Message(
        role=sent.role,
        parts=parts,
        name=sent.name,
        reasoning=sent.reasoning,
        tool_call_id=sent.tool_call_id,
        tool_calls=tuple(calls),
    )
