"""Answers that are still being written when their subject has been forgotten meanwhile."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from guards.case import Case
from guards.rules import Rules
from service.control.replica import Replica, ReplicaFenced


class Overtaken:
    """For the cases of one request: whether they have to end, because a later epoch says so.

    An answer keeps the rules that it began with.  Once a newer epoch has been served here for
    ``grace_s``, its prompt is decided anew by that one, once for each epoch; where a policy matches
    that is about none of the subjects that were matched at first, the answer is to end.
    """

    def __init__(
        self,
        replica: Replica,
        rules: Rules,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replica = replica
        self._rules = rules
        self._grace_s = grace_s
        self._clock = clock
        self._since: float | None = None
        self._decided: dict[str, tuple[int, bool]] = {}  # case -> newest epoch asked, its answer

    async def ends(self, case: Case) -> bool:
        """Whether this case's answer is to end now.  Raises as ``Rules.decide``."""
        newest = self._newest()
        if newest is None:
            return False
        epoch, ends = self._decided.get(case.id, (self._rules.epoch, False))
        if epoch != newest.epoch:
            ends = await asyncio.to_thread(self._touched, newest, case)
            self._decided[case.id] = newest.epoch, ends
        return ends

    def _newest(self) -> Rules | None:
        """The rules of now, once something newer than ours has been served for the grace."""
        try:
            rules = self._replica.rules
        except ReplicaFenced:
            return None  # what is being written goes on; nothing new begins
        if rules.epoch == self._rules.epoch:
            return None
        now = self._clock()
        self._since = now if self._since is None else self._since
        return rules if now - self._since >= self._grace_s else None

    def _touched(self, newest: Rules, case: Case) -> bool:
        asked = replace(
            case,
            epoch=newest.epoch,
            matches=(),
            edits=(),
            answer=None,
            instructions=(),
            rewrite=None,
        )
        before = {match.policy for match in case.matches}
        subjects = {self._rules.names(policy) for policy in before}
        found = {match.policy for match in newest.decide(asked).matches} - before
        # A policy that took another's place is about somebody who is guarded already.
        return any(newest.names(policy) not in subjects for policy in found)
