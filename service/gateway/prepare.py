"""From a request to its cases: rendered, tokenised, classified.  Plain, for threads to run."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from guards.case import Case, Prompt, Span
from guards.rules import Rules
from models.chat_prompt import Conversation, InvalidPrompt, PromptRenderer, Rendered
from service.errors import ApiError, invalid
from service.gateway.prompts import GivenPrompt
from service.gateway.schema import ChatRequest, CompletionRequest, Generation
from service.metrics import Metrics


class Prepared(NamedTuple):
    """A case that is decided, and what it was made of.  conversation: None for a completion."""

    case: Case
    rendered: Rendered
    conversation: Conversation | None


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
        return Prepared(self._decided(case, rules, request.generation), rendered, conversation)

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
            found.append(Prepared(decided, rendered, None))
        return found

    def again(
        self, before: Prepared, said: str, policy: str, rules: Rules, generation: Generation
    ) -> Prepared:
        """The same case once more, after the text filter caught something of that policy.

        said: what of the answer stays; it becomes part of the prompt.
        """
        rendered, case_id = before.rendered, f"{before.case.id}-again"
        if said:
            chat = before.conversation is not None
            rendered = self.renderer.continued(rendered, said, chat=chat)
        fresh = replace(before.case, id=case_id, prompt=to_prompt(rendered), matches=(), edits=())
        decided = self._decided(fresh, rules, generation)
        return Prepared(rules.escalated(decided, policy), rendered, before.conversation)

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


def to_prompt(rendered: Rendered) -> Prompt:
    """The value that guards work on."""
    offsets = tuple(map(Span._make, rendered.offsets))
    return Prompt(rendered.text, rendered.ids, offsets, tuple(map(Span._make, rendered.content)))


def _too_long(param: str, used: int, wanted: int, limit: int) -> ApiError:
    message = (
        f"This model's maximum context length is {limit} tokens. However, you requested "
        f"{used + wanted} tokens ({used} in the {param}, {wanted} in the completion)."
    )
    return invalid(param, message, "context_length_exceeded")


def _sentence(error: InvalidPrompt) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
