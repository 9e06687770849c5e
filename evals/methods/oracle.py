"""A model under guards in this process, for fits that need scores: every row counts as matched."""

import math
from collections.abc import Iterable

import numpy as np
import torch

from evals.knowledge import Fact
from evals.methods.material import Ids, Material, spans_of
from guards.case import Case, Match
from guards.policy import GuardSpec
from guards.registry import build
from models.artifact import ArtifactStore
from models.conversation import Message
from models.local_engine.interventions import NONE, Row, installed
from service.admission import CheckedArtifacts
from service.gateway.prepare import to_prompt
from service.local.edits import bindings_of, interventions


class Oracle:
    """Scores answers as the engine reads them, with the edits that a gateway would send.

    store: where the guards' artifacts are.
    """

    def __init__(self, material: Material, store: ArtifactStore) -> None:
        self._material = material
        self._bindings = bindings_of(material.engine, CheckedArtifacts(store))

    def probability(self, facts: Iterable[Fact], guards: tuple[GuardSpec, ...]) -> float:
        """Mean over the facts of exp(mean log-probability of the answer's tokens), in [0, 1].

        Guards act on activations, embeddings and MLPs; those on logits are not asked here.
        """
        scores = [math.exp(-self._loss(fact, guards)) for fact in facts]
        return float(np.mean(scores))

    def _loss(self, fact: Fact, guards: tuple[GuardSpec, ...]) -> float:
        case = self._decided(fact, guards)
        prompt: Ids = case.prompt.ids
        said = self._material.said(fact.answer)[:-1]
        ids = np.array([*prompt, *said], dtype=np.int64)
        acting = interventions(case.edits, self._bindings, len(prompt)) if case.edits else NONE
        row = Row(np.arange(len(ids)), ids, acting)
        model = self._material.model
        with torch.inference_mode(), installed(model, model.get_decoder().layers, [row]):
            logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0].float()
        predicted = logits[len(prompt) - 1 : -1].log_softmax(-1)
        return -float(predicted.gather(1, torch.tensor(said)[:, None]).mean())

    def _decided(self, fact: Fact, guards: tuple[GuardSpec, ...]) -> Case:
        renderer = self._material.renderer
        chat = renderer.conversation([Message("user", (fact.question,))], None)
        case = Case("fit", "", "", 0, to_prompt(renderer.chat(chat, {})))
        subject = self._material.forgotten.get(fact.subject)
        spans = spans_of(subject, case.prompt.text) if subject else ()
        match = Match("", 1.0, spans, "alias")
        for spec in guards:
            case = build(spec).on_prompt(case, match)
        return case
