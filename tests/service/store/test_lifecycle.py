"""The life of forget requests, against a dictionary that does the same."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from guards.policy import Policy
from service.settings import Settings
from service.store.forget_requests import (
    IdempotencyMismatch,
    NewForgetRequest,
    UnknownForgetRequest,
)
from service.store.state import ENFORCED, State
from service.store.store import open_store


class Life(RuleBasedStateMachine):
    """model: id -> (state, expires at).  The store is closed and opened again at any time."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.settings = Settings(data_dir=Path(self.folder.name))
        self.store = open_store(self.settings)
        self.model: dict[str, tuple[State, int | None]] = {}
        self.keys: dict[str, tuple[str, int]] = {}
        self.epoch = 0
        self.now = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(target=ids, subject=st.integers(0, 3), lasts=st.none() | st.integers(1, 5))
    def forget(self, subject: int, lasts: int | None) -> str:
        expires_at = None if lasts is None else self.now + lasts
        new = self._new(subject, expires_at)
        added = self.store.forget_requests.add(new)
        assert added.created
        return self._accepted(new.id, expires_at)

    @rule(target=ids, key=st.sampled_from("ab"), subject=st.integers(0, 1))
    def forget_with_a_key(self, key: str, subject: int) -> str:
        new = self._new(subject, None, key)
        before = self.keys.get(key)
        if before is None:
            self.store.forget_requests.add(new)
            self.keys[key] = (new.id, subject)
            return self._accepted(new.id, None)
        first, same = before
        if same == subject and self.model[first][0] in ENFORCED:
            added = self.store.forget_requests.add(new)
            assert (added.record.id, added.created) == (first, False)
        elif self.model[first][0] in ENFORCED:
            with pytest.raises(IdempotencyMismatch):
                self.store.forget_requests.add(new)
        return first

    @rule(request_id=ids)
    def revoke(self, request_id: str) -> None:
        record = self.store.forget_requests.revoke(request_id, "key_x")
        state, expires_at = self.model[request_id]
        if state in ENFORCED:
            self.epoch += 1
            self.model[request_id] = (State.REVOKED, expires_at)
        assert record.state == self.model[request_id][0]

    @rule(seconds=st.integers(0, 3))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds
        due = {
            key
            for key, (state, expires_at) in self.model.items()
            if state in ENFORCED and expires_at is not None and expires_at <= self.now
        }
        assert set(self.store.forget_requests.expire_due(self.now)) == due
        self.epoch += bool(due)
        for key in due:
            self.model[key] = (State.EXPIRED, self.model[key][1])

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = open_store(self.settings)

    @rule()
    def ask_for_one_that_is_not_there(self) -> None:
        with pytest.raises(UnknownForgetRequest):
            self.store.forget_requests.get("fr_unknown")

    @invariant()
    def the_epoch_lists_what_is_in_force(self) -> None:
        epoch = self.store.epochs.load()
        active = [key for key, (state, _) in self.model.items() if state in ENFORCED]
        assert [policy.forget_request for policy in epoch.policies] == active
        assert epoch.number == self.epoch

    @invariant()
    def the_records_are_the_model_newest_first(self) -> None:
        page = self.store.forget_requests.page(state=None, after=None, limit=1000)
        assert [(r.id, r.state) for r in page.records] == [
            (key, state) for key, (state, _) in reversed(self.model.items())
        ]
        assert all((r.content is None) == (r.state not in ENFORCED) for r in page.records)

    def _new(self, subject: int, expires_at: int | None, key: str | None = None) -> Any:
        request_id = f"fr_{len(self.model)}"
        return NewForgetRequest(
            id=request_id,
            content={"subject": f"Subject {subject}"},
            strategy="auto",
            policy=Policy(request_id, (f"Subject {subject}",)),
            by="key_x",
            expires_at=expires_at,
            idempotency=key,
        )

    def _accepted(self, request_id: str, expires_at: int | None) -> str:
        self.epoch += 1
        self.model[request_id] = (State.RECEIVED, expires_at)
        return request_id


TestLife = Life.TestCase
TestLife.settings = hypothesis_settings(max_examples=12, stateful_step_count=20, deadline=None)
