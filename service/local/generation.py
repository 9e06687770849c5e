"""A body made ready to run: admitted, with its edits and its sampling; one choice or several."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from guards.case import Edit
from guards.signed_edits import FIELD
from models.chat_prompt import PromptRenderer
from models.local_engine import InvalidSampling, LocalEngine, Sampling
from models.local_engine.text import IncrementalText, StopStrings
from service.acting import Bindings
from service.admission import CheckedArtifacts, Refused, admit
from service.local.body import ChatBody, CompletionBody, bad_request
from service.local.choice import Choice, Delta
from service.local.edits import interventions
from service.local.prompts import prompt_ids
from service.settings import Settings

_PASSED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)


@dataclass(frozen=True)
class Generation:
    """What one request will run.  Its choices differ only in their seeds."""

    engine: LocalEngine
    body: ChatBody | CompletionBody
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    edits: tuple[Edit, ...]
    bindings: Bindings

    @property
    def choices(self) -> int:
        """How many choices were asked for."""
        return self.body.n or 1

    def deltas(self, index: int) -> Iterator[Delta]:
        """The deltas of one choice.  Raises ValueError at once where it cannot run."""
        seed = self.sampling.seed
        # As vLLM numbers the seeds of several choices.
        how = self.sampling if seed is None else replace(self.sampling, seed=seed + index)
        choice = Choice(
            tokens=self._tokens(how),
            text=IncrementalText(
                self.engine.tokenizer,
                self.prompt_ids,
                skip_special_tokens=self.body.skip_special_tokens,
            ),
            stops=StopStrings(self.body.stops, include=self.body.include_stop_str_in_output),
            sampling=how,
            ends=self.engine.ends(how),
            include_stop=self.body.include_stop_str_in_output,
        )
        return choice.deltas()

    def _tokens(self, how: Sampling) -> Iterator[int]:
        # Each choice has edits of its own: they may remember what was generated.
        key = secrets.token_hex(16)
        acting = interventions(self.edits, self.bindings, len(self.prompt_ids), key)
        tokens = self.engine.generate(self.prompt_ids, how, acting)
        return _and_then(tokens, lambda: self.bindings.forget(key))


def _and_then(tokens: Iterator[int], done: Callable[[], None]) -> Iterator[int]:
    try:
        yield from tokens
    finally:
        done()


@dataclass(frozen=True)
class Admission:
    """Turns bodies into generations.  Safe from several threads."""

    engine: LocalEngine
    renderer: PromptRenderer
    artifacts: CheckedArtifacts
    bindings: Bindings
    settings: Settings
    key: bytes

    def generation(self, body: ChatBody | CompletionBody) -> Generation:
        """Raises ApiError (400), or Refused where no gateway signed exactly this request."""
        ids = prompt_ids(body, self.renderer)
        edits = self._admitted(body, ids)
        sampling = self._sampling(body, ids)
        try:
            self.engine.check(ids, sampling)
        except InvalidSampling as error:
            raise bad_request(error.field, str(error)) from error
        except ValueError as error:
            field = "prompt" if isinstance(body, CompletionBody) else "messages"
            raise bad_request(field, str(error)) from error
        return Generation(self.engine, body, ids, sampling, edits, self.bindings)

    def _admitted(self, body: ChatBody | CompletionBody, ids: Sequence[int]) -> tuple[Edit, ...]:
        extra = body.vllm_xargs or {}
        signed = admit(
            extra.get(FIELD),
            ids,
            body.cache_salt,
            self.key,
            self.artifacts,
            time.time(),
            self.settings.served_model_name,
        )
        if len(extra) > 1:
            raise Refused("extra arguments are not served")
        for edit in signed.edits:
            self.bindings.get(edit.guard, edit.artifact)
        return signed.edits

    def _sampling(self, body: ChatBody | CompletionBody, ids: Sequence[int]) -> Sampling:
        room = self.settings.max_model_len - len(ids)
        limit = room if body.asked_tokens is None else body.asked_tokens
        if not 0 < limit <= room:
            newer = isinstance(body, ChatBody) and body.max_completion_tokens is not None
            field = "max_completion_tokens" if newer else "max_tokens"
            raise bad_request(field, f"{field} must be in [1, {max(room, 0)}] with this prompt")
        given = {name: getattr(body, name) for name in _PASSED}
        asked = {name: value for name, value in given.items() if value is not None}
        chosen: dict[str, float] = {"temperature": 1.0, **self.engine.recommended, **asked}
        try:
            return Sampling(
                max_tokens=limit,
                top_k=int(chosen.pop("top_k", 0)),
                logit_bias=_by_id(body.logit_bias or {}),
                seed=body.seed,
                stop_token_ids=tuple(body.stop_token_ids or ()),
                ignore_eos=body.ignore_eos,
                min_tokens=body.min_tokens,
                **chosen,
            )
        except InvalidSampling as error:
            raise bad_request(error.field, str(error)) from error


def _by_id(biases: Mapping[str, float]) -> dict[int, float]:
    try:
        return {int(token): bias for token, bias in biases.items()}
    except ValueError as error:
        raise bad_request("logit_bias", "logit_bias must have token ids as keys") from error
