"""One engine in a process of its own, which runs whatever batch it is told to.

Each line of standard input is a job in JSON, each line of standard output its result: seconds, and
the ids that were generated.  The engine rests between jobs.
"""

import json
import os
import sys
import time
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def started(how: dict[str, Any]) -> Any:
    """The engine, stock or guarded."""
    import vllm.plugins
    from vllm import LLM

    options = dict(how["llm"])
    if how["guarded"]:
        options["worker_cls"] = "service.engine.worker.LetheWorker"
        options["logits_processors"] = ["service.engine.logits_processor:LetheLogits"]
        options["async_scheduling"] = False
    else:
        vllm.plugins.plugins_loaded = True  # no plugin is to be loaded
    return LLM(seed=0, **options)


def run(llm: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Generate for all requests at once."""
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": r["ids"], "cache_salt": r["salt"]} for r in job["requests"]]
    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=job["tokens"],
            ignore_eos=True,
            extra_args={"lethe": r["field"]} if r["field"] else None,
        )
        for r in job["requests"]
    ]
    started_at = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - started_at
    return {"seconds": seconds, "ids": [list(o.outputs[0].token_ids) for o in outputs]}


def main() -> None:
    """Serve jobs until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM prints
    llm = started(json.loads(sys.stdin.readline()))
    config = llm.llm_engine.vllm_config
    facts = {
        "runner": "V2" if config.use_v2_model_runner else "V1",
        "mode": config.compilation_config.mode.name,
        "cuda graphs": config.compilation_config.cudagraph_mode.name,
    }
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(llm, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
