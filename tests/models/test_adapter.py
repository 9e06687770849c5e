import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.adapter import (
    CONFIG,
    MODULES,
    WEIGHTS,
    Base,
    BoundAdapter,
    adapters_installed,
    check_adapter,
    from_peft,
    manifest_of,
    materialise,
)
from models.artifact import Artifact, ArtifactCorrupt, ArtifactStore

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BASE = Base(layers=2, hidden=32, queries=48, keys=24, intermediate=40)
RANK, ALPHA = 3, 6.0


def tensors_of(seed: int, modules: tuple[str, ...] = tuple(MODULES)) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made = {}
    for layer in range(BASE.layers):
        for module in modules:
            wide, out = BASE.widths(module)
            name = f"layers.{layer}.{MODULES[module]}.{module}"
            made[f"{name}.A"] = rng.normal(size=(RANK, wide)).astype(np.float32)
            made[f"{name}.B"] = (rng.normal(size=(out, RANK)) * 0.1).astype(np.float32)
    return made


def artifact_of(seed: int, modules: tuple[str, ...] = tuple(MODULES)) -> Artifact:
    tensors = tensors_of(seed, modules)
    made = manifest_of(tensors, BASE, "npo", ALPHA)
    return Artifact(f"sha256:{seed:064x}", {**made, "tensors": None}, tensors)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        initializer_range=0.2,
    )
    return transformers.LlamaForCausalLM(config).eval()


def logits_of(model: Any, ids: Any) -> Any:
    with torch.no_grad():
        return model(ids).logits


# --- the artifact --------------------------------------------------------------------------------


def test_the_widths_are_those_of_the_model(model: Any) -> None:
    assert Base.of_config(model.config.to_dict()) == BASE
    for module, part in MODULES.items():
        linear = model.get_decoder().get_submodule(f"layers.0.{part}.{module}")
        assert BASE.widths(module) == (linear.in_features, linear.out_features)


def test_widths_that_a_configuration_leaves_out_follow_from_the_others() -> None:
    config = {
        "num_hidden_layers": 1,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "intermediate_size": 96,
    }
    assert Base.of_config(config) == Base(1, 64, 64, 64, 96)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"guard": "steering"},
        {"method": "prayer"},
        {"rank": 0},
        {"rank": 4},
        {"rank": True},
        {"rank": 3.0},
        {"alpha": float("nan")},
        {"alpha": 0},
        {"alpha": "6"},
        {"modules": ["q_proj"]},
        {"modules": []},
        {"base": {"layers": 2}},
        {"base": {**BASE._asdict(), "hidden": 33}},
        {"base": {**BASE._asdict(), "layers": 1}},
        {"base": {**BASE._asdict(), "layers": 2.0}},
        {"base": None},
        {"surplus": 1},
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    artifact = artifact_of(0)
    with pytest.raises(ValueError, match=r"\w"):
        check_adapter({**artifact.manifest, **change}, artifact.tensors)


@pytest.mark.parametrize("key", ["format", "guard", "method", "rank", "alpha", "modules", "base"])
def test_a_manifest_that_lacks_something_is_refused(key: str) -> None:
    artifact = artifact_of(0)
    manifest = {name: value for name, value in artifact.manifest.items() if name != key}
    with pytest.raises(ValueError, match="format 1"):
        check_adapter(manifest, artifact.tensors)


A, B = "layers.0.mlp.up_proj.A", "layers.0.mlp.up_proj.B"


@pytest.mark.parametrize(
    "change",
    [
        {A: np.zeros((RANK, 33), np.float32)},
        {A: np.zeros((RANK + 1, 32), np.float32), B: np.zeros((40, RANK + 1), np.float32)},
        {A: np.zeros((RANK, 32), np.float64)},
        {A: np.full((RANK, 32), np.inf, np.float32)},
        {B: np.full((40, RANK), np.nan, np.float32)},
        {A: None},
        {"layers.2.mlp.up_proj.A": np.zeros((RANK, 32), np.float32)},
        {"layers.01.mlp.up_proj.A": np.zeros((RANK, 32), np.float32)},
        {"layers.0.self_attn.up_proj.A": np.zeros((RANK, 32), np.float32)},
        {"layers.0.mlp.embed_proj.A": np.zeros((RANK, 32), np.float32)},
        {"embed_tokens.A": np.zeros((RANK, 32), np.float32)},
    ],
)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    artifact = artifact_of(0)
    changed = {**artifact.tensors, **change}
    tensors = {name: tensor for name, tensor in changed.items() if tensor is not None}
    with pytest.raises(ValueError, match=r"\w"):
        check_adapter(artifact.manifest, tensors)


def test_an_adapter_without_tensors_is_refused() -> None:
    with pytest.raises(ValueError, match="modules"):
        check_adapter({**artifact_of(0).manifest, "modules": []}, {})


# --- PEFT's layout -------------------------------------------------------------------------------


def test_what_is_laid_out_can_be_read_back(tmp_path: Path) -> None:
    artifact = artifact_of(1)
    place = materialise(artifact, tmp_path)
    assert place == tmp_path / artifact.digest.removeprefix("sha256:")
    manifest, tensors = from_peft(place, BASE, "npo")
    assert {**manifest, "tensors": None} == artifact.manifest
    assert tensors.keys() == artifact.tensors.keys()
    assert all(np.array_equal(tensors[name], artifact.tensors[name]) for name in tensors)


def test_it_goes_through_a_store(tmp_path: Path) -> None:
    made = artifact_of(1)
    store = ArtifactStore(tmp_path / "artifacts")
    manifest = {name: value for name, value in made.manifest.items() if name != "tensors"}
    opened = store.open(store.put(manifest, made.tensors))
    assert from_peft(materialise(opened, tmp_path), BASE, "npo")[0] == manifest


def test_the_layout_is_the_one_that_loaders_look_for(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    place = materialise(artifact_of(1, ("v_proj",)), tmp_path)
    config = json.loads((place / CONFIG).read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", RANK, ALPHA)
    assert config["target_modules"] == ["v_proj"]
    assert set(load_file(place / WEIGHTS)) == {
        f"base_model.model.model.layers.{layer}.self_attn.v_proj.lora_{half}.weight"
        for layer in (0, 1)
        for half in "AB"
    }
    assert [entry.name for entry in tmp_path.iterdir()] == [place.name], "nothing else is left"


def test_laying_out_twice_writes_once(tmp_path: Path) -> None:
    place = materialise(artifact_of(1), tmp_path)
    before = (place / WEIGHTS).stat()
    assert materialise(artifact_of(1), tmp_path) == place
    assert (place / WEIGHTS).stat() == before


def test_anything_else_in_its_place_is_found_out(tmp_path: Path) -> None:
    place = materialise(artifact_of(1), tmp_path)
    weights = bytearray((place / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (place / WEIGHTS).write_bytes(weights)
    with pytest.raises(ArtifactCorrupt):
        materialise(artifact_of(1), tmp_path)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_found_out(tmp_path: Path, name: str) -> None:
    (materialise(artifact_of(1), tmp_path) / name).unlink()
    with pytest.raises(ArtifactCorrupt):
        materialise(artifact_of(1), tmp_path)


def test_a_file_too_many_is_found_out(tmp_path: Path) -> None:
    (materialise(artifact_of(1), tmp_path) / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ArtifactCorrupt):
        materialise(artifact_of(1), tmp_path)


def test_what_is_no_adapter_is_not_laid_out(tmp_path: Path) -> None:
    artifact = artifact_of(1)
    with pytest.raises(ValueError, match="method"):
        materialise(replace(artifact, manifest={**artifact.manifest, "method": ""}), tmp_path)
    assert not list(tmp_path.iterdir())


def rewrite(place: Path, **changes: Any) -> None:
    config = json.loads((place / CONFIG).read_text())
    (place / CONFIG).write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    "change",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {"q_proj": 2}},
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 1]]},
        {"r": 4},
    ],
)
def test_an_adapter_that_is_more_than_its_matrices_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    place = materialise(artifact_of(1), tmp_path)
    rewrite(place, **change)
    with pytest.raises(ValueError, match=r"\w"):
        from_peft(place, BASE, "npo")


def test_other_tensors_than_those_of_linear_layers_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    place = materialise(artifact_of(1), tmp_path)
    name = "base_model.model.lm_head.lora_A.weight"
    extra = {name: np.zeros((RANK, 32), np.float32)}
    save_file({**load_file(place / WEIGHTS), **extra}, place / WEIGHTS)
    with pytest.raises(ValueError, match="name"):
        from_peft(place, BASE, "npo")


def test_a_rank_stabilised_adapter_keeps_its_scale(tmp_path: Path) -> None:
    place = materialise(artifact_of(1), tmp_path)
    rewrite(place, use_rslora=True, lora_alpha=5)
    manifest, _ = from_peft(place, BASE, "npo")
    assert manifest["alpha"] / RANK == pytest.approx(5 / RANK**0.5)


def test_half_precisions_are_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = materialise(artifact_of(1), tmp_path)
    brain = {name: t.bfloat16() for name, t in load_file(place / WEIGHTS).items()}
    save_file(brain, place / WEIGHTS)
    _, tensors = from_peft(place, BASE, "npo")
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    wanted = torch.tensor(tensors_of(1)[A]).bfloat16().float().numpy()
    assert np.array_equal(tensors[A], wanted)


# --- application ---------------------------------------------------------------------------------


def merged(model: Any, artifact: Artifact, weight: float = 1.0) -> Any:
    """The slow, obvious way: a copy of the model with the deltas in its weights."""
    import copy

    other = copy.deepcopy(model)
    for name, down in artifact.tensors.items():
        if name.endswith(".A"):
            linear = other.get_decoder().get_submodule(name[:-2])
            up = artifact.tensors[f"{name[:-2]}.B"]
            linear.weight.data += torch.tensor(weight * ALPHA / RANK * up @ down)
    return other


def bound(artifact: Artifact) -> BoundAdapter:
    return BoundAdapter.bind(artifact, "cpu", torch.float32)


def test_an_adapter_equals_merged_weights_row_by_row(model: Any) -> None:
    artifacts = [artifact_of(1), artifact_of(2, ("q_proj", "down_proj"))]
    one, other = map(bound, artifacts)
    ids = torch.randint(0, 50, (5, 9), generator=torch.Generator().manual_seed(1))
    plain = logits_of(model, ids)
    with adapters_installed(model, [None, one, other, None, one]):
        found = logits_of(model, ids)
    wanted = [logits_of(merged(model, artifact), ids) for artifact in artifacts]
    for row, reference in ((1, wanted[0]), (2, wanted[1]), (4, wanted[0])):
        assert torch.allclose(found[row], reference[row], atol=1e-4)
        assert not torch.allclose(found[row], plain[row], atol=0.1)
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found[3], plain[3])


def test_nothing_is_left_behind(model: Any) -> None:
    ids = torch.arange(8)[None]
    before = logits_of(model, ids)
    with adapters_installed(model, [bound(artifact_of(1))]):
        assert not torch.equal(logits_of(model, ids), before)
    assert torch.equal(logits_of(model, ids), before)


def test_no_adapter_changes_nothing(model: Any) -> None:
    ids = torch.arange(8)[None]
    with adapters_installed(model, [None]):
        assert torch.equal(logits_of(model, ids), logits_of(model, ids))
    with adapters_installed(model, []):
        logits_of(model, ids)


def test_a_negated_adapter_subtracts(model: Any, tmp_path: Path) -> None:
    place = materialise(artifact_of(1), tmp_path)
    manifest, tensors = from_peft(place, BASE, "task_vector_negation", weight=-1.0)
    negated = bound(Artifact("", {**manifest, "tensors": None}, tensors))
    ids = torch.arange(8)[None]
    with adapters_installed(model, [negated]):
        found = logits_of(model, ids)
    assert torch.allclose(found, logits_of(merged(model, artifact_of(1), -1.0), ids), atol=1e-4)


def test_a_batch_of_other_rows_is_refused(model: Any) -> None:
    with (
        adapters_installed(model, [None, bound(artifact_of(1))]),
        pytest.raises(ValueError, match="each row"),
    ):
        logits_of(model, torch.arange(8)[None])


def test_a_model_of_other_widths_is_refused() -> None:
    def tiny(**changes: int) -> Any:
        sizes = {
            "vocab_size": 50,
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
        }
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **changes}))

    for other in (tiny(intermediate_size=44), tiny(num_hidden_layers=1)):
        with (
            pytest.raises(ValueError, match="adapter is for"),
            adapters_installed(other, [bound(artifact_of(1))]),
        ):
            pass
