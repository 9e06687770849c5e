"""A worker: takes up one compilation at a time, step by step, and puts what comes out in force."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from guards.policy import Policy
from guards.registry import build
from service.audit import AdminEntry, AuditLog
from service.compiler.bench import Bench
from service.compiler.certificate import Certificate
from service.compiler.failure import (
    MOST_ATTEMPTS,
    Failure,
    PolicyUnfit,
    failure_of,
    measures_of,
    worth_retrying,
)
from service.compiler.heart import Heart
from service.compiler.interruption import Interrupted, Interruption
from service.compiler.patience import Patience, Pause, doubling
from service.compiler.step import Step
from service.control.activation import Activation, NotEnforcedYet
from service.control.asked_again import asked_of
from service.control.lease import margin, steady
from service.settings import Settings
from service.store.compilations import Claimed, Job, JobLost
from service.store.forget_requests import ForgetRecord
from service.store.job_rows import RUNNING
from service.store.sealing import SealBroken
from service.store.store import KeyUnavailable, Store, StoreUnavailable

POLL_S = 0.25
CONFIRM_S = 2.0

log = logging.getLogger(__name__)

Opened = Callable[[Settings, Any, str, Policy], Any]
Identity = Callable[[Settings], str]


class Worker:
    """Compiles what waits, one request at a time.  For one thread; several processes may run one.

    Whatever it does is in the store before it does the next thing, so that it may be killed at any
    moment: finished steps are read back, by whoever goes on, and the step under way begins again.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        steps: Sequence[Step],
        model: str,
        open_bench: Opened = Bench.open,
        audit: AuditLog | None = None,
        interruption: Interruption | None = None,
        pause: Pause = doubling,
    ) -> None:
        """steps: in order; the last one verifies, and gives the policy and its certificate.

        model: what is served, as a digest (service/compiler/identity.py).  pause: before a step
        that failed is tried again.
        """
        self.id = f"cw_{secrets.token_hex(8)}"
        self._store = store
        self._jobs = store.compilations
        self._settings = settings
        self._steps = tuple(steps)
        self._model = model
        self._open_bench = open_bench
        self._audit = audit
        self._interruption = interruption or Interruption()
        self._patience = Patience(settings.compiler_lease_s, pause)
        self._activation = Activation(store, settings.lease_s)
        self._next_confirmation = 0.0
        self._refusals: dict[str, float] = {}  # since when an epoch of the request is refused
        self._refusal_s = 2 * (settings.lease_s + margin(settings.lease_s)) + 1.0

    def run(self) -> None:
        """Work until asked to stop.  A store that cannot be reached is waited for."""
        stopping = self._interruption.stopping
        while not stopping.is_set() and not self._patiently(self._recertify, stopping):
            pass
        while not stopping.is_set():
            if not self._patiently(self.once, stopping):
                stopping.wait(POLL_S)

    def once(self) -> bool:
        """Take up one job, if there is one; whether there was.  Raises StoreUnavailable."""
        if steady() >= self._next_confirmation:
            self._next_confirmation = steady() + CONFIRM_S
            self.confirm()
        for job in self._patience.claimable(self._jobs.candidates()):
            claimed = self._claimed(job)
            if claimed is not None:
                self._work(claimed)
                return True
        return False

    def confirm(self) -> None:
        """Note what has come into force since; take back what no replica could load.

        Raises StoreUnavailable.
        """
        for request_id, epoch in self._store.forget_requests.unconfirmed():
            if self._activation.is_everywhere(epoch):
                self._store.forget_requests.mark_enforced(request_id, epoch)
                self._refusals.pop(request_id, None)
            elif self._refused_for_long(request_id, epoch) and self._jobs.withdraw(
                request_id, epoch, Failure.NOT_LOADABLE, self.id
            ):
                log.error("compiled_policy_withdrawn request=%s epoch=%d", request_id, epoch)

    def _recertify(self) -> bool:
        queued = 0
        if not self._settings.recertify:
            return True
        while more := self._jobs.queue_uncertified(self._model, self.id):
            queued += more
        if queued:
            log.warning("model_changed requests_to_compile_again=%d", queued)
        return True

    def _patiently(self, act: Callable[[], bool], stopping: threading.Event) -> bool:
        try:
            return act()
        except (StoreUnavailable, KeyUnavailable) as error:
            # Whatever was under way is in the store, or begins again.
            log.error("store_unavailable kind=%s", type(error).__name__)
            stopping.wait(1.0)
            return False

    def _claimed(self, job: Job) -> Claimed | None:
        ours = self._jobs.claim(job, self.id, self._model)
        if ours is None:
            return None
        if job.status == RUNNING and ours.attempt > MOST_ATTEMPTS:
            self._fail(ours, Failure.CRASHED, retry=False)
            return None
        try:
            return self._jobs.load(ours)
        except JobLost:
            return None
        except SealBroken:
            self._fail(ours, Failure.CONTENT_UNREADABLE, retry=False)
            return None

    def _work(self, claimed: Claimed) -> None:
        job = claimed.job
        log.info("compilation_begun request=%s job=%s", job.forget_request, job.id)
        every_s = self._settings.compiler_lease_s / 4
        broken_off = self._interruption.break_off
        with Heart(self._jobs, job.id, self.id, every_s, broken_off) as heart:
            try:
                record = self._compiled(claimed, heart)
            except JobLost:
                log.warning("compilation_lost job=%s", job.id)
                return
            except Interrupted:
                self._broken_off(job, heart)
                return
            except (StoreUnavailable, KeyUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - a step's boundary: what is in force stays
                self._failed(job, error)
                return
        self._enforced(record)

    def _compiled(self, claimed: Claimed, heart: Heart) -> ForgetRecord:
        job = claimed.job
        asked = asked_of(claimed.record, claimed.policy)
        with self._interruption.inside():
            bench = self._open_bench(self._settings, asked, job.forget_request, claimed.policy)
        results = dict(claimed.results)
        for number, step in enumerate(self._steps):
            if step.name in results:
                continue
            if heart.lost:
                raise JobLost(job.id)
            last = number == len(self._steps) - 1
            self._jobs.begin_step(job.id, self.id, step.name, verifying=last)
            with self._interruption.inside():
                found = step.run(bench, dict(results))
            if last:
                policy, certificate = _outcome(found, claimed.policy)
                return self._jobs.activate(job.id, self.id, policy, certificate)
            fraction = min(1.0, sum(s.share for s in self._steps[: number + 1]))
            self._jobs.finish_step(job.id, self.id, step.name, found, fraction)
            results[step.name] = found
        raise PolicyUnfit("no step gave a policy")

    def _broken_off(self, job: Job, heart: Heart) -> None:
        if heart.lost:
            log.warning("compilation_lost job=%s", job.id)
            return
        self._jobs.release(job.id, self.id)
        log.info("compilation_put_back job=%s", job.id)

    def _failed(self, job: Job, error: Exception) -> None:
        failure = failure_of(error)
        # How often the step has been begun: finished steps begin the count anew.
        attempt = self._jobs.get(job.id).attempt
        # The kind of error only: its text could quote what is to be forgotten.
        log.error("compilation_step_failed job=%s kind=%s", job.id, type(error).__name__)
        self._fail(job, failure, measures_of(error), retry=worth_retrying(failure, attempt))

    def _fail(self, job: Job, failure: Failure, detail: str = "", *, retry: bool) -> None:
        try:
            self._jobs.fail(job.id, self.id, failure, detail, retry=retry)
        except JobLost:
            log.warning("compilation_lost job=%s", job.id)
            return
        log.error(
            "compilation_failed, what is in force stays: request=%s job=%s code=%s %s retry=%s",
            job.forget_request,
            job.id,
            failure,
            detail,
            retry,
        )
        self._note("compile_failed", job.forget_request)

    def _enforced(self, record: ForgetRecord) -> None:
        log.info("compilation_active request=%s epoch=%d", record.id, record.epoch)
        self._note("activate", record.id, record.policy or "", record.epoch)
        try:
            asyncio.run(self._activation.everywhere(record.epoch))
        except NotEnforcedYet:
            log.error("enforcement_pending request=%s epoch=%d", record.id, record.epoch)
            self._refusals.setdefault(record.id, steady() - self._refusal_s)
        self.confirm()

    def _refused_for_long(self, request_id: str, epoch: int) -> bool:
        # A replica may refuse at first for want of something that comes back: a key, an encoder.
        if not any(row.refused_epoch >= epoch for row in self._store.replicas.all()):
            self._refusals.pop(request_id, None)
            return False
        return steady() - self._refusals.setdefault(request_id, steady()) >= self._refusal_s

    def _note(self, act: str, target: str, digest: str = "", epoch: int = 0) -> None:
        if self._audit is not None:
            entry = AdminEntry(act=act, key=self.id, target=target, digest=digest, epoch=epoch)
            self._audit.write(entry)


def _outcome(found: Any, before: Policy) -> tuple[Policy, dict[str, Any]]:
    """The policy and its certificate.  Raises PolicyUnfit where they do not enforce the same."""
    try:
        policy = Policy.from_json(found["policy"])
        certificate = Certificate.model_validate(found["certificate"]).model_dump(mode="json")
        for spec in policy.guards:
            build(spec)
    except (KeyError, TypeError, ValueError, ValidationError):
        raise PolicyUnfit("not a policy with a certificate") from None
    same = (
        policy.forget_request == before.forget_request
        and policy.tenants == before.tenants
        and policy.models == before.models
        and set(before.aliases) <= set(policy.aliases)
    )
    if not same or not policy.guards:
        raise PolicyUnfit("it is about something else")
    return policy, {"certificate": certificate, "artifact": policy.certificate}
