"""Faults inside the engine: edits that act on the wrong rows, in the wrong place, or not at all."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from evals.faults.fault import Fault, swap

_ADMITTED = "service.local.generation:Admission._admitted"
_INTERVENTIONS = "service.local.generation:interventions"


class _OfEmbedding(Fault):
    LAYER = "L2"
    PROCESS = "engine"


class EditsDropped(_OfEmbedding):
    """See BROKEN."""

    NAME = "edits-dropped"
    BROKEN = "the engine takes edits and applies none"

    def install(self) -> None:
        swap(_ADMITTED, lambda admitted: lambda *given: (admitted(*given), ())[1])


class WrongRow(_OfEmbedding):
    """See BROKEN."""

    NAME = "wrong-row"
    BROKEN = "each request is given the edits of the one before it"

    def install(self) -> None:
        def shifted(admitted: Callable[..., Any]) -> Callable[..., Any]:
            before: list[Any] = [()]

            def wrong(admission: Any, body: Any, ids: Any) -> Any:
                mine = admitted(admission, body, ids)
                theirs, before[0] = before[0], mine
                return theirs

            return wrong

        swap(_ADMITTED, shifted)


class DroppedUnderLoad(_OfEmbedding):
    """See BROKEN."""

    NAME = "edits-dropped-under-load"
    BROKEN = "edits are applied only while fewer than three answers are under way"

    def install(self) -> None:
        running = [0]

        def counted(steps: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(generation: Any, index: int) -> Any:
                running[0] += 1
                busy = running[0] > 2
                given = replace(generation, edits=()) if busy else generation
                return _and_then(steps(given, index), running)

            return wrong

        swap("service.local.generation:Generation.deltas", counted)


class OnlyFirstChoice(_OfEmbedding):
    """See BROKEN."""

    NAME = "only-first-choice-edited"
    BROKEN = "choices after the first run without edits"

    def install(self) -> None:
        swap(
            "service.local.generation:Generation.deltas",
            lambda deltas: (
                lambda generation, index: deltas(
                    replace(generation, edits=()) if index else generation, index
                )
            ),
        )


class PositionsOffByOne(_OfEmbedding):
    """See BROKEN."""

    NAME = "positions-off-by-one"
    BROKEN = "edits act one token too late"

    def install(self) -> None:
        def later(positions: Callable[[Any], Any]) -> Callable[[Any], Any]:
            return lambda edit: positions(edit) + 1

        swap("service.acting:_positions", later)


class OnlyFirstSpan(_OfEmbedding):
    """See BROKEN."""

    NAME = "only-first-mention-edited"
    BROKEN = "of several mentions of a name only the first is edited"

    def install(self) -> None:
        swap(
            "service.acting:_positions",
            lambda positions: lambda edit: positions(replace(edit, positions=edit.positions[:1])),
        )


class NoiseDrawnAnew(_OfEmbedding):
    """See BROKEN."""

    NAME = "noise-drawn-anew"
    BROKEN = "noise is drawn anew for every answer instead of from the policy's seed"

    def install(self) -> None:
        def anew(corrupt: Callable[..., Any]) -> Callable[..., Any]:
            dice = random.Random()
            return lambda name, rows, how: corrupt(
                name, rows, how._replace(seed=dice.getrandbits(63))
            )

        swap("guards.embedding_corruption:corrupt", anew)


class TooWeak(_OfEmbedding):
    """See BROKEN."""

    NAME = "strength-without-scale"
    BROKEN = "strength is not multiplied by the scale of the model's embeddings"

    def install(self) -> None:
        def unscaled(act: Any) -> Any:
            original = act.__func__
            return staticmethod(lambda rows, at, how, scale: original(rows, at, how, scale**2))

        swap("guards.embedding_corruption:EmbeddingCorruption.on_embedding", unscaled)


class CorruptsEverybody(_OfEmbedding):
    """See BROKEN."""

    NAME = "corrupts-everybody"
    BROKEN = "the engine blurs the first tokens of every prompt"

    def install(self) -> None:
        def blurring(generate: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(engine: Any, ids: Any, how: Any, acting: Any) -> Any:
                def act(rows: Any, positions: Any, history: Any) -> Any:
                    if acting.embedding is not None:
                        rows = acting.embedding(rows, positions, history)
                    rows = rows.clone()
                    rows[positions < 8] = 0.0
                    return rows

                return generate(engine, ids, how, replace(acting, embedding=act))

            return wrong

        swap("models.local_engine.engine:LocalEngine.generate", blurring)

    # Positions below eight: the beginning of the chat template and of what a user says.


class FirstSegmentationOnly(Fault):
    """See BROKEN."""

    NAME = "one-segmentation-banned"
    BROKEN = "a phrase is banned as one sequence of token ids; other ways to cut it are open"
    LAYER = "L3"
    PROCESS = "engine"

    def install(self) -> None:
        swap("guards.token_filter:TokenFilter.bind", lambda _: staticmethod(_by_ids_only))


class LogitsEditsDropped(Fault):
    """See BROKEN."""

    NAME = "logits-edits-dropped"
    BROKEN = "edits of next-token logits are not applied"
    LAYER = "L3"
    PROCESS = "engine"

    def install(self) -> None:
        swap("service.local.edits:_logits", lambda _: lambda *_given: None)


class _SequencesOfIds:
    """Forbids the last token of one spelling of each phrase, after the tokens before it."""

    def __init__(self, sequences: list[tuple[int, ...]]) -> None:
        self._sequences = sequences

    def apply(self, rows: Any, histories: Any) -> None:
        for row, history in zip(rows, histories, strict=True):
            said = tuple(history.output)
            for ids in self._sequences:
                if len(ids) == 1 or said[-len(ids) + 1 :] == ids[:-1]:
                    row[ids[-1]] = -np.inf

    def forget(self, key: str) -> None:
        del key


def _by_ids_only(artifact: Any, model: Any) -> _SequencesOfIds:
    """The naive ban: of the longest pieces that spell a phrase from its beginning.

    The artifact's automaton cannot be read back, so the phrases come from the demo world.
    """
    from evals.faults.ground import banned_phrases, knowledge, roles

    del artifact
    known = knowledge()
    banned = banned_phrases(known, roles(known))
    pieces = {piece: number for number, piece in enumerate(model.vocabulary.pieces)}
    found = [_longest_first(f" {name}".encode(), pieces) for name in banned]
    return _SequencesOfIds([ids for ids in found if ids])


def _longest_first(text: bytes, pieces: dict[bytes, int]) -> tuple[int, ...]:
    ids: list[int] = []
    while text:
        size = next((n for n in range(len(text), 0, -1) if text[:n] in pieces), 0)
        if not size:
            return ()
        ids.append(pieces[text[:size]])
        text = text[size:]
    return tuple(ids)


def _and_then(steps: Any, running: list[int]) -> Any:
    try:
        yield from steps
    finally:
        running[0] -= 1
