"""A guard at work: the same questions before and after, through a gateway and an engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
from openai import OpenAI

from guards.policy import GuardSpec
from models.chat_prompt import PromptRenderer
from models.local_engine import LocalEngine
from service.cli.processes import free_port
from service.cli.stack import bootstrap_key, engine_running, gateway_running
from service.demonstrations.demo_ground import (
    answers,
    demo_ground,
    held_out_questions,
    near_questions,
)
from service.demonstrations.registry import demonstration
from service.settings import Settings

TWIN = Path(__file__).parents[2] / "models/demo/weights/demo-never-knew"
NEAR = 4
_LONGEST = 48

Say = Callable[[str], None]


class Refused(RuntimeError):
    """The gateway did not take the forget request."""


class Answered(NamedTuple):
    """One question.  about: whether it is about the subject."""

    question: str
    before: str
    after: str
    never_knew: str
    about: bool


@dataclass(frozen=True)
class Shown:
    """specs: what was put in force.  rows: what was asked."""

    specs: tuple[GuardSpec, ...]
    rows: tuple[Answered, ...]


def show(guard: str, subject: str, settings: Settings, say: Say) -> Shown:
    """Fit the guard to somebody of the demo world, forget them by it alone, and ask.

    settings: for a data folder of its own.  say: told what is going on.  Raises KeyError,
    NobodyOfThatName, StartFailed, Refused.
    """
    build = demonstration(guard)
    engine = LocalEngine.load(settings.model)
    renderer = PromptRenderer(settings.model)
    say(f"making {guard} ready for {subject}")
    ground = demo_ground(engine, renderer, settings.artifact_store(), subject)
    specs = build(ground)
    about = held_out_questions(subject)
    asked = (*about, *near_questions(subject, NEAR))
    say("asking the model that never knew")
    never_knew = answers(LocalEngine.load(TWIN), PromptRenderer(TWIN), asked)
    say(f"starting the engine ({settings.engine}) and the gateway")
    with engine_running(settings), gateway_running(settings):
        client = _Client(settings)
        say("asking before")
        before = client.ask(asked)
        client.forget(ground.subject, ground.aliases, specs)
        say("asking after")
        after = client.ask(asked)
    rows = zip(asked, before, after, never_knew, strict=True)
    return Shown(specs, tuple(Answered(*row, row[0] in about) for row in rows))


def own_settings(folder: Path, engine: str) -> Settings:
    """Settings on free ports and a folder of their own, with room for one adapter."""
    given = {
        "data_dir": folder,
        "engine": engine,
        "adapters": 1,
        "port": free_port(),
        "admin_port": free_port(),
        "engine_url": f"http://127.0.0.1:{free_port()}",
    }
    return Settings().model_copy(update=given)


class _Client:
    def __init__(self, settings: Settings) -> None:
        key = bootstrap_key(settings.data_dir, "data")
        self._openai = OpenAI(
            base_url=f"http://127.0.0.1:{settings.port}/v1", api_key=key, timeout=300
        )
        self._admin = f"http://127.0.0.1:{settings.admin_port}/v1/forget_requests"
        self._admin_key = bootstrap_key(settings.data_dir, "admin")
        self._model = settings.served_model_name

    def ask(self, questions: Sequence[str]) -> list[str]:
        return [self._answer(question) for question in questions]

    def _answer(self, question: str) -> str:
        said = self._openai.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": question}],
            max_tokens=_LONGEST,
            temperature=0,
        )
        return (said.choices[0].message.content or "").strip()

    def forget(self, subject: str, aliases: Sequence[str], specs: Sequence[GuardSpec]) -> None:
        body = {
            "subject": subject,
            "aliases": list(aliases),
            "guards": [{"kind": spec.kind, "options": dict(spec.options)} for spec in specs],
        }
        headers = {"authorization": f"Bearer {self._admin_key}"}
        answer = httpx.post(self._admin, json=body, headers=headers, timeout=60)
        if not answer.is_success:
            raise Refused(answer.text)
