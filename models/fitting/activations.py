"""What a causal language model computes on the way: residual streams and the keys of its MLPs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

Place = tuple[str, int]
"""``("layer", i)``: the residual stream after decoder layer i.  ``("mlp", i)``: what its
``down_proj`` is given."""


def captured(
    model: Any,
    prompts: Sequence[Sequence[int]],
    places: Sequence[Place],
    *,
    which: Literal["all", "last"] = "last",
    batch_size: int = 16,
) -> Iterator[dict[Place, Tensor]]:
    """The rows of each place, [rows, width] in float32 on the CPU, a batch of prompts at a time.

    model: a causal language model of transformers.  prompts: token ids, none of them empty.
    which: of every position, prompt after prompt, or of each prompt's last one.
    No more than one batch is held, so what is only summed up needs little memory.
    """
    layers: nn.ModuleList = model.get_decoder().layers
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        found: dict[Place, Tensor] = {}
        with torch.inference_mode(), ExitStack() as stack:
            for place in places:
                stack.callback(_listen(layers[place[1]], place, found).remove)
            _run(model, batch)
        yield {place: _rows(found[place], batch, which) for place in places}


def last_rows(
    model: Any, prompts: Sequence[Sequence[int]], places: Sequence[Place], batch_size: int = 16
) -> Mapping[Place, Tensor]:
    """The row of each prompt's last position, [prompts, width] in the order of the prompts."""
    parts = list(captured(model, prompts, places, which="last", batch_size=batch_size))
    return {place: torch.cat([part[place] for part in parts]) for place in places}


def _run(model: Any, batch: Sequence[Sequence[int]]) -> None:
    """Padding is on the right, where no token of a prompt can see it."""
    width = max(len(prompt) for prompt in batch)
    ids = torch.tensor([[*prompt, *[prompt[0]] * (width - len(prompt))] for prompt in batch])
    mask = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in batch])
    device = model.device
    model.get_decoder()(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)


def _listen(layer: nn.Module, place: Place, found: dict[Place, Tensor]) -> Any:
    if place[0] == "mlp":

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            del module
            found[place] = args[0]

        return layer.get_submodule("mlp.down_proj").register_forward_pre_hook(before)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        del module, args
        found[place] = output[0] if isinstance(output, tuple) else output

    return layer.register_forward_hook(after)


def _rows(hidden: Tensor, batch: Sequence[Sequence[int]], which: str) -> Tensor:
    """hidden: [prompts, tokens, width]."""
    if which == "last":
        at = torch.tensor([len(prompt) - 1 for prompt in batch], device=hidden.device)
        rows = hidden[torch.arange(len(batch), device=hidden.device), at]
    else:
        real = zip(hidden, batch, strict=True)
        rows = torch.cat([states[: len(prompt)] for states, prompt in real])
    return rows.to("cpu", torch.float32, copy=True)
