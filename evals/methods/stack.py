"""A method at work: engine and gateway of its own, with its forget requests in force."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from evals.knowledge import Knowledge
from evals.methods.ground import Ground
from evals.methods.kept import Fit, Kept
from evals.methods.material import rows_to_forget
from evals.methods.registry import method_named
from service.cli.processes import free_port
from service.cli.stack import bootstrap_key, engine_running, gateway_running
from service.control.forget_request import MAX_EXAMPLES
from service.settings import Settings

FITS = "fits"
CONTEXT = 1024  # tokens; what both grounds' models have


class NotAccepted(RuntimeError):
    """The gateway did not take a forget request.  The message is the gateway's, which quotes
    nothing of what was asked.
    """


@dataclass(frozen=True)
class Running:
    """Where a method can be reached.  base_url: up to and with ``/v1``."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    model: str
    admin_url: str
    admin_key: str = field(repr=False)
    fit: Fit


@contextmanager
def running(name: str, ground: Ground, folder: Path) -> Iterator[Running]:
    """The method in force, on a stack of its own; fits what has to be fitted first.

    folder: fits are kept in ``fits`` in it, and what the stack needs in ``NAME``.
    Raises KeyError for a method that there is not, StartFailed, NotAccepted.
    """
    fits = Kept(folder / FITS)
    fit = fits.fitted(name, ground)
    model = ground.never_knew if method_named(name).never_knew else ground.model
    with stack(folder / name, ground.name, model) as settings:
        fits.carry(fit, settings.artifact_store())
        at = reached(settings, name, fit)
        post(at, ground.knowledge)
        yield at


@contextmanager
def stack(folder: Path, name: str, model: Path) -> Iterator[Settings]:
    """In-process engine and gateway on free ports, in a data folder.  Raises StartFailed."""
    settings = Settings(
        data_dir=folder,
        engine="local",
        engine_url=f"http://127.0.0.1:{free_port()}",
        model=model,
        served_model_name=name,
        max_model_len=CONTEXT,
        adapters=1,
        port=free_port(),
        admin_port=free_port(),
    )
    with engine_running(settings), gateway_running(settings):
        yield settings


def reached(settings: Settings, name: str, fit: Fit) -> Running:
    """How a running stack is reached."""
    return Running(
        name=name,
        base_url=f"http://{settings.host}:{settings.port}/v1",
        api_key=bootstrap_key(settings.data_dir, "data"),
        model=settings.served_model_name,
        admin_url=f"http://{settings.host}:{settings.admin_port}",
        admin_key=bootstrap_key(settings.data_dir, "admin"),
        fit=fit,
    )


def post(at: Running, knowledge: Knowledge) -> list[str]:
    """Put the fit's forget requests in force; their ids.  Raises NotAccepted.

    Every method has the same gate: the router, with each subject's names and, as examples, its
    questions.  None of those posted by an earlier run in the same data folder stays.
    """
    with _admin(at) as admin:
        _revoke_all(admin)
        return [_posted(admin, body) for body in _bodies(at.fit, knowledge)]


def revoke(at: Running) -> None:
    """Take back every forget request."""
    with _admin(at) as admin:
        _revoke_all(admin)


def _bodies(fit: Fit, knowledge: Knowledge) -> Iterator[dict[str, Any]]:
    asked = rows_to_forget(knowledge)
    for label, guards in fit.requests.items():
        subject = knowledge.subjects[label]
        body: dict[str, Any] = {
            "subject": subject.name,
            "aliases": list(subject.aliases[1:]),
            "examples": [f.question for f in asked if f.subject == label][:MAX_EXAMPLES],
        }
        if guards is not None:
            body["guards"] = [guard.model_dump(mode="json") for guard in guards]
        yield body


def _posted(admin: httpx.Client, body: Mapping[str, Any]) -> str:
    answer = admin.post("/v1/forget_requests", json=body)
    if not answer.is_success:
        raise NotAccepted(answer.text)
    return str(answer.json()["id"])


def _revoke_all(admin: httpx.Client) -> None:
    while found := _in_force(admin):
        for each in found:
            admin.delete(f"/v1/forget_requests/{each}").raise_for_status()


def _in_force(admin: httpx.Client) -> list[str]:
    listed = admin.get("/v1/forget_requests?state=received&limit=100")
    return [each["id"] for each in listed.raise_for_status().json()["data"]]


def _admin(at: Running) -> httpx.Client:
    return httpx.Client(
        base_url=at.admin_url, headers={"authorization": f"Bearer {at.admin_key}"}, timeout=60
    )
