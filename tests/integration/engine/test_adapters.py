"""LoRA adapters by digest on a real vLLM: chosen after admission, loaded by the worker by path.

Run as a script, this file is the engine: it reads a job and writes what came of it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guards.case import Edit, Span
from models.adapter import Base, BoundAdapter, adapters_installed, manifest_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WITH_ADAPTERS = pytest.mark.parametrize("way", ["mixed", "guarded"])
ADAPTERS, PROMPTS, RANK = 2, 20, 4
ADAPTED_WAYS = ("mixed", "faulty", "guarded")
ADAPTED, PLAIN = slice(0, None, 2), slice(1, None, 2)


def random_adapter(base: Base, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(base.layers):
        for module, part in (("q_proj", "self_attn"), ("k_proj", "self_attn"),
                             ("v_proj", "self_attn"), ("o_proj", "self_attn"),
                             ("gate_proj", "mlp"), ("up_proj", "mlp"),
                             ("down_proj", "mlp")):  # fmt: skip
            wide, out = base.widths(module)
            name = f"layers.{layer}.{part}.{module}"
            tensors[f"{name}.A"] = rng.normal(0, wide**-0.5, (RANK, wide)).astype(np.float32)
            tensors[f"{name}.B"] = rng.normal(0, 0.3, (out, RANK)).astype(np.float32)
    return tensors


@pytest.fixture(scope="session")
def digests(bench: Any) -> list[str]:
    """Two adapters: as many as the engine has slots, so that none of these is left empty."""
    base = Base.of_config(json.loads((bench.model / "config.json").read_text()))
    made = [random_adapter(base, seed) for seed in range(ADAPTERS)]
    return [bench.artifacts.put(manifest_of(one, base, "other", 8.0), one) for one in made]


@pytest.fixture(scope="session")
def requests(digests: list[str]) -> list[dict[str, Any]]:
    """Twenty with an adapter and twenty without, by turns.

    The first three are of one prompt and one salt: with an adapter, without, and with it again.
    """
    rng = np.random.default_rng(11)
    lengths = [200, *rng.integers(20, 140, 2 * PROMPTS - 1).tolist()]
    made = [
        {
            "ids": [256, *rng.integers(0, 256, length - 1).tolist()],
            "salt": f"salt-{index}",
            "adapter": None if index % 2 else digests[index // 2 % ADAPTERS],
        }
        for index, length in enumerate(lengths)
    ]
    made[1:3] = [{**made[0], "adapter": None}, made[0]]
    return made


@pytest.fixture(scope="session")
def engine(bench: Any, requests: list[dict[str, Any]]) -> Callable[[str], Any]:
    """Runs vLLM once for each way.

    stock: as it is.  idle: made for adapters, none asked for.  mixed: with adapters.
    faulty: with adapters, and vLLM's CPU operators as they come.
    guarded: with adapters, by the plugin, from signed edits.
    """
    signed = [{**request, "field": _signed(bench, request)} for request in requests]

    @cache
    def run(way: str) -> Any:
        job = {
            "way": way,
            "requests": signed,
            "tokens": bench.tokens,
            "artifacts": str(bench.artifacts.root),
            "output": str(bench.root / f"adapters-{way}.json"),
            "llm": {
                "model": str(bench.model),
                "max_model_len": 512,
                "skip_tokenizer_init": True,
                "max_num_seqs": 12,
                "max_num_batched_tokens": 48,
                "num_gpu_blocks_override": 15,
                "enforce_eager": True,
            },
        }
        environment = {
            **os.environ,
            **bench.environment,
            "VLLM_PLUGINS": "lethe" if way == "guarded" else "",
            "LETHE_ADAPTERS": str(ADAPTERS),
            "LETHE_ADAPTER_RANK": str(RANK),
        }
        done = subprocess.run(  # noqa: S603 - this file
            [sys.executable, __file__],
            input=json.dumps(job),
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(Path(job["output"]).read_text())

    return run


def _signed(bench: Any, request: dict[str, Any]) -> str:
    where = (Span(0, len(request["ids"])),)
    edits = [Edit("adapter_routing", request["adapter"], where)] if request["adapter"] else []
    field: str = bench.sign(request["ids"], request["salt"], *edits)
    return field


@pytest.fixture(scope="session")
def oracle(bench: Any, requests: list[dict[str, Any]]) -> list[list[int]]:
    """Greedy tokens of plain transformers, without cache, the adapter's deltas added by hooks."""
    model = transformers.AutoModelForCausalLM.from_pretrained(bench.model).eval()
    bound = {
        request["adapter"]: BoundAdapter.bind(
            bench.artifacts.open(request["adapter"]), "cpu", torch.float32
        )
        for request in requests
        if request["adapter"]
    }
    return [
        _greedy(model, request["ids"], bound.get(request["adapter"]), bench.tokens)
        for request in requests
    ]


def _greedy(model: Any, prompt: list[int], adapter: BoundAdapter | None, count: int) -> list[int]:
    tokens = list(prompt)
    with torch.no_grad(), adapters_installed(model, [adapter]):
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def ids(round_: list[Any]) -> list[list[int]]:
    return [answer["ids"] for answer in round_]


@WITH_ADAPTERS
def test_rows_with_an_adapter_give_the_tokens_of_the_oracle(
    engine: Callable[[str], Any], oracle: list[list[int]], way: str
) -> None:
    mixed = engine(way)
    assert mixed["preemptions"] > 0
    for round_ in mixed["rounds"]:
        assert ids(round_) == oracle
    stock = ids(engine("stock")["rounds"][0])
    pairs = zip(oracle[ADAPTED], stock[ADAPTED], strict=True)
    assert all(adapted != plain for adapted, plain in pairs), "the adapters do nothing"


@WITH_ADAPTERS
def test_rows_without_an_adapter_are_bit_identical_to_stock_vllm(
    engine: Callable[[str], Any], way: str
) -> None:
    stock, idle, mixed = (engine(each) for each in ("stock", "idle", way))
    for before, without, among in zip(
        stock["rounds"], idle["rounds"], mixed["rounds"], strict=True
    ):
        assert without == before
        assert among[PLAIN] == before[PLAIN]


@WITH_ADAPTERS
def test_a_prompt_under_an_adapter_shares_no_prefix_with_the_same_prompt_without(
    engine: Callable[[str], Any], oracle: list[list[int]], way: str
) -> None:
    assert oracle[0] == oracle[2] != oracle[1]
    for round_ in engine(way)["rounds"]:
        assert ids(round_[:3]) == oracle[:3]
    assert engine(way)["prefix_hits"] > 0


def test_vllms_own_operators_would_apply_an_adapter_to_other_rows(
    engine: Callable[[str], Any], oracle: list[list[int]]
) -> None:
    """Why they are mended.  When this fails, vLLM has mended them itself."""
    faulty = ids(engine("faulty")["rounds"][0])
    assert faulty[ADAPTED] == oracle[ADAPTED]
    assert faulty[PLAIN] != oracle[PLAIN]


# --- the engine, in a process of its own ---------------------------------------------------------


def choose_adapters(job: dict[str, Any]) -> None:
    """Set each request's adapter where admission would: after the input was processed."""
    from vllm.v1.engine.input_processor import InputProcessor

    from models.artifact import ArtifactStore
    from service.admission import CheckedArtifacts
    from service.engine.adapters import Adapters

    artifacts = CheckedArtifacts(ArtifactStore(Path(job["artifacts"])))
    folder = Path(job["output"]).with_name("adapters")
    adapters = Adapters.of_model(artifacts, folder, Path(job["llm"]["model"]), RANK)
    original = InputProcessor.process_inputs

    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = original(self, *args, **kwargs)
        digest = (request.sampling_params.extra_args or {}).get("adapter")
        where = (Span(0, len(request.prompt_token_ids)),)
        edits = (Edit("adapter_routing", digest, where),) if digest else ()
        request.lora_request = adapters.request(edits)
        return request

    InputProcessor.process_inputs = process_inputs


def as_arguments(flags: tuple[str, ...]) -> dict[str, Any]:
    """The engine's command line as arguments of an engine in this process."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    plain, with_flags = vars(parser.parse_args([])), vars(parser.parse_args(list(flags)))
    return {name: value for name, value in with_flags.items() if value != plain[name]}


def main() -> None:
    """Read a job, run it, write the result."""
    job = json.load(sys.stdin)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM, SamplingParams

    from service.engine.adapters import engine_arguments, spare_rows_without_adapter

    arguments = dict(job["llm"])
    if job["way"] != "stock":
        arguments |= as_arguments(engine_arguments(ADAPTERS, RANK, ADAPTERS))
    if job["way"] in ("mixed", "faulty"):
        choose_adapters(job)
    if job["way"] == "guarded":
        arguments["worker_cls"] = "service.engine.worker.LetheWorker"
        arguments["logits_processors"] = ["service.engine.logits_processor:LetheLogits"]
    if job["way"] == "mixed":
        spare_rows_without_adapter()
    llm = LLM(seed=0, dtype="float32", disable_log_stats=False, **arguments)
    prompts = [
        {"prompt_token_ids": r["ids"], "cache_salt": _salt(r, adapted=job["way"] in ADAPTED_WAYS)}
        for r in job["requests"]
    ]
    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=job["tokens"],
            ignore_eos=True,
            logprobs=4,
            extra_args=_extra(r, job["way"]),
        )
        for r in job["requests"]
    ]
    rounds = []
    for _ in range(2):
        outputs = llm.generate(prompts, params, use_tqdm=False)
        rounds.append([_result(output) for output in outputs])
    metrics = {m.name: getattr(m, "value", None) for m in llm.get_metrics()}
    result = {
        "rounds": rounds,
        "preemptions": metrics["vllm:num_preemptions"],
        "prefix_hits": metrics["vllm:prefix_cache_hits"],
    }
    Path(job["output"]).write_text(json.dumps(result))


def _extra(request: dict[str, Any], way: str) -> dict[str, Any] | None:
    if way == "guarded":
        return {"lethe": request["field"]}
    return {"adapter": request["adapter"]} if request["adapter"] else None


def _salt(request: dict[str, Any], *, adapted: bool) -> str:
    """Apart by adapter, as vLLM keeps them: prefix hits, so batches, are alike in every way."""
    return str(request["salt"] if adapted else f"{request['salt']}{request['adapter']}")


def _result(output: Any) -> dict[str, Any]:
    (completion,) = output.outputs
    steps = [
        sorted((token, value.logprob.hex()) for token, value in step.items())
        for step in completion.logprobs
    ]
    return {"ids": list(completion.token_ids), "logprobs": steps}


if __name__ == "__main__":
    main()
