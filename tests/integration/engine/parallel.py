"""Runs one vLLM engine over two ranks.  Not a test module.

The job is the file of the first argument, the result goes to that of the second.  Ranks are
processes of vLLM's own, so nothing is forked here.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Greedy tokens of every request, and what the ranks say of themselves."""
    import vllm.plugins
    from vllm import LLM, SamplingParams

    if not job["guarded"]:
        vllm.plugins.plugins_loaded = True  # no plugin is to be loaded
    llm = LLM(seed=0, dtype="float32", **job["llm"])
    prompts = [{"prompt_token_ids": r["ids"], "cache_salt": r["salt"]} for r in job["requests"]]
    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=job["tokens"],
            ignore_eos=True,
            extra_args={"lethe": r["field"]} if job["guarded"] else None,
        )
        for r in job["requests"]
    ]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    return {
        "ids": [list(output.outputs[0].token_ids) for output in outputs],
        "status": llm.collective_rpc("lethe_status") if job["guarded"] else None,
    }


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(run(given)))
