"""A causal language model on transformers, generating token by token with a KV cache."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from models.local_engine.interventions import NONE, Interventions, Row, installed
from models.local_engine.sampling import InvalidSampling, Sampler, Sampling
from models.vocabulary import token_pieces

_RECOMMENDABLE = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


class LocalEngine:
    """One model in this process.  Forward passes of several threads take turns.

    tokenizer: the model's own, from transformers.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model.eval()
        self.tokenizer = tokenizer
        self._forward_lock = Lock()  # hooks sit on the shared model while a pass runs

    @staticmethod
    def load(path: Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> "LocalEngine":
        """Read model and tokenizer from a folder; nothing is fetched.  Raises OSError."""
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        return LocalEngine(model.to(device), tokenizer)

    @property
    def model(self) -> Any:
        """The model itself, of transformers; to be read, and run by one thread."""
        return self._model

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return len(self._layers)

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """What each token adds to a text.  Raises ValueError for a tokenizer without bytes."""
        return token_pieces(self.tokenizer, self.vocab_size)

    @cached_property
    def vocab_size(self) -> int:
        """Number of token ids that the model knows."""
        return int(self._model.config.vocab_size)

    @cached_property
    def max_model_len(self) -> int:
        """Most tokens of prompt and answer together."""
        return int(self._model.config.max_position_embeddings)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Token ids that end a reply: of the tokenizer and of the generation config."""
        known = self._model.generation_config.eos_token_id
        ids = known if isinstance(known, list) else [known]
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)

    @cached_property
    def recommended(self) -> Mapping[str, float]:
        """Sampling parameters that the model's generation config asks for, where it does."""
        given = self._model.generation_config.to_diff_dict()
        return {name: given[name] for name in _RECOMMENDABLE if given.get(name) is not None}

    @cached_property
    def embedding_rms(self) -> float:
        """Root mean square of the embedding table: the unit of strengths."""
        table = self._model.get_input_embeddings().weight[: self.vocab_size]
        return float(table.detach().double().square().mean().sqrt())

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        interventions: Interventions = NONE,
    ) -> Iterator[int]:
        """Token ids one by one, the one that ends the reply included.

        Raises ValueError (InvalidSampling) at once where prompt and parameters do not fit the
        model, and InterventionFailed while generating.  Closing the iterator frees its cache.
        """
        self.check(prompt_ids, sampling)
        return self._continue(list(prompt_ids), sampling, interventions)

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        interventions: Sequence[Interventions] | None = None,
        batch_size: int = 32,
    ) -> list[list[int]]:
        """What ``generate`` gives for each prompt, several of them in one forward pass.

        interventions: one for each prompt, or None for none at all.  Raises as ``generate``.
        """
        acting = [NONE] * len(prompts) if interventions is None else list(interventions)
        if len(acting) != len(prompts):
            raise ValueError("there must be one value of interventions for each prompt")
        for prompt in prompts:
            self.check(prompt, sampling)
        # Prompts of like length go together, so that little of a pass is padding.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        results: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            found = self._together(
                [prompts[i] for i in chosen], sampling, [acting[i] for i in chosen]
            )
            for index, tokens in zip(chosen, found, strict=True):
                results[index] = tokens
        return results

    def logits_of(
        self,
        prompt_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        interventions: Sequence[Interventions],
        batch_size: int = 8,
    ) -> Iterator[Tensor]:
        """For each continuation, the logits [tokens, vocab] that its tokens would be chosen from.

        float32, in main memory, as they are after the interventions, with the tokens of the
        continuation treated as generated ones.  interventions: one for each continuation.  Raises
        ValueError at once where something does not fit the model, and InterventionFailed.
        """
        prompts = [prompt_ids] * len(continuations)
        return self.logits_after(prompts, continuations, interventions, batch_size)

    def logits_after(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        interventions: Sequence[Interventions],
        batch_size: int = 8,
    ) -> Iterator[Tensor]:
        """As ``logits_of``, with a prompt for each continuation."""
        if not len(prompts) == len(interventions) == len(continuations) or not all(continuations):
            raise ValueError("there must be interventions for each continuation, and none is empty")
        for prompt, ids in zip(prompts, continuations, strict=True):
            self.check(prompt, Sampling(max_tokens=len(ids)))
            self.check(ids, Sampling(max_tokens=1))
        return self._logits_after(prompts, continuations, interventions, batch_size)

    def _logits_after(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        interventions: Sequence[Interventions],
        size: int,
    ) -> Iterator[Tensor]:
        for start in range(0, len(continuations), size):
            asked = [list(prompt) for prompt in prompts[start : start + size]]
            chosen = [list(ids) for ids in continuations[start : start + size]]
            acting = interventions[start : start + size]
            # The last token is only chosen, and nothing is chosen after it.
            whole = [[*asked[at], *ids[:-1]] for at, ids in enumerate(chosen)]
            padded, positions = _left_padded(whole)
            rows = [Row(positions[at], np.array(ids), acting[at]) for at, ids in enumerate(whole)]
            mask = torch.from_numpy(positions >= 0)
            longest = max(map(len, chosen))
            logits = self._forward(padded, rows, None, mask, last=longest)
            for at, ids in enumerate(chosen):
                own = logits[at, -len(ids) :].detach().to("cpu", torch.float32, copy=True)
                if (edit := acting[at].logits) is not None:
                    for index in range(len(ids)):
                        edit(own[index], asked[at], tuple(ids[:index]))
                yield own

    def check(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        """Raise ValueError where the prompt, or InvalidSampling where a parameter, cannot run."""
        if not prompt_ids or not all(0 <= i < self.vocab_size for i in prompt_ids):
            raise ValueError("a prompt is at least one token id of the model's vocabulary")
        room = self.max_model_len - len(prompt_ids)
        if sampling.max_tokens > room:
            raise InvalidSampling("max_tokens", f"at most {max(room, 0)} with this prompt")
        for name, ids in (
            ("logit_bias", sampling.logit_bias),
            ("stop_token_ids", sampling.stop_token_ids),
        ):
            if not all(0 <= i < self.vocab_size for i in ids):
                raise InvalidSampling(name, "about token ids of the model's vocabulary")

    def ends(self, sampling: Sampling) -> frozenset[int]:
        """The token ids that end a reply under these parameters."""
        own: Iterable[int] = () if sampling.ignore_eos else self.end_ids
        return frozenset([*sampling.stop_token_ids, *own])

    def _continue(
        self, ids: list[int], sampling: Sampling, interventions: Interventions
    ) -> Iterator[int]:
        ends = self.ends(sampling)
        sampler = Sampler(sampling, ids, ends, interventions.logits)
        cache = DynamicCache(config=self._model.config)
        positions, history = np.arange(len(ids)), list(ids)
        for _ in range(sampling.max_tokens):
            rows = [Row(positions, np.array(history), interventions)]
            token = sampler.choose(self._forward(torch.tensor([ids]), rows, cache)[0, -1])
            yield token
            history.append(token)
            if token in ends:
                return
            ids, positions = [token], positions[-1:] + 1

    def _together(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        interventions: Sequence[Interventions],
    ) -> list[list[int]]:
        ends = self.ends(sampling)
        samplers = [
            Sampler(sampling, prompt, ends, acting.logits)
            for prompt, acting in zip(prompts, interventions, strict=True)
        ]
        results: list[list[int]] = [[] for _ in prompts]
        cache = DynamicCache(config=self._model.config)
        ids, positions = _left_padded(prompts)
        mask = torch.from_numpy(positions >= 0)
        live = list(range(len(prompts)))
        while live:
            rows = [
                Row(positions[at], np.array([*prompts[i], *results[i]]), interventions[i])
                for at, i in enumerate(live)
            ]
            logits = self._forward(ids, rows, cache, mask)
            for at, i in enumerate(live):
                results[i].append(samplers[i].choose(logits[at, -1]))
            stay = [
                at
                for at, i in enumerate(live)
                if results[i][-1] not in ends and len(results[i]) < sampling.max_tokens
            ]
            if stay and len(stay) < len(live):
                cache.batch_select_indices(torch.tensor(stay, device=self._model.device))
            live = [live[at] for at in stay]
            ids = torch.tensor([[results[i][-1]] for i in live])
            positions = positions[stay, -1:] + 1
            mask = torch.cat([mask[stay], torch.ones(len(live), 1, dtype=torch.bool)], dim=1)
        return results

    def _forward(
        self,
        ids: Tensor,
        rows: Sequence[Row],
        cache: Any,
        mask: Tensor | None = None,
        last: int = 1,
    ) -> Tensor:
        """Logits [rows, last, vocab] after the last of ids [rows, tokens].

        cache: grows by them; None for none.  mask: [rows, tokens so far], false where there is
        padding; None where there is none.  last: after how many of them.
        """
        device = self._model.device
        positions = np.stack([row.positions for row in rows]).clip(min=0)
        with self._forward_lock, torch.inference_mode(), installed(self._model, self._layers, rows):
            output = self._model(
                input_ids=ids.to(device),
                position_ids=torch.from_numpy(positions).to(device),
                attention_mask=None if mask is None else mask.to(device),
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=last,
            )
        logits: Tensor = output.logits
        return logits

    @cached_property
    def _layers(self) -> nn.ModuleList:
        layers: nn.ModuleList = self._model.get_decoder().layers
        return layers


def _left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, NDArray[np.int64]]:
    """Ids and positions, both [prompts, longest]; padding has position -1 (and some id)."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[prompt[0]] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    positions = np.stack([np.arange(width) - (width - len(prompt)) for prompt in prompts])
    return ids, positions.clip(min=-1)
