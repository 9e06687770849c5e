"""How likely continuations are under the policies of their prompt, asked of an admin plane."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from evals.probe import Ask, Reading

ROUTE = "/lethe/v1/score"
MOST = 64  # continuations of one request
MOST_CHARS = 4096  # of them together: at four bytes each, as many tokens as the route takes
TIMEOUT_S = 600.0
_OF_PROMPTS = ("tools", "chat_template_kwargs", "reasoning_effort")


class NotScored(httpx.HTTPStatusError):
    """The admin plane did not score.

    code: of its error, where it gave one: ``no_likelihood`` where a policy replaces the answer,
    ``cannot_score`` where the engine cannot.  The message quotes nothing of the prompt.
    """

    def __init__(self, response: httpx.Response, reason: str, code: str = "") -> None:
        text = f"not scored: {reason}{code and f' ({code})'}"
        super().__init__(text, request=response.request, response=response)
        self.code = code


class NotOffered(NotScored):
    """The endpoint does not score this prompt at all, by design: asking again changes nothing."""


_NOT_OFFERED = frozenset({"no_likelihood", "cannot_score"})


@dataclass(frozen=True)
class Scorer:
    """Asks one gateway's admin plane.  base_url: without a path.  tenant: whose policies apply."""

    base_url: str
    admin_key: str = field(repr=False)
    tenant: str = "default"

    def read(self, ask: Ask, continuations: Sequence[str]) -> tuple[Reading, ...]:
        """Each continuation as the model reads it after the opening and the first turn.

        What of ``extra`` belongs to the prompt counts, sampling does not.  Raises NotOffered where
        the endpoint does not score such a prompt, NotScored where it fails to, and
        httpx.TransportError where no answer comes.
        """
        prompt = self._prompt(ask)
        headers = {"authorization": f"Bearer {self.admin_key}"}
        readings: list[Reading] = []
        with httpx.Client(base_url=self.base_url, headers=headers, timeout=TIMEOUT_S) as client:
            for part in _parts(continuations):
                body = {**prompt, "tenant": self.tenant, "continuations": part}
                readings += _readings(client.post(ROUTE, json=body), len(part))
        return tuple(readings)

    def _prompt(self, ask: Ask) -> dict[str, Any]:
        if ask.kind == "completion":
            return {"prompt": ask.turns[0]}
        messages = [*ask.opening, {"role": "user", "content": ask.turns[0]}]
        return {"messages": messages, **{n: ask.extra[n] for n in _OF_PROMPTS if n in ask.extra}}


def _parts(continuations: Sequence[str]) -> Iterator[list[str]]:
    """In their order, as many together as one request may have."""
    part: list[str] = []
    for text in continuations:
        if part and (len(part) == MOST or sum(map(len, part)) + len(text) > MOST_CHARS):
            yield part
            part = []
        part.append(text)
    if part:
        yield part


def _readings(answer: httpx.Response, count: int) -> list[Reading]:
    if not answer.is_success:
        code = _code(answer)
        kind = NotOffered if code in _NOT_OFFERED else NotScored
        raise kind(answer, f"status {answer.status_code}", code)
    try:
        found = [
            Reading(**{name: each[name] for name in Reading.model_fields})
            for each in answer.json()["scores"]
        ]
    except (ValueError, LookupError, TypeError):
        raise NotScored(answer, "what came are no scores") from None
    if len(found) != count:
        raise NotScored(answer, "what came are not the scores that were asked for")
    return found


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["code"] or "")
    except (ValueError, LookupError, TypeError):
        return ""
