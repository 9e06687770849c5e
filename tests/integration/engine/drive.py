"""Runs in-process vLLM engines, each in a forked process of its own.

Not a test module.  Each line of standard input is a job in JSON; each line of standard output says
whether it ended well.  vLLM is imported once, since that takes longer than most jobs; whatever
distinguishes stock vLLM from a guarded one happens after the fork.
"""

import json
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
SMUGGLED = "smuggled:"


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

    # This pass names operators that only CUDA builds have.
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


def let_smuggled_requests_in() -> None:
    """Requests marked so evade admission, as if its seam had been missed."""
    from vllm.plugins import load_general_plugins
    from vllm.v1.engine.input_processor import InputProcessor

    load_general_plugins()
    guarded = InputProcessor.process_inputs
    unguarded = guarded.__wrapped__

    def process_inputs(
        self: Any, request_id: str, prompt: Any, params: Any, *a: Any, **k: Any
    ) -> Any:
        field = (params.extra_args or {}).get("lethe", SMUGGLED)
        chosen = unguarded if field.startswith(SMUGGLED) else guarded
        return chosen(self, request_id, prompt, params, *a, **k)

    InputProcessor.process_inputs = process_inputs


def forget_the_cache_key() -> None:
    """A plugin as it would be without its entry in the key of compiled graphs."""
    from service.engine import vllm_0_32

    vllm_0_32.prepare_compilation = lambda config, fingerprint: None


def register_failing_guards() -> None:
    from guards.registry import GUARDS

    GUARDS["raising"] = "failing_guard:Raising"
    GUARDS["not_finite"] = "failing_guard:NotFinite"


def result_of(output: Any) -> dict[str, Any]:
    (completion,) = output.outputs
    steps = [
        sorted((token, value.logprob.hex()) for token, value in step.items())
        for step in completion.logprobs
    ]
    return {"ids": list(completion.token_ids), "logprobs": steps}


def run(job: dict[str, Any]) -> dict[str, Any]:
    import vllm.plugins
    from vllm import LLM, SamplingParams

    # The environment is part of vLLM's cache keys, so stock engines must not differ in it.
    vllm.plugins.plugins_loaded = not job["guarded"]

    if job["piecewise"]:
        force_piecewise_compilation()
    if job["guarded"]:
        register_failing_guards()
        let_smuggled_requests_in()
    if job["keyless"]:
        forget_the_cache_key()
    llm = LLM(seed=0, dtype="float32", disable_log_stats=False, **job["llm"])
    prompts = [{"prompt_token_ids": r["ids"], "cache_salt": r["salt"]} for r in job["requests"]]
    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=job["tokens"],
            ignore_eos=True,
            logprobs=4,
            extra_args={"lethe": r["field"]} if r["field"] and job["guarded"] else None,
        )
        for r in job["requests"]
    ]
    # A group comes again while its prompts are still in the prefix cache.
    rounds: list[list[Any]] = [[], []]
    for start in range(0, len(prompts), job["group"]):
        group = slice(start, start + job["group"])
        for round_ in rounds:
            outputs = llm.generate(prompts[group], params[group], use_tqdm=False)
            round_ += [result_of(output) for output in outputs]
    metrics = {m.name: getattr(m, "value", None) for m in llm.get_metrics()}
    config = llm.llm_engine.vllm_config
    return {
        "rounds": rounds,
        "preemptions": metrics["vllm:num_preemptions"],
        "prefix_hits": metrics["vllm:prefix_cache_hits"],
        "runner": "V2" if config.use_v2_model_runner else "V1",
        "mode": config.compilation_config.mode.name,
        "status": llm.collective_rpc("lethe_status")[0] if job["guarded"] else None,
    }


def in_child(job: dict[str, Any]) -> None:
    """Never returns."""
    with Path(job["log"]).open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        code = 1
        try:
            Path(job["output"]).write_text(json.dumps(run(job)))
            code = 0
        except BaseException:  # noqa: BLE001 - whatever ended the engine belongs into the log
            traceback.print_exc(file=log)
        log.flush()
        os._exit(code)


def main() -> None:
    if "v2" in sys.argv:
        let_v2_run_on_cpu()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM prints
    import vllm.entrypoints.llm  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            in_child(job)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    main()
