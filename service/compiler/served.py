"""The served model in this process, offline: what it answers under a policy, and how likely."""

import hashlib
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from guards.policy import Epoch
from guards.rules import Rules
from models.artifact import ArtifactStore, canonical_json, digest_of
from models.chat_prompt import InvalidPrompt, PromptRenderer
from models.conversation import Message
from models.local_engine import LocalEngine
from service.admission import CheckedArtifacts
from service.compiler.generating import Ask, Generator, Ids, LogP, Score, Written
from service.compiler.rendering import KEPT, RememberingRenderer
from service.compiler.turn import Said, Turn, Turns, Unanswerable
from service.gateway.prepare import Prepared, Preparer
from service.gateway.schema import ChatRequest, CompletionRequest, Generation
from service.local.edits import bindings_of
from service.metrics import Metrics
from service.settings import Settings

__all__ = ["Said", "Served", "Unanswerable"]

LONGEST = 48
_OPENING: int = Settings.model_fields["opening_chars"].default
_CASE = "compile"


class Served:
    """One model that answers as the gateway with the in-process engine would, many prompts at once.

    A prompt is one user turn in the model's own chat template, or a plain completion where it has
    none.  Prompts are decided, edited, answered or filtered by the code that serves; only agents
    are not asked here.  Not for use by several threads.

    Rows of one pass may differ from a row alone in the last bits of a float: where two tokens are
    equally likely to that precision, an answer may differ from the one that is served.
    """

    def __init__(
        self,
        engine: LocalEngine,
        renderer: PromptRenderer,
        artifacts: ArtifactStore,
        max_model_len: int,
        folder: Path,
    ) -> None:
        self.engine = engine
        self.renderer = renderer
        self.artifacts = artifacts
        self._folder = folder
        self._preparer = Preparer(renderer, Metrics(), "", min(max_model_len, engine.max_model_len))
        self._generator = Generator(engine, bindings_of(engine, CheckedArtifacts(artifacts)))
        self._plain: dict[tuple[str, int | None], Prepared] = {}
        self._nothing = Rules.build(Epoch(0, ()), None, 1.0)

    @staticmethod
    def load(model: Path, artifacts: ArtifactStore, max_model_len: int) -> "Served":
        """Read the model in a folder; nothing is fetched.  Raises OSError.

        artifacts: where the edits of policies are looked up.  max_model_len: most tokens of prompt
        and answer together, as the gateway is set.
        """
        renderer = RememberingRenderer(model)
        return Served(LocalEngine.load(model), renderer, artifacts, max_model_len, model)

    def answers(
        self, prompts: Sequence[str], rules: Rules | None = None, max_tokens: int = LONGEST
    ) -> list[Said]:
        """Greedy answers, in the order of the prompts.

        rules: what is in force; None: nothing.  What the model says without edits is remembered.
        Raises ApiError for a prompt that does not fit, Refused where an edit cannot be applied, and
        Unanswerable where a guard would ask agents.
        """
        turns = self._turns(rules, max_tokens)
        asked = list(dict.fromkeys(prompts))
        running = [self._begun(turns, prompt) for prompt in asked]
        said = dict(zip(asked, self._finished(running), strict=True))
        return [said[prompt] for prompt in prompts]

    def log_probabilities(
        self, pairs: Sequence[tuple[str, str]], rules: Rules | None = None
    ) -> list[LogP]:
        """Of each (prompt, continuation), the log probability of every token of the continuation.

        Nats, after the edits of the rules; the token that would end the answer is not counted.  Of
        an answer that a guard gives itself, its own tokens have 0 and all others -inf.  The text
        filter has no part in this.  Raises as ``answers``; ValueError for an empty continuation.
        """
        turns = self._turns(rules, 1)
        fixed: dict[int, LogP] = {}
        scores: dict[int, Score] = {}
        for index, (prompt, said) in enumerate(pairs):
            case = self._prepared(turns, prompt).case
            ids = self._continuation(case.prompt.text, said)
            if case.answer is not None:
                fixed[index] = _certain(ids, self._continuation(case.prompt.text, case.answer))
            elif case.rewrite is not None:
                raise Unanswerable("agents are not asked here")
            else:
                scores[index] = Score(case.prompt.ids, case.edits, ids)
        found = self._generator.scored(list(scores.values()))
        fixed.update(zip(scores, found, strict=True))
        return [fixed[index] for index in range(len(pairs))]

    def pieces(self, said: str, tokens: int) -> list[tuple[int, int]]:
        """The characters of a continuation that each of its tokens stands for.

        tokens: how many ``log_probabilities`` gave.  Characters are counted in the text as given.
        """
        offsets = self.renderer.plain(said).offsets
        if len(offsets) == tokens:
            return list(offsets)
        spaced = self.renderer.plain(f" {said}").offsets
        return [(max(a - 1, 0), max(b - 1, 0)) for a, b in spaced]

    def forget(self) -> None:
        """Drop every remembered prompt, answer and score: they hold what a request is about."""
        self._plain.clear()
        self._generator.forget()
        if isinstance(self.renderer, RememberingRenderer):
            self.renderer.forget()

    @cached_property
    def chats(self) -> bool:
        """Whether the model has a chat template."""
        try:
            self.renderer.conversation([Message("user", ("?",))], None)
        except InvalidPrompt:
            return False
        return True

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of weights, tokenizer, template, configurations and computing type.

        Every file in the model's folder counts, by path and content, but hidden ones and Markdown.
        """
        files = {
            str(path.relative_to(self._folder)): _digest_of_file(path)
            for path in sorted(self._folder.rglob("*"))
            if path.is_file() and _counts(path.relative_to(self._folder))
        }
        return digest_of(canonical_json({"files": files, "dtype": str(self.engine.model.dtype)}))

    def _turns(self, rules: Rules | None, max_tokens: int) -> Turns:
        rules = self._nothing if rules is None else rules
        generation = Generation(
            n=1,
            max_tokens=max_tokens,
            stream=False,
            include_usage=False,
            stop=(),
            passed={"temperature": 0.0},
            extra=(),
        )
        return Turns(self._preparer, rules, generation, _OPENING)

    def _begun(self, turns: Turns, prompt: str) -> Turn:
        start = time.process_time()
        prepared = self._prepared(turns, prompt)
        return turns.turn(prepared, time.process_time() - start)

    def _finished(self, running: Sequence[Turn]) -> list[Said]:
        """Drives the turns to their ends; what they ask for at the same time runs together."""
        said: dict[int, Said] = {}
        sent: dict[int, Written | None] = dict.fromkeys(range(len(running)))
        while sent:
            asks: dict[int, Ask] = {}
            for index, written in sent.items():
                try:
                    asks[index] = _next(running[index], written)
                except StopIteration as end:
                    said[index] = end.value
            sent = dict(zip(asks, self._generator.written(list(asks.values())), strict=True))
        return [said[index] for index in range(len(running))]

    def _prepared(self, turns: Turns, prompt: str) -> Prepared:
        key = (prompt, turns.generation.max_tokens)
        if turns.rules is not self._nothing:
            return self._decided(turns, prompt)
        if key not in self._plain:
            self._plain[key] = self._decided(turns, prompt)
            while len(self._plain) > KEPT:
                del self._plain[next(iter(self._plain))]
        return self._plain[key]

    def _decided(self, turns: Turns, prompt: str) -> Prepared:
        if not self.chats:
            request = CompletionRequest(turns.generation, (prompt,))
            return self._preparer.completions(request, turns.rules, "", _CASE)[0]
        chat = ChatRequest(turns.generation, (Message("user", (prompt,)),), None, {})
        return self._preparer.chat(chat, turns.rules, "", _CASE)

    def _continuation(self, prompt: str, said: str) -> Ids:
        """Its tokens.  Models begin words with their blank where no template ends before them."""
        joined = self.chats or prompt[-1:].isspace() or said[:1].isspace()
        ids = self.renderer.plain(said if joined else f" {said}").ids
        if not ids:
            raise ValueError("there is nothing to score in an empty continuation")
        return ids


def _next(turn: Turn, written: Written | None) -> Ask:
    """Raises StopIteration with the answer."""
    return next(turn) if written is None else turn.send(written)


def _certain(ids: Ids, answer: Ids) -> LogP:
    """Log probabilities of tokens where the answer is given: 0 as long as they are its own."""
    same = [a == b for a, b in zip(ids, answer, strict=False)]
    agree = same.index(False) if False in same else len(same)
    return np.where(np.arange(len(ids)) < agree, 0.0, -np.inf)


def _counts(path: Path) -> bool:
    return path.suffix != ".md" and not any(part.startswith(".") for part in path.parts)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
