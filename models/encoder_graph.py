"""all-MiniLM-L6-v2 as an ONNX graph, written straight from its weights: no torch is needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, SIZE = 6, 12, 384
_OPSET = 17
_EPSILON = 1e-12  # of the model's layer norms


def encoder_graph(weights: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """ids, mask: int64 [n, tokens] -> vectors: float32 [n, SIZE], mean over the mask, of length 1.

    weights: the tensors of a BERT model by the names of its checkpoint.
    """
    return _Writer(weights).model()


class _Writer:
    """Collects nodes and constants; each method returns the name of what it computes."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self) -> onnx.ModelProto:
        mask = self._do("Cast", "mask", to=TensorProto.FLOAT)
        hidden = self._embedded()
        bias = self._bias(mask)
        for layer in range(LAYERS):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}.")
        self._pooled(hidden, mask)
        axes = ["n", "tokens"]
        graph = helper.make_graph(
            self._nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info(x, TensorProto.INT64, axes) for x in ("ids", "mask")],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", SIZE])],
            list(self._constants.values()),
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
        made.ir_version = 8
        # Shapes are as the quantiser's pre-processing would leave them; without this it warns.
        helper.set_model_props(made, {"onnx.quant.pre_process": "onnxruntime.quant"})
        onnx.checker.check_model(made)
        return made

    def _embedded(self) -> str:
        words = self._do("Gather", self._weight("embeddings.word_embeddings.weight"), "ids")
        length = self._do("Slice", self._do("Shape", "ids"), *self._ints([1], [2], [0]))
        places = (
            self._weights["embeddings.position_embeddings.weight"]
            + self._weights["embeddings.token_type_embeddings.weight"][0]  # all of one segment
        )
        table = self._constant("places", places.astype(np.float32))
        rows = self._do("Slice", table, *self._ints([0]), length, *self._ints([0]))
        return self._norm(self._do("Add", words, rows), "embeddings.LayerNorm.")

    def _bias(self, mask: str) -> str:
        hidden = self._do("Sub", self._constant("one", np.float32(1)), mask)
        scaled = self._do("Mul", hidden, self._constant("minus_much", np.float32(-1e9)))
        return self._do("Unsqueeze", scaled, *self._ints([1, 2]))

    def _layer(self, hidden: str, bias: str, prefix: str) -> str:
        own = prefix + "attention.self."
        query, key, value = (
            self._heads(self._dense(hidden, f"{own}{part}."), order)
            for part, order in (
                ("query", [0, 2, 1, 3]),
                ("key", [0, 2, 3, 1]),
                ("value", [0, 2, 1, 3]),
            )
        )
        scale = self._constant("scale", np.float32((SIZE / HEADS) ** -0.5))
        scores = self._do("Mul", self._do("MatMul", query, key), scale)
        shares = self._do("Softmax", self._do("Add", scores, bias), axis=-1)
        seen = self._do("Transpose", self._do("MatMul", shares, value), perm=[0, 2, 1, 3])
        flat = self._do("Reshape", seen, *self._ints([0, 0, SIZE]))
        out = self._dense(flat, prefix + "attention.output.dense.")
        hidden = self._norm(self._do("Add", out, hidden), prefix + "attention.output.LayerNorm.")
        inner = self._gelu(self._dense(hidden, prefix + "intermediate.dense."))
        out = self._dense(inner, prefix + "output.dense.")
        return self._norm(self._do("Add", out, hidden), prefix + "output.LayerNorm.")

    def _pooled(self, hidden: str, mask: str) -> None:
        column = self._do("Unsqueeze", mask, *self._ints([2]))
        total = self._do("ReduceSum", self._do("Mul", hidden, column), *self._ints([1]), keepdims=0)
        # The mean would be scaled to length 1 as the sum is.
        length = self._do("ReduceL2", total, axes=[1], keepdims=1)
        self._nodes.append(helper.make_node("Div", [total, length], ["vectors"]))

    def _heads(self, hidden: str, order: Sequence[int]) -> str:
        split = self._do("Reshape", hidden, *self._ints([0, 0, HEADS, SIZE // HEADS]))
        return self._do("Transpose", split, perm=list(order))

    def _dense(self, hidden: str, prefix: str) -> str:
        weight = self._constant(prefix + "transposed", self._weights[prefix + "weight"].T.copy())
        return self._do("Add", self._do("MatMul", hidden, weight), self._weight(prefix + "bias"))

    def _norm(self, hidden: str, prefix: str) -> str:
        scale, shift = self._weight(prefix + "weight"), self._weight(prefix + "bias")
        return self._do("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=_EPSILON)

    def _gelu(self, hidden: str) -> str:
        root = self._constant("root_of_two", np.float32(2**0.5))
        bell = self._do("Erf", self._do("Div", hidden, root))
        grown = self._do("Mul", hidden, self._do("Add", bell, self._constant("one", np.float32(1))))
        return self._do("Mul", grown, self._constant("half", np.float32(0.5)))

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name].astype(np.float32))

    def _ints(self, *values: Sequence[int]) -> list[str]:
        return [self._constant(f"ints_{v}", np.array(v, np.int64)) for v in values]

    def _constant(self, name: str, value: Any) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _do(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name
