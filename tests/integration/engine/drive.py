"""Runs one in-process vLLM in a process of its own: JSON on standard input, JSON to a file.

Not a test module.  ``python drive.py OUTPUT < JOB``.
"""

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def let_v2_run_on_cpu() -> None:
    """Model Runner V2 needs Triton; its interpreter will do, if a driver claims the CPU."""
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "1"
    import triton.backends

    driver = type("CpuDriver", (), {"is_active": staticmethod(lambda: True)})
    triton.backends.backends["cpu"] = types.SimpleNamespace(driver=driver, compiler=None)


def force_piecewise_compilation() -> None:
    """Use the compiler backend that CUDA uses, with its ahead-of-time cache, on the CPU."""
    from vllm.compilation.passes.utility import fix_functionalization
    from vllm.config import CompilationMode
    from vllm.engine.arg_utils import EngineArgs

    fix_functionalization.FixFunctionalizationPass.__call__ = lambda self, graph: None
    create = EngineArgs.create_engine_config

    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = create(self, *args, **kwargs)
        compilation = config.compilation_config
        compilation.mode = CompilationMode.VLLM_COMPILE
        compilation.backend = "inductor"
        compilation.compile_sizes = compilation.compile_sizes or []
        for name, value in vars(compilation.pass_config).items():
            if value is True:
                setattr(compilation.pass_config, name, False)
        compilation.splitting_ops = list(compilation._attention_ops)
        return config

    EngineArgs.create_engine_config = create_engine_config


def result_of(output: Any) -> list[dict[str, Any]]:
    return [
        {
            "ids": list(completion.token_ids),
            "logprobs": [
                sorted((token, value.logprob.hex()) for token, value in step.items())
                for step in completion.logprobs
            ],
        }
        for completion in output.outputs
    ]


def main(job: dict[str, Any]) -> dict[str, Any]:
    if job.get("v2"):
        let_v2_run_on_cpu()
    from vllm import LLM, SamplingParams

    if job.get("piecewise"):
        force_piecewise_compilation()
    llm = LLM(seed=0, dtype="float32", disable_log_stats=False, **job["llm"])
    prompts = [{"prompt_token_ids": r["ids"], "cache_salt": r["salt"]} for r in job["requests"]]
    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=r["tokens"],
            ignore_eos=True,
            logprobs=4,
            n=r.get("n", 1),
            extra_args={"lethe": r["field"]} if r["field"] else None,
        )
        for r in job["requests"]
    ]
    rounds = []
    for _ in range(job.get("rounds", 1)):
        outputs = llm.generate(prompts, params, use_tqdm=False)
        rounds.append([result_of(output) for output in outputs])
    metrics = {m.name: getattr(m, "value", None) for m in llm.get_metrics()}
    config = llm.llm_engine.vllm_config
    return {
        "rounds": rounds,
        "preemptions": metrics["vllm:num_preemptions"],
        "prefix_hits": metrics["vllm:prefix_cache_hits"],
        "runner": "V2" if config.use_v2_model_runner else "V1",
        "mode": config.compilation_config.mode.name,
        "status": llm.collective_rpc("lethe_status")[0] if job.get("guarded") else None,
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(main(json.load(sys.stdin))))
