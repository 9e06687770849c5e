"""Start vLLM with the plugin: ``python -m service.engine.launch``.

Everything that guards is named on the command line, so that an engine lacking it cannot start:
the worker class, the middleware, the logits processor, and through them the plugin itself.
"""

import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from service.engine.adapters import engine_arguments
from service.engine.plugin import check_version, register
from service.engine.vllm_0_32 import LOGITS_PROCESSOR
from service.settings import Settings

PLUGIN = "lethe"
_GROUP = "vllm.general_plugins"
# What would open a way around the door, or write prompts down.
_FORBIDDEN = (
    "VLLM_SERVER_DEV_MODE",
    "VLLM_USE_RUST_FRONTEND",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_ALLOW_INSECURE_SERIALIZATION",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",
    "VLLM_ENABLE_RESPONSES_API_STORE",
    "VLLM_USE_BREAKABLE_CUDAGRAPH",
    "VLLM_DISABLE_REQUEST_ID_RANDOMIZATION",
)


class CannotStart(RuntimeError):
    """The engine would come up without its guard."""


def engine_command(settings: Settings) -> list[str]:
    """vLLM's command line for these settings.

    Raises CannotStart where vLLM is another version or would not find the plugin.
    """
    check_installation()
    address = urlsplit(settings.engine_url)
    if address.scheme != "http" or address.hostname is None:
        raise CannotStart("LETHE_ENGINE_URL must be http://host:port")
    return [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        *("--model", str(settings.model.resolve())),
        *("--served-model-name", settings.served_model_name),
        *("--host", address.hostname),
        *("--port", str(address.port or 80)),
        *("--max-model-len", str(settings.max_model_len)),
        *("--worker-cls", "service.engine.worker.LetheWorker"),
        *("--middleware", "service.engine.attest.Door"),
        *("--logits-processors", LOGITS_PROCESSOR),
        # Guards read what was said so far; scheduled ahead of it, they could not.
        "--no-async-scheduling",
        *_for_adapters(settings),
        *("--max-logprobs", "0"),
        "--enable-prefix-caching",
        "--enable-auto-tool-choice",
        *("--tool-call-parser", "hermes"),
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
        *_for_platform(),
    ]


def _for_adapters(settings: Settings) -> tuple[str, ...]:
    if not settings.adapters:
        return ()
    return engine_arguments(settings.adapters, settings.adapter_rank, settings.adapters)


def _for_platform() -> tuple[str, ...]:
    import torch

    if torch.cuda.is_available():
        # A full graph is replayed without running Python, hence without running an edit.
        return ("--compilation-config", json.dumps({"cudagraph_mode": "PIECEWISE"}))
    return ("--dtype", "float32")


def engine_environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of vLLM and of all processes that it starts."""
    ours = {
        "LETHE_DATA_DIR": str(settings.data_dir.resolve()),
        "LETHE_MODEL": str(settings.model.resolve()),
        "LETHE_SERVED_MODEL_NAME": settings.served_model_name,
        "LETHE_MAX_MODEL_LEN": str(settings.max_model_len),
        "LETHE_ADAPTERS": str(settings.adapters),
        "LETHE_ADAPTER_RANK": str(settings.adapter_rank),
        "VLLM_PLUGINS": PLUGIN,
        # Longer than a gateway keeps idle connections: the engine never closes one under it.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "120",
        "VLLM_MAX_N_SEQUENCES": str(settings.max_choices),
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the model is a folder: there is nothing to fetch
        # In GiB, on CPUs only.  vLLM would otherwise want nearly all of the machine's memory.
        "VLLM_CPU_KVCACHE_SPACE": inherited.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }
    if settings.engine_key_file is not None:
        ours["LETHE_ENGINE_KEY_FILE"] = str(settings.engine_key_file.resolve())
    kept = {name: value for name, value in inherited.items() if name not in _FORBIDDEN}
    return {**kept, **ours}


def check_installation() -> None:
    """Raise CannotStart or UnknownVersion unless vLLM will find and load the plugin."""
    check_version()
    found = [point for point in entry_points(group=_GROUP) if point.name == PLUGIN]
    if len(found) != 1 or found[0].load() is not register:
        raise CannotStart("vLLM would not find Lethe's plugin: is this installation complete?")


def main() -> None:
    """Become vLLM."""
    settings = Settings()
    settings.engine_key()
    command = engine_command(settings)
    os.execve(command[0], command, engine_environment(settings, os.environ))  # noqa: S606


if __name__ == "__main__":
    main()
