"""From a request to its cases: rendered, tokenised, classified.  Plain, for threads to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from guards.case import Case, Match, Prompt, Span
from guards.rules import Rules
from models.chat_prompt import Conversation, InvalidPrompt, PromptRenderer, Rendered
from models.conversation import Message
from service.errors import ApiError, invalid
from service.gateway.prompts import GivenPrompt
from service.gateway.schema import ChatRequest, CompletionRequest, Generation
from service.metrics import Metrics

Json = Any


class Prepared(NamedTuple):
    """A case that is decided, and what it was made of.

    conversation: None for a completion.  template: further variables of the chat template.
    given: tokens of the client's own prompt, without what a guard put in front.
    """

    case: Case
    rendered: Rendered
    conversation: Conversation | None
    template: Mapping[str, Json]
    given: int

    @property
    def question(self) -> str:
        """What is answered, for a reader: the last message, or the prompt."""
        if self.conversation is None:
            return self.rendered.text
        return "\n".join(self.conversation.messages[-1].parts)


@dataclass(frozen=True)
class Preparer:
    """Makes cases for one model.  Safe for many threads."""

    renderer: PromptRenderer
    metrics: Metrics
    model: str
    max_model_len: int

    def chat(self, request: ChatRequest, rules: Rules, tenant: str, case_id: str) -> Prepared:
        """Raises ApiError (400) where the prompt cannot be run."""
        with self.metrics.stage("render"):
            try:
                conversation = self.renderer.conversation(request.messages, request.tools)
                rendered = self.renderer.chat(conversation, request.template)
            except InvalidPrompt as error:
                raise invalid("messages", f"{_sentence(error)}") from error
        self._check_length(rendered, request.generation, "messages")
        case = Case(case_id, tenant, self.model, rules.epoch, to_prompt(rendered))
        decided = self._decided(case, rules, request.generation)
        given = len(rendered.ids)
        prepared = Prepared(decided, rendered, conversation, request.template, given)
        return self._instructed(prepared, rules, request.generation, "messages")

    def completions(
        self, request: CompletionRequest, rules: Rules, tenant: str, case_id: str
    ) -> list[Prepared]:
        """One for each prompt.  Raises ApiError (400) where one of them cannot be run."""
        found = []
        for number, given in enumerate(request.prompts):
            with self.metrics.stage("render"):
                rendered = self._completion(given)
            self._check_length(rendered, request.generation, "prompt")
            prompt = to_prompt(rendered)
            case = Case(f"{case_id}-{number}", tenant, self.model, rules.epoch, prompt)
            decided = self._decided(case, rules, request.generation)
            prepared = Prepared(decided, rendered, None, {}, len(rendered.ids))
            found.append(self._instructed(prepared, rules, request.generation, "prompt"))
        return found

    def again(
        self, before: Prepared, said: str, policy: str, rules: Rules, generation: Generation
    ) -> Prepared:
        """The same case once more, after the text filter caught something of that policy.

        said: what of the answer stays; it becomes part of the prompt.
        """
        fresh = replace(before.case, id=f"{before.case.id}-again")
        prepared = self._going_on(before, fresh, said, policy, rules, generation)
        first = before.case.instructions
        new = tuple(text for text in prepared.case.instructions if text not in first)
        if first or not new or prepared.case.answer is not None:
            return prepared._replace(case=replace(prepared.case, instructions=first))
        front = self._with_front(before, new)
        prepared = self._going_on(front, fresh, said, policy, rules, generation)
        return prepared._replace(case=replace(prepared.case, instructions=new))

    def _going_on(
        self,
        before: Prepared,
        fresh: Case,
        said: str,
        policy: str,
        rules: Rules,
        generation: Generation,
    ) -> Prepared:
        rendered = before.rendered
        if said:
            chat = before.conversation is not None
            rendered = self.renderer.continued(rendered, said, chat=chat)
        decided = self._decided(fresh.undecided(to_prompt(rendered)), rules, generation)
        decided = _keeping(decided, before.case.matches, rules)
        return before._replace(case=rules.escalated(decided, policy), rendered=rendered)

    def _instructed(
        self, prepared: Prepared, rules: Rules, generation: Generation, param: str
    ) -> Prepared:
        """With the instructions of its guards in front, and decided anew as it now stands.

        Whatever matched before still counts.  Raises ApiError (400) where it does not fit then.
        """
        case = prepared.case
        if not case.instructions or case.answer is not None:
            return prepared
        front = self._with_front(prepared, case.instructions)
        used, limit = len(front.rendered.ids), self.max_model_len
        if used >= limit:
            raise _too_long(param, used, 1, limit)
        decided = self._decided(case.undecided(to_prompt(front.rendered)), rules, generation)
        decided = _keeping(decided, case.matches, rules)
        return front._replace(case=replace(decided, instructions=case.instructions))

    def _with_front(self, prepared: Prepared, instructions: Sequence[str]) -> Prepared:
        """The prompt with a text in front, rendered as the engine will; not decided yet."""
        text = "\n\n".join(instructions)
        if prepared.conversation is None:
            rendered = self.renderer.completion(f"{text}\n\n{prepared.rendered.text}")
            return prepared._replace(rendered=rendered)
        with self.metrics.stage("render"):
            try:
                return self._with_system(prepared, prepared.conversation, text, "system")
            except InvalidPrompt:  # the template knows no system messages
                return self._with_system(prepared, prepared.conversation, text, "user")

    def _with_system(
        self, prepared: Prepared, conversation: Conversation, text: str, role: str
    ) -> Prepared:
        messages = in_front(conversation.messages, text, role)
        again = self.renderer.conversation(messages, conversation.tools)
        rendered = self.renderer.chat(again, prepared.template)
        return prepared._replace(rendered=rendered, conversation=again)

    def _completion(self, given: GivenPrompt) -> Rendered:
        try:
            if isinstance(given, str):
                return self.renderer.completion(given)
            return self.renderer.completion_of_ids(given)
        except InvalidPrompt as error:
            raise invalid("prompt", _sentence(error)) from error

    def _decided(self, case: Case, rules: Rules, generation: Generation) -> Case:
        with self.metrics.stage("decide"):
            decided = rules.decide(case)
            if not generation.extra:
                return decided
            beside = self.renderer.plain("\n".join(generation.extra))
            found = rules.decide(replace(case, prompt=to_prompt(beside))).matches
            known = {match.policy for match in decided.matches}
            for policy in dict.fromkeys(match.policy for match in found):
                if policy not in known:
                    decided = rules.escalated(decided, policy)
            return decided

    def _check_length(self, rendered: Rendered, generation: Generation, param: str) -> None:
        used, limit = len(rendered.ids), self.max_model_len
        if not used:
            raise invalid(param, f"'{param}' must not be empty.")
        wanted = generation.max_tokens or 1
        if used + wanted > limit:
            raise _too_long(param, used, wanted, limit)


def _keeping(case: Case, matches: Sequence[Match], rules: Rules) -> Case:
    """The case with every policy that matched an earlier form of its prompt."""
    now = {match.policy for match in case.matches}
    for match in matches:
        if match.policy not in now:
            case = rules.escalated(case, match.policy)
    return case


def in_front(messages: Sequence[Message], text: str, role: str) -> list[Message]:
    """The text before the first message, or joined to it where that has the role already."""
    first = messages[0]
    if first.role == role:
        head, rest = first.parts[:1], first.parts[1:]
        return [replace(first, parts=("\n\n".join((text, *head)), *rest)), *messages[1:]]
    return [Message(role, (text,)), *messages]


def to_prompt(rendered: Rendered) -> Prompt:
    """The value that guards work on."""
    content = tuple(map(Span._make, rendered.content))
    return Prompt(rendered.text, rendered.ids, rendered.offsets, content)


def _too_long(param: str, used: int, wanted: int, limit: int) -> ApiError:
    message = (
        f"This model's maximum context length is {limit} tokens. However, you requested "
        f"{used + wanted} tokens ({used} in the {param}, {wanted} in the completion)."
    )
    return invalid(param, message, "context_length_exceeded")


def _sentence(error: InvalidPrompt) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
