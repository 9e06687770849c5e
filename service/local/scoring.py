"""How likely given continuations are under the edits of their prompt, by the in-process engine."""

import secrets
import time
from dataclasses import dataclass

from guards.signed_edits import SignedEdits
from models.local_engine import LocalEngine
from service.acting import Bindings
from service.admission import CheckedArtifacts, admit
from service.local.body import bad_request
from service.local.edits import interventions
from service.local.wire import Json
from service.scoring import AskedScores, to_json, token_scores
from service.settings import Settings


@dataclass(frozen=True)
class Scoring:
    """Answers the private route on which tokens are scored.  Safe from several threads."""

    engine: LocalEngine
    artifacts: CheckedArtifacts
    bindings: Bindings
    settings: Settings
    key: bytes

    def answer(self, body: bytes) -> Json:
        """The answer's body.  Raises ApiError (400), or Refused where no gateway signed it."""
        try:
            asked = AskedScores.of_body(body)
        except ValueError as error:
            raise bad_request(None, str(error)) from error
        signed = [self._admitted(asked, field) for field in asked.fields]
        longest = max(len(each.forced) for each in signed)
        if len(asked.prompt) + longest > self.settings.max_model_len:
            raise bad_request("prompt", "prompt and continuation are too long")
        keys = [secrets.token_hex(16) for _ in signed]
        try:
            return {"scores": self._scores(asked, signed, keys)}
        finally:
            for key in keys:
                self.bindings.forget(key)

    def _admitted(self, asked: AskedScores, field: str) -> SignedEdits:
        return admit(
            field,
            asked.prompt,
            asked.cache_salt,
            self.key,
            self.artifacts,
            time.time(),
            self.settings.served_model_name,
            scoring=True,
        )

    def _scores(self, asked: AskedScores, signed: list[SignedEdits], keys: list[str]) -> list[Json]:
        # Each continuation has edits of its own: they may remember what came before.
        acting = [
            interventions(each.edits, self.bindings, len(asked.prompt), key)
            for each, key in zip(signed, keys, strict=True)
        ]
        continuations = [each.forced for each in signed]
        try:
            logits = self.engine.logits_of(asked.prompt, continuations, acting)
        except ValueError as error:
            raise bad_request("prompt", str(error)) from error
        return [
            to_json(token_scores(rows, tokens))
            for rows, tokens in zip(logits, continuations, strict=True)
        ]
