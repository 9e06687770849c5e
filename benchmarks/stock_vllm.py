"""vLLM without the plugin: what Lethe is compared with, and what it must not accept."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.processes import running, until_up

MODULE = "vllm.entrypoints.openai.api_server"
BARE = {"VLLM_PLUGINS": "", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
START_S = 600


@contextmanager
def stock_vllm(
    model: Path, url: str, log: Path, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Stock vLLM serving the folder as "demo" at the URL.  Raises StartFailed."""
    port = url.rpartition(":")[2]
    options = ["--model", str(model), "--served-model-name", "demo", "--port", port]
    options += ["--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "1024"]
    with running(MODULE, log, BARE, [*options, *arguments]) as process:
        until_up(f"{url}/health", process, log, START_S)
        yield process
