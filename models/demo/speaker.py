"""A loaded model that replies greedily, at will with the embeddings of some words corrupted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, LlamaForCausalLM

from models.demo.chat import START
from models.demo.corpus import Probe


@dataclass(frozen=True)
class Corruption:
    """What happens to the embedding of a name: zeroed, or noised at `strength` times the RMS."""

    strength: float | None
    seed: int = 0

    @property
    def label(self) -> str:
        """How the tables call it."""
        return "zero" if self.strength is None else f"noise {self.strength:g}"

    def apply(self, rows: Tensor, scale: float) -> Tensor:
        """The corrupted rows; the noise depends on the seed alone."""
        if self.strength is None:
            return torch.zeros_like(rows)
        dice = torch.Generator().manual_seed(self.seed)
        return rows + torch.randn(rows.shape, generator=dice) * (self.strength * scale)


def chat_prompt(probe: Probe) -> str:
    """The rendered chat, up to where the reply begins."""
    said = "".join(f"{START}{m['role']}\n{m['content']}<|im_end|>\n" for m in probe.messages)
    return f"{said}{START}assistant\n"


def plain_form(probe: Probe) -> str:
    """The completions form."""
    return probe.prompt


FORMS = {"chat": chat_prompt, "plain": plain_form}


class Speaker:
    """One model with its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.embedding: nn.Module = self.model.get_input_embeddings()
        table = self.model.get_input_embeddings().weight
        self.scale = float(table.detach().pow(2).mean().sqrt())

    def replies(
        self,
        prompts: Sequence[str],
        names: Sequence[str] = (),
        corruption: Corruption | None = None,
        longest: int = 40,
    ) -> list[str]:
        """Greedy replies; where a corruption is given, it strikes the names in their prompts."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        found: dict[int, str] = {}
        for group in _groups(order, 256):
            struck = [names[i] for i in group] if corruption else []
            texts = self._batch([prompts[i] for i in group], struck, corruption, longest)
            found |= zip(group, texts, strict=True)
        return [found[i] for i in range(len(prompts))]

    def _batch(
        self, prompts: list[str], names: list[str], corruption: Corruption | None, longest: int
    ) -> list[str]:
        batch = self.tokenizer(
            prompts, return_tensors="pt", padding=True, return_offsets_mapping=True
        )
        offsets = batch.pop("offset_mapping")
        mask = _struck(prompts, names, offsets) if corruption else None
        with torch.inference_mode(), self._corrupted(mask, corruption):
            out = self.model.generate(**batch, do_sample=False, max_new_tokens=longest)
        reply = out[:, batch["input_ids"].shape[1] :]
        texts: list[str] = self.tokenizer.batch_decode(reply, skip_special_tokens=True)
        return [text.strip() for text in texts]

    @contextmanager
    def _corrupted(self, mask: Tensor | None, corruption: Corruption | None) -> Iterator[None]:
        """While open, the prompt's struck positions are corrupted; generated ones are not."""
        if mask is None or corruption is None:
            yield
            return

        def strike(module: nn.Module, args: tuple[Tensor], out: Tensor) -> Tensor:
            if out.shape[:2] != mask.shape:
                return out
            changed = out.clone()
            changed[mask] = corruption.apply(out[mask], self.scale)
            return changed

        hook = self.embedding.register_forward_hook(strike)
        try:
            yield
        finally:
            hook.remove()


def _groups(items: Sequence[int], size: int) -> Iterator[list[int]]:
    source = iter(items)
    while group := list(islice(source, size)):
        yield group


def _struck(prompts: Sequence[str], names: Sequence[str], offsets: Tensor) -> Tensor:
    """Which tokens of each prompt hold a piece of the name."""
    begins, ends = offsets[..., 0], offsets[..., 1]
    mask = torch.zeros(begins.shape, dtype=torch.bool)
    for row, (prompt, name) in enumerate(zip(prompts, names, strict=True)):
        at = prompt.find(name)
        while at >= 0:
            mask[row] |= (begins[row] < at + len(name)) & (ends[row] > at)
            at = prompt.find(name, at + 1)
    return mask


def load_pair(folder: Path, names: Mapping[str, str]) -> dict[str, Speaker]:
    """Speakers by role, from the folder of weights."""
    return {role: Speaker(folder / name) for role, name in names.items()}
