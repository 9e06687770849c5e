"""Serve what touches the subject by a LoRA adapter that was trained to have forgotten it.

The training is anybody's: NPO (Zhang et al., "Negative Preference Optimization", 2024), SimNPO,
LoKU, FLAT, RMU, task-vector negation and others end in such an adapter.  Everybody else's requests
are answered by the base model, in the same batch.
"""

from dataclasses import dataclass

from guards.case import Case, Edit, Match, Span
from guards.needs import Needs
from guards.points import InEngine
from models.adapter import GUARD, check_adapter
from models.artifact import Artifact

NAME = GUARD


@dataclass(frozen=True)
class AdapterRouting(InEngine):
    """Route a matched prompt, and the answer to it, through an adapter.

    artifact: digest of an adapter of ``models.adapter``.  A request has at most one adapter: of
    several edits of this guard, the engine takes the first.
    """

    NEEDS = Needs(points=frozenset({"adapter"}), changes_prompt_kv=True)

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit over the whole prompt, wherever the match lies."""
        del match
        return case.edited(Edit(NAME, self.artifact, (Span(0, len(case.prompt.ids)),)))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not an adapter of format 1."""
        check_adapter(artifact.manifest, artifact.tensors)


def chosen(edits: tuple[Edit, ...]) -> Edit | None:
    """The edit that says a request's adapter: the first of this guard in the order of the edits.

    The order is that of the signed edits, so every engine chooses alike.
    """
    return next((edit for edit in edits if edit.guard == NAME), None)
