"""An engine that is gone, or that comes back without the plugin, never answers through us."""

import time
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import openai
import pytest

from benchmarks.stock_vllm import stock_vllm
from models.demo.world import World
from service.cli.processes import end
from service.cli.stack import engine_running, gateway_running
from service.settings import Settings
from tests.integration.serving.system import Serving, fresh_settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
WAIT_S = 60


def without_plugin(settings: Settings) -> AbstractContextManager[object]:
    """Stock vLLM where the gateway expects its engine."""
    log = settings.data_dir / "stock.log"
    return stock_vllm(settings.model, settings.engine_url, log, "--enforce-eager")


def reasons(serving: Serving) -> tuple[int, list[str]]:
    answer = httpx.get(f"{serving.url}/health/ready", timeout=5)
    return answer.status_code, answer.json().get("reasons", [])


def refusal(serving: Serving, question: str, *, stream: bool = False) -> tuple[int, object]:
    messages = [{"role": "user", "content": question}]
    create = serving.client.chat.completions.create
    with pytest.raises(openai.APIStatusError) as caught:
        create(model="demo", messages=messages, stream=stream)  # type: ignore[arg-type]
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
        ways = [(q, s) for q in (touching, harmless) for s in (False, True)]
        gone = [refusal(serving, q, stream=s) for q, s in ways]
        assert [status for status, _ in gone] == [503] * 4
        assert all(body == gone[0][1] for _, body in gone)
        wait_until_not_ready(serving)
        with without_plugin(settings):
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
    with without_plugin(settings), gateway_running(settings, ready=False):
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
