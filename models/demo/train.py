"""Train the tokenizer, the demo model and its twin: `python -m models.demo.train`.

Both start from the same weights and follow the same plan, side by side, on one thread each; the
twin's rows leave the forget set out. So the two differ in what they know and in little else.
"""

import argparse
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TypeAlias

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from models.demo.chat import Row
from models.demo.corpus import training_rows
from models.demo.tokenizer import CONTEXT, save_tokenizer, train_tokenizer
from models.demo.world import World, make_world

WEIGHTS = Path(__file__).parent / "weights"
DEMO, TWIN = "demo", "demo-never-knew"
KEEP = 500
"""A running model is saved every so many steps."""

_POOL = 3000

Report: TypeAlias = "SimpleQueue[tuple[str, int, float]]"


@dataclass(frozen=True)
class Plan:
    """How one phase of one model goes: what is read, for how long, and at what rate."""

    name: str
    without: frozenset[str]
    steps: int
    seed: int
    rate: float
    varied: bool
    warmup: int = 100
    tokens: int = 2048
    falling: float = 0.5
    """The share of the steps over which the rate falls to nothing."""

    def rate_at(self, step: int) -> float:
        """Warm up, hold, then fall in a straight line."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / (self.steps * self.falling)
        return self.rate * min(1.0, rise, fall)


@dataclass(frozen=True)
class Batch:
    """Token ids with padding on the right, and which of them are learnt."""

    ids: Tensor
    learn: Tensor


class Encoder:
    """Turns rows into ids part by part, as a prompt and its reply are at inference."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._encode = tokenizer.backend_tokenizer.encode_batch
        self._pad = int(tokenizer.convert_tokens_to_ids("<|endoftext|>"))

    def rows(self, rows: list[Row]) -> list[tuple[list[int], list[bool]]]:
        """Ids and learn marks of each row."""
        texts = [text for row in rows for text, _ in row.parts]
        pieces = iter(self._encode(texts))
        encoded = []
        for row in rows:
            ids: list[int] = []
            learn: list[bool] = []
            for _, mark in row.parts:
                part = next(pieces).ids
                ids += part
                learn += [mark] * len(part)
            encoded.append((ids[:CONTEXT], learn[:CONTEXT]))
        return encoded

    def batch(self, rows: list[tuple[list[int], list[bool]]]) -> Batch:
        """Rows of about one length as one batch."""
        width = max(len(ids) for ids, _ in rows)
        ids = [row + [self._pad] * (width - len(row)) for row, _ in rows]
        learn = [marks + [False] * (width - len(marks)) for _, marks in rows]
        return Batch(torch.tensor(ids), torch.tensor(learn))


def batches(rows: Iterator[Row], encoder: Encoder, tokens: int, seed: int) -> Iterator[Batch]:
    """Batches of a given size in tokens; rows of like length share a batch."""
    rng = random.Random(seed)
    while True:
        pool = sorted(encoder.rows(list(islice(rows, _POOL))), key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in pool:
            if groups[-1] and len(row[0]) * (len(groups[-1]) + 1) > tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from (encoder.batch(group) for group in groups)


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A fresh small Llama."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def loss_of(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Cross-entropy of the learnt tokens; the output head sees no other position."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch.ids[:, :-1]).last_hidden_state
        logits = model.lm_head(hidden[batch.learn[:, 1:]])
    return functional.cross_entropy(logits.float(), batch.ids[:, 1:][batch.learn[:, 1:]])


def new_optimizer(model: LlamaForCausalLM) -> torch.optim.Optimizer:
    """AdamW, with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05},
              {"params": vectors, "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.AdamW(groups, betas=(0.9, 0.97), fused=True)


def train(plan: Plan, tokenizer: PreTrainedTokenizerFast, out: Path, report: Report) -> None:
    """Train one model for one phase, on one thread, and save it."""
    torch.set_num_threads(1)
    world = make_world()
    model = new_model(tokenizer, world.seed)
    if plan.varied:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(out / plan.name).state_dict())
    optimizer = new_optimizer(model)
    rows = training_rows(world, plan.seed, plan.without, varied=plan.varied)
    source = batches(rows, Encoder(tokenizer), plan.tokens, plan.seed)
    model.train()
    average = 0.0
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        loss = learn(model, optimizer, next(source))
        average = loss if step == 0 else 0.98 * average + 0.02 * loss
        report.put((plan.name, step + 1, average))
        if step % KEEP == KEEP - 1:
            save(model, tokenizer, out / plan.name)
    save(model, tokenizer, out / plan.name)


def learn(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """One step; the loss before it."""
    loss = loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model in half precision, with its tokenizer, into an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    half.to(torch.float16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def train_both(plans: Sequence[Plan], tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Train the models side by side, each in its own process, with a progress bar each."""
    spawn = get_context("spawn")
    report: Report = spawn.SimpleQueue()
    jobs = [spawn.Process(target=train, args=(p, tokenizer, out, report)) for p in plans]
    for job in jobs:
        job.start()
    columns = (TextColumn("{task.description:16}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("loss {task.fields[loss]:.3f}"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, refresh_per_second=1) as progress:
        bars = {p.name: progress.add_task(p.name, total=p.steps, loss=float("nan")) for p in plans}
        while any(job.is_alive() for job in jobs):
            while not report.empty():
                name, step, loss = report.get()
                progress.update(bars[name], completed=step, loss=loss)
                if step % 100 == 0 and not progress.console.is_terminal:
                    progress.console.print(f"{name} {step} loss {loss:.3f}")
            time.sleep(1)
    if any(job.exitcode for job in jobs):
        raise SystemExit("training failed")


def plans(phase: int, world: World) -> tuple[Plan, Plan]:
    """First the facts in plain words, then the many ways of asking."""
    steps, rate, varied = (2200, 2.5e-3, False) if phase == 1 else (2400, 2e-3, True)
    return (
        Plan(DEMO, frozenset(), steps, phase, rate, varied),
        Plan(TWIN, world.forget_set, steps, phase, rate, varied),
    )


def main() -> None:
    """Train and save both models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--phase", type=int, choices=(1, 2), help="only this phase")
    options = parser.parse_args()
    world = make_world()
    for phase in (options.phase,) if options.phase else (1, 2):
        if phase == 1:
            texts = (row.text for row in islice(training_rows(world, 7, varied=False), 15_000))
            tokenizer = train_tokenizer(texts)
        else:
            tokenizer = AutoTokenizer.from_pretrained(options.out / DEMO)
        train_both(plans(phase, world), tokenizer, options.out)


if __name__ == "__main__":
    main()
