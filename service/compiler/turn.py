"""One prompt's way to its answer, as the gateway has it, with the waiting left to the caller.

The same steps as ``service.gateway.run``, over the same Preparer, Choice and Seam; there they wait
for an engine over HTTP, here they hand out what is to be generated.
"""

import time
from collections.abc import Generator as Steps
from collections.abc import Iterable
from dataclasses import dataclass

from guards.rules import Rules
from guards.text_filter import TextFilter
from service.compiler.generating import Ask, Ids, Written
from service.gateway.choice import Choice, Release
from service.gateway.pieces import CONTENT, Piece
from service.gateway.prepare import Prepared, Preparer
from service.gateway.schema import Generation
from service.gateway.seam import Seam
from service.gateway.spoken import spoken


class Unanswerable(RuntimeError):
    """A guard wants agents asked, who are not here."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as a client sees it.

    ids: its tokens, without the one that ended it.  matched: digests of the policies that the
    prompt or the answer touched.  seconds: that it took to decide, and its share of the passes in
    which it was generated.
    """

    text: str
    ids: Ids
    matched: tuple[str, ...]
    seconds: float


Turn = Steps[Ask, Written, Said]
"""Yields what is to be generated, is sent what was written, returns the answer."""


@dataclass(frozen=True)
class Turns:
    """Makes turns under one set of rules."""

    preparer: Preparer
    rules: Rules
    generation: Generation
    opening: int

    def turn(self, prepared: Prepared, seconds: float) -> Turn:
        """The answer to a decided prompt.  seconds: that deciding took.  Raises Unanswerable."""
        state = _State(self, prepared, seconds)
        return state.run()

    def room(self, prepared: Prepared) -> int:
        """Tokens that an answer to this prompt may have."""
        limit = self.preparer.max_model_len - len(prepared.rendered.ids)
        return min(self.generation.max_tokens or limit, limit)

    def new_filter(self, prepared: Prepared) -> TextFilter:
        """A fresh one for one answer."""
        return self.rules.text_filter(prepared.case.tenant, prepared.case.model)


class _State:
    """One turn: what has left so far, and of which tokens it is made."""

    def __init__(self, turns: Turns, prepared: Prepared, seconds: float) -> None:
        self._turns = turns
        self._first = prepared
        self._seconds = seconds
        self._out: list[str] = []
        self._ids: Ids | None = None  # None: not the tokens of one generation

    def run(self) -> Turn:
        choice = Choice(lambda: self._turns.new_filter(self._first), self._turns.opening)
        pieces = yield from self._pieces(self._first, self._turns.room(self._first))
        self._push(choice, pieces)
        touched = [match.policy for match in self._first.case.matches]
        if choice.caught is not None:
            self._ids = None
            touched.append(choice.caught.policy)
            yield from self._after_catch(choice, choice.caught.policy)
        text = "".join(self._out)
        ids = self._turns.preparer.renderer.plain(text).ids if self._ids is None else self._ids
        return Said(text, ids, tuple(dict.fromkeys(touched)), self._seconds)

    def _pieces(self, prepared: Prepared, room: int) -> Steps[Ask, Written, list[Piece]]:
        case = prepared.case
        if case.answer is not None:
            renderer = self._turns.preparer.renderer
            return list(spoken(0, case.answer, self._turns.generation, room, renderer))
        if case.rewrite is not None:
            raise Unanswerable("agents are not asked here")
        written = yield Ask(case.prompt.ids, case.edits, room)
        self._seconds += written.seconds
        self._ids = written.ids
        return [Piece(0, ((CONTENT, written.text),), written.finish)]

    def _after_catch(self, caught: Choice, policy: str) -> Steps[Ask, Written, None]:
        """Go on after the clean text, more strictly; where that cannot be done, end there."""
        if _speaks(self._first):
            self._release(caught.end_here())
            return
        start = time.process_time()
        head = caught.said.rstrip()
        turns = self._turns
        prepared = turns.preparer.again(self._first, head, policy, turns.rules, turns.generation)
        self._seconds += time.process_time() - start
        whole = _speaks(prepared)
        if whole and not caught.silent:
            self._release(caught.end_here())
            return
        fresh, releases = (caught.anew(), []) if whole else caught.restarted()
        self._release(releases)
        seam = None if whole else Seam(caught.said[len(head) :])
        yield from self._second(fresh, prepared, seam)

    def _second(
        self, choice: Choice, prepared: Prepared, seam: Seam | None
    ) -> Steps[Ask, Written, None]:
        used = len(prepared.rendered.ids) - len(self._first.rendered.ids)
        room = self._turns.room(self._first) - used
        if choice.caught is None and room > 0:
            most = self._turns.room(prepared) if seam is None else room
            pieces = yield from self._pieces(prepared, most)
            self._push(choice, pieces if seam is None else map(seam.joined, pieces))
        self._ids = None
        if choice.finish is None:
            self._release(choice.end_here("stop" if room > 0 else "length"))

    def _push(self, choice: Choice, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if not choice.done:
                self._release(choice.push(piece))

    def _release(self, releases: Iterable[Release]) -> None:
        self._out += [release.text for release in releases]


def _speaks(prepared: Prepared) -> bool:
    return prepared.case.answer is not None or prepared.case.rewrite is not None
