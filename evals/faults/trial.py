"""One installation, healthy or with a fault: set up, forget, ask, revoke, tear down."""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import httpx

from evals.endpoint import Endpoint
from evals.enforcement.roles import Roles
from evals.enforcement.verdicts import verdicts
from evals.faults.door import knock
from evals.faults.fault import Fault
from evals.faults.ground import EXPIRES_S, TENANT, expiring_request, forget_requests
from evals.faults.serve import BARE, ENGINE, GATEWAY, IDLE
from evals.faults.stack import program_running, ready
from evals.knowledge import Knowledge
from evals.probe import Answered, Probe
from service.cli.processes import free_port
from service.cli.stack import bootstrap_key
from service.settings import Settings

CONCURRENCY = 8
SETTLE_S = 1.6  # an expiry is looked for once a second
LOOK_S = 1.2  # so that what expires too early has done so
DOUBT_S = 2.2  # how long a canary may take over another engine
_WARM = ("chat | ", "revoked: before", "expiring: before")

Requests = Mapping[str, str]


@dataclass(frozen=True)
class Ground:
    """What every trial has in common.

    prepared: a data folder with keys and artifacts; copied for each trial.
    """

    known: Knowledge
    who: Roles
    artifacts: Mapping[str, str]
    prepared: Path
    probes: Sequence[Probe]


@dataclass
class Trial:
    """One installation in a folder of its own.

    stops_early: without what takes time or another engine, once some check has failed.
    """

    ground: Ground
    context: ForkServerContext
    folder: Path
    fault: type[Fault] | None = None
    stops_early: bool = False
    answered: list[Answered] = field(default_factory=list)

    def references(self) -> list[Answered]:
        """What is answered while nothing is forgotten; of the doors, as the ordinary one says."""
        wanted = [_without_door(p) for p in self.ground.probes if _is_asked_of_model(p)]
        with ExitStack() as stack:
            self._start(stack)
            return list(self._endpoint().answers(wanted))

    def run(self) -> list[Answered]:
        """Every probe, in the order in which the life of the installation allows it.

        Raises StartFailed.
        """
        with ExitStack() as stack:
            engine = self._start(stack)
            self._warm()
            requests = self._forget()
            self._ask("")
            self._ask("tenant", key=self._tenant_key())
            self._ask("no key", key="lethe_sk_nobody")
            self._knock()
            if self.stops_early and not all(each.passed for each in verdicts(self.answered)):
                return self.answered
            self._revoke(requests.get("revoked"))
            self._ask("revoked")
            self._wait_for_expiry(requests)
            self._ask("expiring")
            engine.close()
            for program, door in ((BARE, "bare engine"), (IDLE, "idle engine")):
                if self._at(door):
                    with program_running(self.context, program, None, self._settings):
                        self._doubt(door)
                        self._ask(door)
        return self.answered

    def _start(self, stack: ExitStack) -> ExitStack:
        shutil.copytree(self.ground.prepared, self.folder, dirs_exist_ok=True)
        self._settings = Settings(
            data_dir=self.folder,
            port=free_port(),
            admin_port=free_port(),
            engine="local",
            engine_url=f"http://127.0.0.1:{free_port()}",
        )
        inner = stack.enter_context(ExitStack())
        for program, where in ((ENGINE, inner), (GATEWAY, stack)):
            fault = self.fault.NAME if self.fault and program == self.fault.PROCESS else None
            where.enter_context(program_running(self.context, program, fault, self._settings))
        return inner

    def _warm(self) -> None:
        """Some of what will be asked is asked before it is forgotten: caches know it then."""
        some = [p for p in self.ground.probes if p.id.startswith(_WARM)]
        for _ in self._endpoint().answers(some):
            pass

    def _forget(self) -> Requests:
        """Post the requests; what must hold at once is asked at once."""
        found: dict[str, str] = {}
        bodies = forget_requests(self.ground.known, self.ground.who, self.ground.artifacts)
        for name in (*bodies, "expiring"):
            if name == "expiring":
                self._posted_at = time.monotonic()
                bodies[name] = expiring_request(self.ground.known, self.ground.who)
            answer = self._admin("POST", "/v1/forget_requests", bodies[name])
            self._note(f"forget request: {name}", answer.status_code, 201)
            if answer.status_code in (200, 201):
                found[name] = answer.json()["id"]
            if name == "first":
                self._ask("at once")
        time.sleep(LOOK_S)
        self._ask("expiring: before")
        self._ask("revoked: before")
        return found

    def _revoke(self, request: str | None) -> None:
        if request is not None:
            answer = self._admin("DELETE", f"/v1/forget_requests/{request}")
            self._note("revocation", answer.status_code, 200)

    def _wait_for_expiry(self, requests: Requests) -> None:
        if "expiring" in requests:
            over = self._posted_at + EXPIRES_S + SETTLE_S
            time.sleep(max(0.0, over - time.monotonic()))

    def _doubt(self, door: str) -> None:
        """Give the gateway the time to come to trust the engine that is there now."""
        for _ in self._endpoint().answers(self._at(door)[:1]):
            pass  # an answer of another engine brings the canary
        deadline = time.monotonic() + DOUBT_S
        while time.monotonic() < deadline and not ready(self._settings):
            time.sleep(0.1)

    def _knock(self) -> None:
        """Requests to the engine itself, past the gateway."""
        for probe in self.ground.probes:
            door = str(probe.about.get("door", ""))
            if door == "engine: unsigned":
                base = f"{self._settings.engine_url}/v1"
                endpoint = replace(self._endpoint("none"), base_url=base)
                self.answered.extend(endpoint.answers([probe]))
            elif door.startswith("engine: "):
                self.answered.append(knock(self._settings, probe, door.removeprefix("engine: ")))

    def _ask(self, door: str, key: str | None = None) -> None:
        if probes := self._at(door):
            self.answered.extend(self._endpoint(key).answers(probes))

    def _at(self, door: str) -> list[Probe]:
        return [p for p in self.ground.probes if p.about.get("door", "") == door]

    def _tenant_key(self) -> str:
        body = {"plane": "data", "tenant": TENANT}
        key: str = self._admin("POST", "/v1/api_keys", body).json()["key"]
        return key

    def _note(self, attack: str, status: int, wanted: int) -> None:
        about: dict[str, Any] = {"judges": ["status"], "status": wanted}
        probe = Probe(id=attack, group="other", attack=attack, layer="P", about=about)
        self.answered.append(Answered(probe=probe, status=status))

    def _endpoint(self, key: str | None = None) -> Endpoint:
        settings = self._settings
        return Endpoint(
            name="trial",
            base_url=f"http://{settings.host}:{settings.port}/v1",
            api_key=key or bootstrap_key(settings.data_dir, "data"),
            model=settings.served_model_name,
            concurrency=CONCURRENCY,
        )

    def _admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        settings = self._settings
        key = bootstrap_key(settings.data_dir, "admin")
        return httpx.request(
            method,
            f"http://{settings.host}:{settings.admin_port}{path}",
            json=body,
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
        )


def _is_asked_of_model(probe: Probe) -> bool:
    door = str(probe.about.get("door", ""))
    return probe.group in ("retain", "other") and door in ("", "revoked", "expiring")


def _without_door(probe: Probe) -> Probe:
    about = {key: value for key, value in probe.about.items() if key != "door"}
    return probe.model_copy(update={"about": about})
