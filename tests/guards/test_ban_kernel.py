"""The kernel bans what the host bans.  It runs under Triton's interpreter, in its own process."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "a",
    "b",
    "A",
    "é",
    "e\u0301",
    "ß",
    "ﬁ",
    " ",
    "\n",
    "-",
    "’",
    "\u200b",
    "東",
    "京",
    "🙂",
    "½",
)

if TYPE_CHECKING:
    from guards.token_filter import BoundFilter
    from guards.vocabulary import Vocabulary


@pytest.mark.parametrize("seed", [1])
def test_equals_the_host(seed: int) -> None:
    found = subprocess.run(  # noqa: S603 - this file
        [sys.executable, __file__, str(seed)],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    result = json.loads(found.stdout)
    assert result["differences"] == []
    assert result["rows"] >= 40
    assert result["banned"] > 50
    assert result["unfinished"] > 3
    assert result["drafted"] > 5
    assert result["closed"] > 3
    assert result["look-ahead"] == "refused"


def test_compiles_for_a_gpu(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    found = subprocess.run(  # noqa: S603 - this file
        [sys.executable, __file__, "compile"],
        env={**environment, "PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert "ptx" in json.loads(found.stdout)


def _compile() -> list[str]:
    """As far as it gets without a GPU: to the code of a Hopper."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from guards import ban_kernel

    flat, some, small, long = "i32", "*i32", "*u8", "*i64"
    signature = {
        "scores": ("*fp32", "i64", flat),
        "history": (some, "i64", long, long, long, long, long),
        "pieces": (some, small, small, flat),
        "automaton": (some, some, some, small, some, some, some, some, flat),
        "own": (some, some),
        "inner": (some, flat, some, flat),
        "marks": (small, small, some, flat, flat),
        "extra": (some, "*fp32", flat, some, flat),
        **dict.fromkeys(("has_drafts", "block", "stops_block"), "constexpr"),
    }
    source = ASTSource(
        fn=ban_kernel._ban, signature=signature, constexprs={(8,): True, (9,): 256, (10,): 2}
    )
    return [*triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm]


def compared(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    total: dict[str, Any] = {"rows": 0, "banned": 0, "unfinished": 0, "drafted": 0, "closed": 0}
    total |= {"differences": []}
    for case in range(6):
        for name, value in _compare(case, rng).items():
            total[name] += value
    return {**total, "look-ahead": _look_ahead()}


def _compare(case: int, rng: random.Random) -> dict[str, Any]:
    import torch

    from guards.ban_kernel import Drafts, Tables, launch
    from guards.points import EngineModel, History
    from guards.text_automaton import CLOSED
    from guards.token_filter import TokenFilter, compiled
    from models.artifact import Artifact

    phrases = ["ab é", *("a" + "".join(rng.choices(PARTS, k=rng.randint(1, 4))) for _ in range(3))]
    stream = " ".join([*phrases, "xy", *phrases]).encode()
    vocabulary = _vocabulary(stream, rng)
    size = vocabulary.size
    extra: dict[str, Any] = {"bias_tokens": [1, 4], "bias": [0.5, float("inf")]} if case % 2 else {}
    lexicon = (None, (), ("ab éa",))[case % 3]
    manifest, tensors = compiled(phrases, vocabulary, lexicon=lexicon, **extra)
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    bound = TokenFilter.bind(artifact, EngineModel(1, 1.0, vocabulary, _cpu(), torch.float32))
    tables = Tables.of(artifact, vocabulary, _cpu())

    ids = torch.zeros(4, 64, dtype=torch.int32)
    slots, lengths, last, behind, histories = [], [], [], [], []
    prompts = [rng.randint(0, 5) for _ in range(4)]
    for slot in rng.sample(range(4), 4):
        tokens = list(_tokens(stream, vocabulary, rng, prompts[slot] + rng.randint(0, 10) + 1))
        drafts = rng.randint(0, 3)
        settled = max(1, len(tokens) - drafts)
        ids[slot, :settled] = torch.tensor(tokens[:settled], dtype=torch.int32)
        for length in range(settled, len(tokens) + 1):
            slots.append(slot)
            lengths.append(length)
            last.append(tokens[length - 1])
            behind.append(length - settled)
            prompt = min(prompts[slot], length)
            histories.append(History(f"{slot}", tokens[:prompt], tokens[prompt:length]))
    logits = torch.randn(len(slots) + 1, size)
    logits[0, : size - 3] = float("-inf")
    wanted, found = logits.clone(), logits.clone()
    bound.apply(wanted[:-1], histories)
    launch(
        found,
        ids,
        torch.tensor([*slots, -1]),
        torch.tensor(prompts),
        torch.tensor([*lengths, 1]),
        tables,
        Drafts(torch.tensor([*last, 0]), torch.tensor([*behind, 0])),
    )
    return {
        "rows": len(slots),
        "banned": int((torch.isneginf(wanted) & ~torch.isneginf(logits)).sum()),
        "unfinished": _unfinished(bound, histories),
        "drafted": sum(count > 0 for count in behind),
        "closed": int((tensors["ends"] == CLOSED).sum()),
        "differences": [
            [case, row] for row in range(len(logits)) if not torch.equal(wanted[row], found[row])
        ],
    }


def _unfinished(bound: "BoundFilter", histories: list[Any]) -> int:
    return sum(bool(bound.states.of(history).rest) for history in histories)


def _look_ahead() -> str:
    from guards.ban_kernel import Tables
    from guards.token_filter import compiled
    from guards.vocabulary import Vocabulary
    from models.artifact import Artifact

    vocabulary = Vocabulary((b"a",), frozenset(), 1)
    manifest, tensors = compiled(["a"], vocabulary, approach=1.0)
    try:
        Tables.of(Artifact("", {**manifest, "tensors": None}, tensors), vocabulary, _cpu())
    except ValueError:
        return "refused"
    return "taken"


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


def _vocabulary(stream: bytes, rng: random.Random) -> "Vocabulary":
    from guards.vocabulary import Vocabulary

    starts = rng.choices(range(len(stream)), k=30)
    pieces = {stream[at : at + rng.randint(1, 5)] for at in starts}
    pieces |= {b" ", b"a", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x99\x82", b"\xff"}
    ordered = sorted(pieces)
    return Vocabulary((*ordered, b"", b""), frozenset({len(ordered)}), len(ordered) + 3)


def _tokens(
    stream: bytes, vocabulary: "Vocabulary", rng: random.Random, count: int
) -> Iterator[int]:
    at = rng.randrange(len(stream))
    for _ in range(count):
        fitting = [t for t, p in enumerate(vocabulary.pieces) if p and stream.startswith(p, at)]
        if not fitting or rng.random() < 0.15:
            at = rng.randrange(len(stream))
            yield rng.randrange(vocabulary.size)
        else:
            token = rng.choice(fitting)
            at += len(vocabulary.pieces[token])
            yield token


if __name__ == "__main__":
    what = sys.argv[1]
    sys.stdout.write(json.dumps(_compile() if what == "compile" else compared(int(what))))
