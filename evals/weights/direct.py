"""Answers straight from a folder of weights, many at a time, without a server."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.probe import Answered, Ask, Probe, Reply
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.local_engine import LocalEngine, Sampling


@dataclass(frozen=True)
class Direct:  # a Measured
    """Sampled answers to questions of one turn.  model: a folder.  name: in results."""

    name: str
    model: Path

    def versions(self) -> Mapping[str, str]:
        """Nothing besides the folder's name."""
        return {"model.id": self.model.name}

    def answers(self, probes: Sequence[Probe]) -> Iterator[Answered]:
        """In order.  Raises ValueError for a probe that asks in another way."""
        engine, renderer = LocalEngine.load(self.model), PromptRenderer(self.model)
        asks = [_plain(probe) for probe in probes]
        if not asks:
            return
        prompts = [
            renderer.chat(renderer.conversation([Message("user", ask.turns)], None), {}).ids
            for ask in asks
        ]
        said: list[list[tuple[Reply, ...]]] = [[] for _ in probes]
        for sample in range(asks[0].samples):
            how = Sampling(
                max_tokens=asks[0].max_tokens,
                temperature=asks[0].temperature,
                seed=asks[0].seed + sample,
            )
            for place, ids in enumerate(engine.generate_batch(prompts, how)):
                text = str(engine.tokenizer.decode(ids, skip_special_tokens=True))
                said[place].append((Reply(text=text, tokens=len(ids)),))
        for probe, conversations in zip(probes, said, strict=True):
            yield Answered(probe=probe, conversations=tuple(conversations))


def _plain(probe: Probe) -> Ask:
    ask = probe.prompt
    if ask.kind != "chat" or len(ask.turns) != 1 or ask.opening or ask.extra or ask.stop:
        raise ValueError("only questions of one turn are asked of weights directly")
    return ask
