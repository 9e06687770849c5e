"""A tiny random model, and real vLLM engines run on it: stock and guarded, in every mode."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guards.case import Case, Edit, Match, Prompt, Span, digest_of_ids
from guards.embedding_corruption import NAME, manifest
from guards.policy import GuardSpec
from guards.registry import build
from guards.signed_edits import SignedEdits
from models.artifact import ArtifactStore
from service.settings import read_secret
from tests.integration.engine.mechanisms import ASSISTED, PROMPTS, Made, every_mechanism

pytest.importorskip("vllm", reason="vLLM is not installed on this machine")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MODEL = "tiny"
EDITED = (Span(10, 20), Span(40, 52))
SPECIALS = ["<|bos|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Bench:
    """Where the engines of these tests find model, key and artifacts."""

    root: Path
    tokens: int = 40  # that each request generates

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def key(self) -> bytes:
        return read_secret(self.root / "data" / "engine.key")

    @property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore(self.root / "data" / "artifacts", self.key)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LETHE_DATA_DIR": str(self.root / "data"),
            "LETHE_MODEL": str(self.model),
            "LETHE_SERVED_MODEL_NAME": MODEL,
            "LETHE_MAX_MODEL_LEN": "512",
            "VLLM_PLUGINS": "lethe",
            "VLLM_CACHE_ROOT": str(self.root / "cache"),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def sign(self, ids: list[int], salt: str, *edits: Edit, **changed: Any) -> str:
        fields = {
            "request": "r",
            "model": MODEL,
            "epoch": 1,
            "prompt": digest_of_ids(ids),
            "length": len(ids),
            "cache_salt": salt,
            "expires": int(time.time()) + 3600,
            "edits": edits,
        }
        return SignedEdits(**{**fields, **changed}).sign(self.key)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("engine"))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.15,
        tie_word_embeddings=False,
        bos_token_id=256,
        eos_token_id=258,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(made.model)
    _byte_tokenizer().save_pretrained(made.model)
    return made


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIALS[0],
        eos_token=SPECIALS[2],
        chat_template=TEMPLATE,
    )


@dataclass(frozen=True)
class Job:
    """One request of a mixed batch.  manifest: of the artifact of its edit, where it has one."""

    ids: list[int]
    salt: str
    field: str | None
    manifest: dict[str, Any] | None = None
    dark: bool = False


@pytest.fixture(scope="session")
def batch(bench: Bench) -> list[Job]:
    """Clean and edited requests of many lengths, and requests that must go dark."""
    rng = np.random.default_rng(5)

    def job(index: int, length: int, made: dict[str, Any] | None = None, kind: str = NAME) -> Job:
        ids, salt = [256, *rng.integers(0, 256, length - 1).tolist()], f"salt-{index}"
        # A failing edit begins with the first token, so that no chunk passes before it.
        where = EDITED if kind == NAME else (Span(0, 52),)
        edits = [Edit(kind, bench.artifacts.put(made), where)] if made else []
        return Job(ids, salt, bench.sign(ids, salt, *edits), made, dark=kind != NAME)

    def smuggled(index: int, length: int, field: str) -> Job:
        plain = job(index, length)
        return Job(plain.ids, plain.salt, f"smuggled:{field}", dark=True)

    return [
        job(0, 120),
        job(1, 110, manifest("rand_noise", 3.0, seed=7)),
        smuggled(2, 70, ""),
        smuggled(3, 90, bench.sign([1, 2, 3], "salt-3")),
        job(4, 100, {"format": 1}, kind="raising"),
        job(5, 105, {"format": 2}, kind="not_finite"),
        job(6, 97, manifest("zero_out", 1.0)),
        job(7, 60),
        job(8, 150, manifest("flip_sign", 1.0, dims=64)),
        job(9, 140, manifest("rand_noise", 5.0)),
    ]


@dataclass(frozen=True)
class Mechanism:
    """A request under one mechanism; under several, or none.

    plain: what is said without.  v2: whether it runs there too, where Triton's interpreter is slow.
    """

    name: str
    ids: list[int]
    salt: str
    field: str
    edits: tuple[Edit, ...]
    plain: list[int]
    v2: bool


@pytest.fixture(scope="session")
def mechanisms(bench: Bench) -> list[Mechanism]:
    """Twenty requests for each mechanism, for all of them together, and for none."""
    from models.local_engine import LocalEngine, Sampling
    from service.local.edits import engine_model

    engine = LocalEngine.load(bench.model)
    rng = np.random.default_rng(8)
    prompts = [
        [256, *rng.integers(0, 256, int(length)).tolist()]
        for length in rng.integers(50, 130, PROMPTS)
    ]
    sampling = Sampling(max_tokens=bench.tokens, ignore_eos=True)
    plain = engine.generate_batch(prompts, sampling, batch_size=1)
    made = every_mechanism(engine_model(engine), plain)
    jobs: list[Mechanism] = []
    for index, ids in enumerate(prompts):
        turns = {name: [of[index % len(of)]] for name, of in made.items()}
        turns["several"] = [of for name in made if name not in ASSISTED for of in turns[name]]
        for number, (name, chosen) in enumerate({**turns, "clean": []}.items()):
            edits = _edits(bench, ids, chosen)
            salt = f"salt-{index}-{number}"
            field = bench.sign(ids, salt, *edits)
            v2 = len(jobs) % 10 == 0 and name not in ASSISTED
            jobs.append(Mechanism(name, ids, salt, field, edits, plain[index], v2))
    return jobs


def _edits(bench: Bench, ids: list[int], chosen: list[Made]) -> tuple[Edit, ...]:
    """What the guards themselves leave for a match in the midst of the prompt."""
    offsets = tuple(Span(i, i + 1) for i in range(len(ids)))
    prompt = Prompt("x" * len(ids), tuple(ids), offsets, (Span(1, len(ids)),))
    case = Case("c", "t", MODEL, 1, prompt)
    for kind, options, made, tensors in chosen:
        digest = bench.artifacts.put(made, tensors or None, sealed="blind" in made)
        guard = build(GuardSpec(kind, {"artifact": digest, **options}))
        case = guard.on_prompt(case, Match("p", 1.0, EDITED, "alias"))
    return case.edits


@dataclass(frozen=True)
class Ran:
    """What an engine did.  code: 0 where it came up and answered; log: all that it printed."""

    code: int
    log: str
    result: dict[str, Any]


class Driver:
    """A process that has imported vLLM and forks an engine for each job."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        script = Path(__file__).with_name("drive.py")
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )

    def run(self, job: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


Run = Callable[[str], Ran]


@pytest.fixture(scope="session")
def ran(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs an engine once for each name: words joined by ``-``, e.g. ``stock-eager``.

    mechanisms: with those requests, in place of the batch.

    stock: without the plugin.  eager, compiled, piecewise: how the model runs.  v2: the runner.
    keyless: the plugin without its entry in the key of compiled graphs.
    """
    drivers: dict[bool, Driver] = {}

    @cache
    def run(name: str) -> Ran:
        words = name.split("-")
        if "piecewise" in words and "stock" not in words:
            run("stock-v1-piecewise")  # so that its graphs lie in the cache
        v2 = "v2" in words
        if v2 not in drivers:
            drivers[v2] = Driver(bench.environment, *["v2"] * v2)
        output, log = bench.root / f"{name}.json", bench.root / f"{name}.log"
        many = "mechanisms" in words
        batch = request.getfixturevalue("mechanisms" if many else "batch")
        if many and v2:
            batch = [job for job in batch if job.v2]
        code = drivers[v2].run(_job(bench, batch, words, output, log))
        result = json.loads(output.read_text()) if code == 0 else {}
        return Ran(code, log.read_text(), result)

    yield run
    for driver in drivers.values():
        driver.stop()


def _job(
    bench: Bench, batch: Sequence[Job | Mechanism], words: list[str], output: Path, log: Path
) -> dict[str, Any]:
    guarded = "stock" not in words
    llm: dict[str, Any] = {
        "model": str(bench.model),
        "max_model_len": 512,
        "skip_tokenizer_init": True,
        "max_num_seqs": 12,
        "max_num_batched_tokens": 48,  # every prompt is prefilled in chunks
        "num_gpu_blocks_override": 15,  # too few for all requests: the last is preempted
        "enforce_eager": "eager" in words,
    }
    many = "mechanisms" in words
    if many:
        llm |= {"block_size": 32, "num_gpu_blocks_override": 45}
    if guarded:
        llm["worker_cls"] = "service.engine.worker.LetheWorker"
        llm["logits_processors"] = ["service.engine.logits_processor:LetheLogits"]
    return {
        "llm": llm,
        "requests": [{"ids": r.ids, "salt": r.salt, "field": r.field} for r in batch],
        "tokens": bench.tokens,
        "group": 11 if many else len(batch),
        "guarded": guarded,
        "piecewise": "piecewise" in words,
        "keyless": "keyless" in words,
        "output": str(output),
        "log": str(log),
    }
