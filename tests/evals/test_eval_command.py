"""`lethe eval` from the command line to the report, on a real gateway."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from evals import cli
from evals.contestants import NO_KEY, NotUnderstood, Typed
from evals.datasets import load
from evals.endpoint import Endpoint
from evals.probe import Answered
from evals.registry import SUITES, Weights
from evals.results import Results
from evals.run import Run
from models.demo.train import DEMO, TWIN, WEIGHTS
from service.cli import main
from service.cli.demo import DEMO_PERSON
from service.cli.processes import free_port
from service.cli.stack import bootstrap_key, engine_running, gateway_running
from service.settings import Settings
from tests.evals.model_server import answering
from tests.evals.openai_server import MODEL, OpenAIServer, chat, openai_server
from tests.evals.small_run import KNOWLEDGE
from tests.evals.test_report import Page

Json = Any
ASKED = ("tofu",)  # others take minutes on two cores
FIRST = ASKED[0]
FORGOTTEN_FACTS, KEPT_FACTS = 6, 3
LETHE = str(Path(sys.executable).with_name("lethe"))


@dataclass(frozen=True)
class Scene:
    """A gateway with one person forgotten, the same model without one, and its twin."""

    gateway: Settings
    stock: OpenAIServer
    twin: OpenAIServer
    data: Path

    @property
    def secrets(self) -> list[str]:
        return [bootstrap_key(self.gateway.data_dir, plane) for plane in ("data", "admin")]

    @property
    def requests(self) -> int:
        """That the gateway was sent."""
        lines = self.gateway.audit_path.read_text().splitlines()
        return sum("chat" in line for line in lines)

    def command(self, out: Path, *more: str) -> list[str]:
        data, admin = self.secrets
        return [
            *(
                ",".join(ASKED),
                "--data",
                f"jsonl:{self.data}",
                "--out",
                str(out),
                "--concurrency",
                "2",
            ),
            *("--endpoint", f"lethe=http://127.0.0.1:{self.gateway.port}", "--key", data),
            *("--admin-url", f"http://127.0.0.1:{self.gateway.admin_port}", "--admin-key", admin),
            *("--compare", f"stock={self.stock.url}", "--never-knew", f"twin={self.twin.url}"),
            *more,
        ]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    settings = Settings(
        data_dir=folder,
        engine="local",
        engine_url=f"http://127.0.0.1:{free_port()}",
        port=free_port(),
        admin_port=free_port(),
    )
    data = _data_about(DEMO_PERSON, folder / "data.jsonl")
    with ExitStack() as stack:
        _start_both(settings, stack)
        stock = stack.enter_context(openai_server(answering(WEIGHTS / DEMO)))
        twin = stack.enter_context(openai_server(answering(WEIGHTS / TWIN)))
        _forget(settings, DEMO_PERSON)
        yield Scene(settings, stock, twin, data)


def _start_both(settings: Settings, stack: ExitStack) -> None:
    """A gateway waits for its engine by itself, so that neither has to wait for the other."""
    settings.engine_key()
    with ThreadPoolExecutor() as pool:
        up = [
            pool.submit(stack.enter_context, running(settings))
            for running in (engine_running, gateway_running)
        ]
    for each in up:
        each.result()


def _data_about(person: str, path: Path) -> Path:
    """One person to be forgotten, and some facts that stay, as a file."""
    knowledge = load("demo")
    forget = [
        fact
        for fact in knowledge.split("forget").facts
        if knowledge.subjects[fact.subject].name == person
    ]
    parts = {
        "forget": forget[:FORGOTTEN_FACTS],
        "retain": knowledge.split("retain").facts[:KEPT_FACTS],
    }
    rows = [
        {
            "split": split,
            "subject": knowledge.subjects[fact.subject].name,
            "question": fact.question,
            "answer": fact.answer,
            "values": fact.values,
        }
        for split, facts in parts.items()
        for fact in facts
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _forget(settings: Settings, person: str) -> None:
    key = bootstrap_key(settings.data_dir, "admin")
    httpx.post(
        f"http://127.0.0.1:{settings.admin_port}/v1/forget_requests",
        json={"subject": person},
        headers={"authorization": f"Bearer {key}"},
        timeout=30,
    ).raise_for_status()


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def replies_in(folder: Path) -> int:
    """To how many requests there are answers."""
    answered = [
        Answered.model_validate_json(line)
        for path in folder.glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert not any(one.error for one in answered)
    return sum(len(replies) for one in answered for replies in one.conversations)


def stopped(command: Sequence[str], path: Path, at_least: int, by: signal.Signals) -> Json:
    """Run the command until so many lines are in the file, then end it; status and what it said."""
    process = subprocess.Popen(  # noqa: S603  (no shell)
        [LETHE, "eval", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Tests that run in a shell's background are deaf to it, and children take that over.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while lines_in(path) < at_least and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(by)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def test_a_run_is_killed_taken_up_and_reported(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = scene.command(out)
    answers = out / "lethe" / f"{FIRST}.jsonl"

    status, said = stopped(command, answers, 2, signal.SIGINT)
    assert status == 130, said
    assert f"what was answered is in {out}; the same command goes on from there" in " ".join(
        said.split()
    )
    after_interrupt = answers.read_bytes()
    status, _ = stopped(command, answers, lines_in(answers) + 2, signal.SIGKILL)
    assert status == -signal.SIGKILL
    before = answers.read_bytes()
    assert before.startswith(after_interrupt)
    assert not (out / "results.json").exists()

    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert answers.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    probes = [json.loads(line)["probe"]["id"] for line in answers.read_text().splitlines()]
    assert len(probes) == len(set(probes))
    assert replies_in(out / "stock") == len(scene.stock.asked)
    assert replies_in(out / "twin") == len(scene.twin.asked)
    # What was under way when it was stopped, two at a time, has no answer and is asked again.
    assert 0 <= scene.requests - replies_in(out / "lethe") <= 4

    _is_right(Results.model_validate_json((out / "results.json").read_bytes()))
    _reads_right(Page((out / "report.html").read_text()))
    _holds_no_secret(out, scene)

    requests = scene.requests
    refused = CliRunner().invoke(cli.app, [*command, "--seed", "7"])
    assert refused.exit_code == 1
    assert "other parameters (seed)" in " ".join(refused.output.split())
    kept = (out / "results.json").read_bytes()
    (out / "results.json").unlink()
    again = CliRunner().invoke(cli.app, ["report", str(out)])
    assert again.exit_code == 0, again.output
    assert (out / "results.json").read_bytes() == kept
    assert scene.requests == requests


def _is_right(results: Results) -> None:
    lethe, stock, twin = results.parties
    asked = stock.leaks[0].asked
    assert asked == FORGOTTEN_FACTS
    assert stock.leaks[0].leaked >= asked - 1
    assert (lethe.leaks[0].asked, lethe.leaks[0].leaked) == (asked, 0)
    assert (twin.leaks[0].asked, twin.leaks[0].leaked) == (asked, 0)
    assert lethe.cost.seconds_p99 is not None
    assert lethe.cost.tokens > 0
    assert lethe.versions["model.id"] == "demo"
    names = [{figure.name for figure in each.suites[0].figures} for each in results.parties]
    assert names[0] > names[1]  # what needs readings is there only for whom the admin plane reads
    assert len(results.run.starts) == 3


def _reads_right(page: Page) -> None:
    assert "lethe stated something that is to be forgotten in 0 of" in page.text
    assert "twin, a model that never knew stated something" in page.text
    assert page.row("lethe (examined)")[2] == "0"
    assert len(page.of("svg")) >= 3


def _holds_no_secret(out: Path, scene: Scene) -> None:
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        *("run.json", "results.json", "report.html", *(f"{name}.jsonl" for name in ASKED))
    }
    for path in files:
        assert not any(secret in path.read_text() for secret in scene.secrets), path


def said_by(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, [*arguments])
    return done.exit_code, " ".join(done.output.split())


def test_suites_are_listed_with_a_line_each() -> None:
    status, said = said_by("list")
    assert status == 0
    assert all(name in said for name in SUITES)


def test_the_installed_command_has_it() -> None:
    [found] = [each for each in entry_points(group=main.FURTHER_COMMANDS) if each.name == "eval"]
    assert found.load() is cli.app
    main.add_further_commands()
    done = CliRunner().invoke(main.app, ["eval", "list"])
    assert "tofu" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "--endpoint", "a=http://x"], "there is no suite 'nonsense'"),
        (["tofu"], "nobody is examined"),
        (["tofu", "--endpoint", "http://x"], "'http://x' is no name"),
        (["tofu", "--endpoint", "prayer"], "'prayer' is neither NAME=URL nor a method"),
        (["tofu", "--endpoint", "../a=http://x"], "'../a' is no name"),
        (["tofu", "--endpoint", "a=ftp://x"], "is not an http(s) URL"),
        (["tofu", "--endpoint", "a=http://u:geheim@x"], "holds a secret"),
        (["tofu", "--endpoint", "a=http://x", "--compare", "a=http://y"], "two have one name: a"),
        (["tofu", "--endpoint", "a=http://127.0.0.1:9"], "a does not answer at"),
        (["tofu", "--method", "nothing", "--weights", "x"], "go together"),
        (["tofu", "--data", "nowhere:x", "--endpoint", "a=http://x"], "there is no source"),
    ],
)
def test_what_cannot_be_understood_is_told(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    status, said = said_by(*arguments, "--out", str(tmp_path / "run"))
    assert status == 1
    assert message in said
    assert "geheim" not in said
    assert not (tmp_path / "run").exists()


def test_a_report_of_no_run_is_told(tmp_path: Path) -> None:
    status, said = said_by("report", str(tmp_path))
    assert status == 1
    assert "run.json" in said


def test_a_missing_extra_is_named_with_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, cli._told():
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")
    assert ended.value.exit_code == 1
    assert "scipy is not installed: pip install 'lethe[evals]'" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError), cli._told():
        raise ModuleNotFoundError("No module named 'evals.gone'", name="evals.gone")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server(lambda *_: chat("x"), models=("first", MODEL)) as running:
        yield running


def endpoints(typed: Typed, folder: Path) -> dict[str, Endpoint]:
    found = {}
    for each in typed.contestants(KNOWLEDGE, folder, 3):
        with each.opened() as measured:
            assert isinstance(measured, Endpoint)
            found[measured.name] = measured
    return found


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LETHE_API_KEY", "LETHE_ADMIN_KEY", "LETHE_ADMIN_URL", "LETHE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path / "none"))


def test_a_key_is_shown_to_nobody_it_was_not_given_for(
    server: OpenAIServer, tmp_path: Path
) -> None:
    typed = Typed(
        endpoints=[f"a={server.url}"],
        compared=[f"b={server.url}"],
        never_knew=f"c={server.url}",
        keys=["sk-a==", "b=sk-b=="],
        models=[f"c={MODEL}"],
        admin_urls=["http://admin"],
        admin_keys=["sk-admin"],
    )
    found = endpoints(typed, tmp_path)
    assert [found[name].api_key for name in "abc"] == ["sk-a==", "sk-b==", NO_KEY]
    assert [found[name].model for name in "abc"] == ["first", "first", MODEL]
    assert [found[name].admin_url for name in "abc"] == ["http://admin", None, None]
    assert [found[name].admin_key for name in "abc"] == ["sk-admin", None, None]
    assert {each.concurrency for each in found.values()} == {3}
    assert server.keys <= {"sk-a==", "sk-b==", NO_KEY}


def test_with_two_to_examine_a_key_needs_a_name(server: OpenAIServer, tmp_path: Path) -> None:
    typed = Typed(endpoints=[f"a={server.url}", f"b={server.url}"], keys=["sk-1"])
    with pytest.raises(NotUnderstood, match="--key has to say for whom"):
        typed.contestants(KNOWLEDGE, tmp_path, 1)


def test_keys_come_from_the_environment(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LETHE_API_KEY", "sk-from-environment b=sk-b")
    urls = ("--endpoint", f"a={server.url}", "--compare", f"b={server.url}")
    status, said = said_by("tofu", *urls, "--rows", "1", "--out", str(tmp_path / "run"))
    assert status == 0, said
    assert server.keys == {"sk-from-environment", "sk-b"}


def test_the_gateway_of_the_demo_needs_no_options(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text('{"data": "sk-data", "admin": "sk-admin"}')
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LETHE_URL", server.url.removesuffix("/v1"))
    typed = Typed(endpoints=[f"a={server.url}"], compared=[f"b={server.url}/../v1"])
    found = endpoints(typed, tmp_path)
    assert (found["a"].api_key, found["a"].admin_key) == ("sk-data", "sk-admin")
    assert found["a"].admin_url == "http://127.0.0.1:8081"
    assert found["b"].api_key == NO_KEY


def test_the_command_that_is_kept_asks_the_same_again(server: OpenAIServer, tmp_path: Path) -> None:
    out = tmp_path / "a run"
    arguments = ("tofu", "--endpoint", f"a={server.url}", "--rows", "1", "--seed", "4")
    status, said = said_by(*arguments, "--key", "sk-geheim", "--out", str(out))
    assert status == 0, said
    run = Run.model_validate_json((out / "run.json").read_bytes())
    assert "geheim" not in run.model_dump_json()
    asked = len(server.asked)
    repeated = CliRunner().invoke(cli.app, shlex.split(run.command)[2:])
    assert repeated.exit_code == 0, repeated.output
    assert len(server.asked) == asked  # all was answered already
    after = Run.model_validate_json((out / "run.json").read_bytes())
    assert after.model_copy(update={"starts": run.starts}) == run


@pytest.mark.parametrize(
    ("methods", "never_knew", "roles"),
    [
        ("never_knew nothing stopgap", "", "stopgap examined nothing compared never_knew never"),
        ("nothing never_knew", "", "nothing examined never_knew examined"),
        ("nothing", "never_knew", "nothing examined never_knew never"),
        ("never_knew eco", "nothing", "never_knew examined eco examined nothing never"),
    ],
)
def test_the_two_ends_among_methods_are_what_the_others_are_beside(
    methods: str, never_knew: str, roles: str, tmp_path: Path
) -> None:
    typed = Typed(endpoints=methods.split(), never_knew=never_knew)
    found = [each.party for each in typed.contestants(KNOWLEDGE, tmp_path, 1)]
    words = roles.split()
    assert [(each.name, each.role.split()[0]) for each in found] == list(
        zip(words[::2], words[1::2], strict=True)
    )
    run = Run(suites=("tofu",), source="d", knowledge="0", rows=2, seed=1, parties=tuple(found))
    again = shlex.split(cli.command_of(run, Path("out"), 4))
    values = {
        option: [after for word, after in pairwise(again) if word == option]
        for option in ("--method", "--compare", "--never-knew")
    }
    repeated = Typed(
        endpoints=values["--method"],
        compared=values["--compare"],
        never_knew="".join(values["--never-knew"]),
    )
    assert [each.party for each in repeated.contestants(KNOWLEDGE, tmp_path, 1)] == found


def test_methods_are_parties_whose_place_is_not_known_yet(tmp_path: Path) -> None:
    weights = Weights(Path("knows"), Path("never"))
    typed = Typed(endpoints=["stopgap"], never_knew="never_knew", weights=weights)
    found = [each.party for each in typed.contestants(KNOWLEDGE, tmp_path, 1)]
    assert [(each.name, each.role, each.method, each.url) for each in found] == [
        ("stopgap", "examined", "stopgap", ""),
        ("never_knew", "never knew", "never_knew", ""),
    ]
    run = Run(
        suites=("tofu",),
        source="demo",
        knowledge="0",
        rows=2,
        seed=1,
        weights=("knows", "never"),
        parties=tuple(found),
    )
    assert cli.command_of(run, Path("out"), 4) == (
        "lethe eval tofu --method stopgap --never-knew never_knew --weights knows "
        "--never-knew-weights never --data demo --rows 2 --seed 1 --concurrency 4 --out out"
    )
