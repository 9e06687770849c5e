"""An engine that is gone, or that comes back without the plugin, never answers through us."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from models.demo.world import World
from service.cli.processes import end, until_up
from service.cli.stack import engine_running, gateway_running
from service.settings import Settings
from tests.integration.serving.system import Serving, fresh_settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
WAIT_S = 60


@contextmanager
def vllm_without_plugin(settings: Settings) -> Iterator[None]:
    """Stock vLLM where the gateway expects its engine."""
    port = settings.engine_url.rpartition(":")[2]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(settings.model), "--served-model-name", "demo", "--port", port]
    command += ["--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", str(settings.max_model_len)]
    extra = {"VLLM_PLUGINS": "", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    log = settings.data_dir / "stock.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["env", *(f"{k}={v}" for k, v in extra.items()), *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until_up(f"{settings.engine_url}/health", process, log, 300)
        yield
    finally:
        end(process)


def reasons(serving: Serving) -> tuple[int, list[str]]:
    answer = httpx.get(f"{serving.url}/health/ready", timeout=5)
    return answer.status_code, answer.json().get("reasons", [])


def refusal(serving: Serving, question: str, *, stream: bool = False) -> tuple[int, object]:
    with pytest.raises(openai.APIStatusError) as caught:
        reply = serving.client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": question}], stream=stream
        )
        list(reply)  # a stream that begins would raise nothing
    return caught.value.status_code, caught.value.body


def test_an_engine_that_dies_and_comes_back_without_the_plugin_answers_nothing(
    world: World, tmp_path: Path
) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    settings = fresh_settings(tmp_path)
    forgotten, kept = world.forgotten[0], world.kept[0]
    touching, harmless = (f"Where was {p.name} born?" for p in (forgotten, kept))
    with engine_running(settings) as engine, gateway_running(settings):
        serving = Serving(settings)
        serving.forget(forgotten.name)
        assert serving.ask(harmless)
        end(engine)
        gone = [refusal(serving, q, stream=s) for q in (touching, harmless) for s in (False, True)]
        assert [status for status, _ in gone] == [503] * 4
        assert all(body == gone[0][1] for _, body in gone)
        wait_until_not_ready(serving)
        with vllm_without_plugin(settings):
            bare = [
                refusal(serving, q, stream=s) for q in (touching, harmless) for s in (False, True)
            ]
            assert bare == gone
            time.sleep(2)
            assert reasons(serving)[0] == 503


def test_a_gateway_before_an_engine_without_the_plugin_never_becomes_ready(
    world: World, tmp_path: Path
) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    settings = fresh_settings(tmp_path)
    with vllm_without_plugin(settings), gateway_running(settings, ready=False):
        serving = Serving(settings)
        serving.forget(world.forgotten[0].name)
        wait_until_not_ready(serving)
        assert refusal(serving, f"Where was {world.forgotten[0].name} born?")[0] == 503
        assert refusal(serving, f"Where was {world.kept[0].name} born?")[0] == 503


def wait_until_not_ready(serving: Serving) -> None:
    deadline = time.monotonic() + WAIT_S
    while reasons(serving)[0] != 503:
        assert time.monotonic() < deadline, "still ready"
        time.sleep(0.2)
    assert reasons(serving)[1], "not ready, and no reason given"
