"""Compilations against a dictionary that does the same, with workers that die at any moment."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from guards.policy import GuardSpec, Policy
from service.settings import Settings
from service.store.compilations import JobLost, NotCompilable
from service.store.forget_requests import NewForgetRequest
from service.store.state import ENFORCED, State
from service.store.store import open_store

STEPS = ("elicit", "fit")
MODEL = "sha256:" + "1" * 64
WORKERS = st.sampled_from(("cw_a", "cw_b"))


class Compiling(RuleBasedStateMachine):
    """model: id -> what is known of it.  A worker that claims holds the job until another does; the
    one before is a ghost, and whatever it writes must be refused."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.settings = Settings(data_dir=Path(self.folder.name))
        self.store = open_store(self.settings)
        self.model: dict[str, dict[str, Any]] = {}
        self.epoch = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(target=ids)
    def forget(self) -> str:
        request_id = f"fr_{len(self.model)}"
        policy = Policy(request_id, ("Ilse",), guards=(GuardSpec("text_filter"),))
        new = NewForgetRequest(request_id, {}, "auto", policy, "key_x", compiled=True)
        self.store.forget_requests.add(new)
        self.epoch += 1
        self.model[request_id] = {
            "state": State.RECEIVED,
            "status": "waiting",
            "holder": "",
            "steps": (),
            "certified": False,
        }
        return request_id

    @rule(request_id=ids, worker=WORKERS)
    def claim(self, request_id: str, worker: str) -> None:
        known = self.model[request_id]
        job = self.store.compilations.latest([request_id])[request_id]
        if known["status"] not in ("waiting", "running"):
            assert self.store.compilations.claim(job, worker, MODEL) is None
            return
        claimed = self.store.compilations.claim(job, worker, MODEL)
        assert claimed is not None
        results = self.store.compilations.load(claimed).results
        assert tuple(name for name in STEPS if name in results) == known["steps"]
        assert self.store.compilations.claim(job, "cw_late", MODEL) is None
        known.update(state=State.COMPILING, status="running", holder=worker)

    @rule(request_id=ids, worker=WORKERS)
    def finish_a_step(self, request_id: str, worker: str) -> None:
        known = self.model[request_id]
        left = [name for name in STEPS if name not in known["steps"]]
        job = self.store.compilations.latest([request_id])[request_id]
        if not left:
            return
        if not self._holds(known, worker):
            with pytest.raises(JobLost):
                self.store.compilations.finish_step(job.id, worker, left[0], {}, 0.5)
            return
        self.store.compilations.finish_step(job.id, worker, left[0], {"of": left[0]}, 0.5)
        known["steps"] = (*known["steps"], left[0])

    @rule(request_id=ids, worker=WORKERS)
    def verify_and_activate(self, request_id: str, worker: str) -> None:
        known = self.model[request_id]
        job = self.store.compilations.latest([request_id])[request_id]
        policy = Policy(request_id, ("Ilse", f"Ilse {self.epoch}"), guards=(GuardSpec("refusal"),))
        if not self._holds(known, worker):
            with pytest.raises(JobLost):
                self.store.compilations.activate(job.id, worker, policy, {})
            return
        self.store.compilations.begin_step(job.id, worker, "certify", verifying=True)
        record = self.store.compilations.activate(job.id, worker, policy, {})
        self.epoch += 1
        assert (record.policy, record.epoch) == (policy.digest, self.epoch)
        known.update(state=State.ACTIVE, status="done", holder="", steps=(), certified=True)

    @rule(request_id=ids, worker=WORKERS, retry=st.booleans())
    def fail(self, request_id: str, worker: str, retry: bool) -> None:
        known = self.model[request_id]
        job = self.store.compilations.latest([request_id])[request_id]
        if not self._holds(known, worker):
            with pytest.raises(JobLost):
                self.store.compilations.fail(job.id, worker, "step_failed", retry=retry)
            return
        self.store.compilations.fail(job.id, worker, "step_failed", retry=retry)
        state = State.ACTIVE if known["certified"] else State.RECEIVED
        status, steps = ("waiting", known["steps"]) if retry else ("failed", ())
        known.update(state=state, status=status, holder="", steps=steps)

    @rule(request_id=ids)
    def ask_again(self, request_id: str) -> None:
        known = self.model[request_id]
        if known["state"] not in ENFORCED:
            with pytest.raises(NotCompilable):
                self.store.compilations.queue(request_id, "key_x")
            return
        self.store.compilations.queue(request_id, "key_x")
        if known["status"] not in ("waiting", "running"):
            state = State.COMPILING if known["state"] is State.ACTIVE else State.RECEIVED
            known.update(state=state, status="waiting")

    @rule(request_id=ids)
    def revoke(self, request_id: str) -> None:
        known = self.model[request_id]
        self.store.forget_requests.revoke(request_id, "key_x")
        if known["state"] in ENFORCED:
            self.epoch += 1
            under_way = known["status"] in ("waiting", "running")
            status = "cancelled" if under_way else known["status"]
            known.update(state=State.REVOKED, status=status, holder="", steps=())

    @rule()
    def everything_dies(self) -> None:
        """Connections are dropped: what was committed stays, what was not never was."""
        self.store._database.engine.dispose()
        self.store.close()
        self.store = open_store(self.settings)

    @invariant()
    def the_store_is_the_model(self) -> None:
        jobs = self.store.compilations.latest(self.model)
        for request_id, known in self.model.items():
            record = self.store.forget_requests.get(request_id)
            assert (record.state, jobs[request_id].status) == (known["state"], known["status"])
        assert self.store.epochs.newest() == self.epoch
        listed = [p.forget_request for p in self.store.epochs.load().policies]
        assert listed == [i for i, known in self.model.items() if known["state"] in ENFORCED]

    def _holds(self, known: dict[str, Any], worker: str) -> bool:
        return bool(known["status"] == "running" and known["holder"] == worker)


TestCompiling = Compiling.TestCase
TestCompiling.settings = hypothesis_settings(max_examples=10, stateful_step_count=25, deadline=None)
