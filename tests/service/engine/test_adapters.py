import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guards.case import Edit, Span
from models.adapter import WEIGHTS, Base, manifest_of
from models.artifact import ArtifactStore
from service.admission import CheckedArtifacts, Refused

torch = pytest.importorskip("torch")

from service.engine.adapters import (  # noqa: E402
    Adapters,
    adapter_id,
    engine_arguments,
    spare_rows_without_adapter,
)

BASE = Base(layers=1, hidden=4, queries=4, keys=4, intermediate=8)


def put(store: ArtifactStore, seed: int, rank: int = 2, base: Base = BASE) -> str:
    rng = np.random.default_rng(seed)
    wide, out = base.widths("v_proj")
    tensors: dict[str, Any] = {
        "layers.0.self_attn.v_proj.A": rng.normal(size=(rank, wide)).astype(np.float32),
        "layers.0.self_attn.v_proj.B": rng.normal(size=(out, rank)).astype(np.float32),
    }
    return store.put(manifest_of(tensors, base, "npo", 4.0), tensors)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def adapters(store: ArtifactStore, tmp_path: Path) -> Adapters:
    return Adapters(CheckedArtifacts(store), tmp_path / "adapters", BASE, rank=8)


def edit(digest: str, guard: str = "adapter_routing") -> Edit:
    return Edit(guard, digest, (Span(0, 1),))


def test_an_adapter_is_laid_out_once(adapters: Adapters, store: ArtifactStore) -> None:
    digest = put(store, 1)
    place = adapters.prepare(digest)
    assert place.is_absolute()
    assert (place / WEIGHTS).is_file()
    assert adapters.prepare(digest) == place


def test_a_folder_that_has_gone_is_made_again(adapters: Adapters, store: ArtifactStore) -> None:
    digest = put(store, 1)
    place = adapters.prepare(digest)
    for entry in place.iterdir():
        entry.unlink()
    place.rmdir()
    assert (adapters.prepare(digest) / WEIGHTS).is_file()


@pytest.mark.parametrize(
    ("rank", "base", "reason"),
    [(9, BASE, "rank"), (2, BASE._replace(layers=2), "another model")],
)
def test_what_a_worker_could_not_load_is_refused(
    adapters: Adapters, store: ArtifactStore, rank: int, base: Base, reason: str
) -> None:
    digest = put(store, 1, rank, base)
    with pytest.raises(Refused, match=reason):
        adapters.prepare(digest)


def test_what_is_missing_or_no_adapter_is_refused(adapters: Adapters, store: ArtifactStore) -> None:
    with pytest.raises(Refused, match="missing"):
        adapters.prepare("sha256:" + "0" * 64)
    with pytest.raises(Refused, match="cannot be applied"):
        adapters.prepare(store.put({"format": 1}))


def test_a_folder_that_was_tampered_with_is_refused(
    adapters: Adapters, store: ArtifactStore, tmp_path: Path
) -> None:
    digest = put(store, 1)
    (adapters.prepare(digest) / WEIGHTS).write_bytes(b"")
    fresh = Adapters(CheckedArtifacts(store), tmp_path / "adapters", BASE, rank=8)
    with pytest.raises(Refused, match="laid out"):
        fresh.prepare(digest)


def test_adapters_that_vllm_could_not_tell_apart_are_refused(
    adapters: Adapters, store: ArtifactStore, tmp_path: Path
) -> None:
    digest = put(store, 1)
    twin = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    assert adapter_id(twin) == adapter_id(digest)
    (tmp_path / "adapters" / twin.removeprefix("sha256:")).mkdir(parents=True)
    with pytest.raises(Refused, match="told apart"):
        adapters.prepare(digest)


def test_numbers_are_positive_stable_and_fit_32_bits() -> None:
    for first in ("00000000", "ffffffff", "3fffffff", "40000000"):
        number = adapter_id("sha256:" + first + "0" * 56)
        assert 2**30 <= number < 2**31
    assert adapter_id("sha256:0000002a" + "0" * 56) == 2**30 + 42


def test_the_base_is_read_from_the_model_folder(store: ArtifactStore, tmp_path: Path) -> None:
    config = {
        "num_hidden_layers": 1,
        "hidden_size": 4,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = Adapters.of_model(CheckedArtifacts(store), tmp_path / "adapters", tmp_path, 8)
    assert made.prepare(put(store, 1)).is_dir()


def test_the_command_line_names_everything() -> None:
    found = engine_arguments(at_once=2, rank=9, kept=4)
    assert found[:7] == (
        "--enable-lora",
        *("--max-loras", "2", "--max-lora-rank", "16", "--max-cpu-loras", "4"),
    )
    for wrong in ((0, 8, 1), (2, 8, 1), (1, 0, 1), (1, 513, 1)):
        with pytest.raises(ValueError, match="adapters"):
            engine_arguments(*wrong)


def test_the_first_edit_says_the_adapter(adapters: Adapters, store: ArtifactStore) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed on this machine")
    first, second = put(store, 1), put(store, 2)
    found = adapters.request((edit(first, "steering"), edit(second), edit(first)))
    assert found.lora_name == second
    assert found.lora_int_id == adapter_id(second)
    assert Path(found.lora_path) == adapters.prepare(second)
    assert adapters.request((edit(first, "steering"),)) is None
    assert adapters.request(()) is None


@pytest.fixture
def lora_ops(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("vllm", reason="vLLM is not installed on this machine")
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    names = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
    for module in (lora_ops, punica_cpu):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    return lora_ops


INDICES = [[1, -1, 0, -1], [-1, -1, -1, -1], [0, 1, 1, 0]]


@pytest.mark.parametrize("indices", INDICES)
def test_rows_without_an_adapter_keep_every_bit(lora_ops: Any, indices: list[int]) -> None:
    spare_rows_without_adapter()
    dice = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 6, generator=dice)
    weights = torch.randn(2, 1, 5, 6, generator=dice)
    start = torch.randn(4, 5, generator=dice)
    at = torch.tensor(indices)

    def wanted(row: int) -> Any:
        return weights[indices[row], 0] @ inputs[row]

    expanded, sliced, shrunk = start.clone(), torch.cat([start, start], 1), start.clone()
    lora_ops.bgmv_expand(inputs, weights, expanded, at, True)
    lora_ops.bgmv_expand_slice(inputs, weights, sliced, at, 5, 5, add_inputs=True)
    lora_ops.bgmv_shrink(inputs, weights, shrunk, at, 2.0)
    for row, index in enumerate(indices):
        assert torch.equal(sliced[row, :5], start[row])
        if index < 0:
            for found in (expanded[row], sliced[row, 5:], shrunk[row]):
                assert torch.equal(found, start[row])
        else:
            assert torch.allclose(expanded[row], start[row] + wanted(row), atol=1e-5)
            assert torch.allclose(sliced[row, 5:], start[row] + wanted(row), atol=1e-5)
            assert torch.allclose(shrunk[row], 2 * wanted(row), atol=1e-5)


def test_mending_twice_mends_once(lora_ops: Any) -> None:
    spare_rows_without_adapter()
    once = lora_ops.bgmv_shrink
    spare_rows_without_adapter()
    assert lora_ops.bgmv_shrink is once
