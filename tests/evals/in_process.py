"""Something measured without a server: a model in this process, through the in-process engine."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evals.probe import Answered, Ask, Probe, Reading, Reply
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.demo.train import DEMO, TWIN, WEIGHTS
from models.local_engine import Interventions, LocalEngine, Sampling
from models.local_engine.interventions import NONE, Row, installed

SHARED = Path(os.environ.get("LETHE_SHARED", Path(__file__).parents[3] / "shared"))
TESTBED = SHARED / "testbed"
BATCH = 64
TOFU = SHARED / "data" / "tofu"

needs_testbed = pytest.mark.skipif(
    not (TESTBED / "target").exists() or not TOFU.exists(),
    reason=f"no testbed/target and data/tofu in {SHARED} (LETHE_SHARED)",
)


class InProcess:  # a Measured
    """One model, greedy or sampled, with the same interventions on every prompt (or none).

    ``stream`` and ``extra`` of an Ask have no effect.  read: whether readings are given.
    """

    def __init__(self, folder: Path, acting: Interventions = NONE, *, read: bool = True) -> None:
        self.name = folder.name
        self._engine = LocalEngine.load(folder)
        self._renderer = PromptRenderer(folder)
        self._acting = acting
        self._read = read

    def versions(self) -> Mapping[str, str]:
        return {"model": self.name, "engine": "in process"}

    def answers(self, probes: Sequence[Probe]) -> Iterator[Answered]:
        """In the order of the probes."""
        said = self._conversations(probes)
        read = self._readings(probes) if self._read else {}
        for index, probe in enumerate(probes):
            yield Answered(
                probe=probe,
                conversations=said.get(index, ()),
                readings=tuple(read[index, at] for at in range(len(probe.read)) if read),
            )

    def _conversations(self, probes: Sequence[Probe]) -> dict[int, tuple[tuple[Reply, ...], ...]]:
        """Turn by turn, those with the same sampling in one batch."""
        held: dict[tuple[int, int], list[Reply]] = {
            (index, sample): []
            for index, probe in enumerate(probes)
            if probe.ask is not None and probe.ask.max_tokens > 0
            for sample in range(probe.ask.samples)
        }
        longest = max((len(probes[index].prompt.turns) for index, _ in held), default=0)
        for turn in range(longest):
            groups: dict[tuple[int, float, int], list[tuple[int, int]]] = defaultdict(list)
            for index, sample in held:
                ask = probes[index].prompt
                if turn < len(ask.turns):
                    groups[ask.max_tokens, ask.temperature, ask.seed + sample].append(
                        (index, sample)
                    )
            for (most, temperature, seed), keys in groups.items():
                asks = [probes[index].prompt for index, _ in keys]
                prompts = [
                    self._prompt(ask, [reply.text for reply in held[key]])
                    for ask, key in zip(asks, keys, strict=True)
                ]
                sampling = Sampling(max_tokens=most, temperature=temperature, seed=seed)
                found = self._engine.generate_batch(prompts, sampling, [self._acting] * len(keys))
                for ask, key, prompt, ids in zip(asks, keys, prompts, found, strict=True):
                    held[key].append(self._reply(ask, prompt, ids))
        said: dict[int, list[tuple[Reply, ...]]] = defaultdict(list)
        for (index, _), replies in held.items():
            said[index].append(tuple(replies))
        return {index: tuple(samples) for index, samples in said.items()}

    def _prompt(self, ask: Ask, replies: Sequence[str]) -> list[int]:
        """Ids up to where the reply after ``replies`` begins."""
        if ask.kind == "completion":
            return list(self._renderer.completion(ask.turns[0]).ids)
        messages = [Message(each["role"], (each["content"],)) for each in ask.opening]
        for turn, reply in zip(ask.turns, replies, strict=False):
            messages += [Message("user", (turn,)), Message("assistant", (reply,))]
        messages.append(Message("user", (ask.turns[len(replies)],)))
        return list(self._renderer.chat(self._renderer.conversation(messages, None), {}).ids)

    def _reply(self, ask: Ask, prompt: Sequence[int], ids: Sequence[int]) -> Reply:
        text: str = self._engine.tokenizer.decode(ids, skip_special_tokens=True)
        ended = ids[-1] in self._engine.end_ids
        for stop in ask.stop:
            if stop in text:
                text, ended = text.split(stop)[0], True
        finish = "stop" if ended else "length"
        return Reply(text=text, finish=finish, tokens=len(ids), prompt_tokens=len(prompt))

    def _readings(self, probes: Sequence[Probe]) -> dict[tuple[int, int], Reading]:
        """By probe and continuation, those of like length in one pass."""
        prompts = {i: self._prompt(each.prompt, ()) for i, each in enumerate(probes) if each.read}
        wanted = {
            (index, at): self._engine.tokenizer.encode(text, add_special_tokens=False)
            for index in prompts
            for at, text in enumerate(probes[index].read)
        }
        order = sorted(wanted, key=lambda key: len(prompts[key[0]]) + len(wanted[key]))
        found: dict[tuple[int, int], Reading] = {}
        for start in range(0, len(order), BATCH):
            keys = order[start : start + BATCH]
            texts = [(prompts[key[0]], wanted[key]) for key in keys]
            found |= zip(keys, self._read_together(texts), strict=True)
        return found

    def _read_together(self, texts: Sequence[tuple[list[int], list[int]]]) -> Iterator[Reading]:
        """Padding stands after a text, where no token of it looks."""
        longest = max(len(prompt) + len(wanted) for prompt, wanted in texts)
        padded = np.zeros((len(texts), longest), dtype=np.int64)
        rows = []
        for at, (prompt, wanted) in enumerate(texts):
            ids = np.array([*prompt, *wanted], dtype=np.int64)
            padded[at, : len(ids)] = ids
            positions = np.full(longest, -1)
            positions[: len(ids)] = np.arange(len(ids))
            rows.append(Row(positions, ids, self._acting))
        model: Any = self._engine.model
        with torch.inference_mode(), installed(model, model.get_decoder().layers, rows):
            logits = model(input_ids=torch.from_numpy(padded)).logits
        for scores, (prompt, wanted) in zip(logits, texts, strict=True):
            first = len(prompt) - 1
            yield _reading(scores[first : first + len(wanted)], torch.tensor(wanted))


def _reading(logits: torch.Tensor, expected: torch.Tensor) -> Reading:
    """logits: [tokens, vocab], before each token of expected, [tokens]."""
    after = logits.double().log_softmax(-1)
    weights = after.exp()
    means = (weights * after).sum(-1)
    deviations = ((weights * after.square()).sum(-1) - means.square()).clamp(min=0).sqrt()
    return Reading(
        logprobs=tuple(after.gather(1, expected[:, None])[:, 0].tolist()),
        likeliest=tuple((after.argmax(-1) == expected).tolist()),
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
    )


def demo_pair(*, read: bool = True) -> tuple[InProcess, InProcess]:
    """The shipped model that knows, and its twin that never did."""
    return InProcess(WEIGHTS / DEMO, read=read), InProcess(WEIGHTS / TWIN, read=read)


def testbed_pair() -> tuple[InProcess, InProcess]:
    """The testbed's model that knows TOFU's forget set, and the one that never saw it."""
    return InProcess(TESTBED / "target"), InProcess(TESTBED / "retain")


testbed_pair.__test__ = False  # type: ignore[attr-defined]
