"""Writes the ONNX graphs of the embedded models.

::

    python -m scripts.onnx_graphs

A graph holds no weights. It says at which offset each weight lies in the file that a package publishes, so that ONNX
Runtime reads the weights from that file, without PyTorch and without a copy. Needs the packages with the weights.
"""

import json
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import onnx
from onnx import helper

from caslie_tools.backends.embedded import image_classifier, sentence_embeddings
from caslie_tools.backends.embedded.model_downloads import model_folder
from caslie_tools.backends.embedded.onnx_models import GRAPHS

_OPSET: Final = 20
_MASKED: Final = -1e9
"""Added to the attention scores of padding, which makes their softmax 0."""
_LAYERS, _HEADS, _WIDTH = 6, 12, 384
_NORM_EPSILON: Final = 1e-12
"""The configuration of all-MiniLM-L6-v2 (``config.json`` in its package)."""

_STAGES: Final = ((1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1))
"""Blocks and first stride of the stages of EfficientNet-lite2. The shapes of the weights say the rest."""
_BATCH_NORM_EPSILON: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class Weight:
    """Where a weight lies in a file."""

    shape: tuple[int, ...]
    """Its shape in the file."""
    offset: int
    """In bytes, from the start of the file."""
    axes: tuple[int, ...] = ()
    """For each axis of the model, the axis in the file. Empty if they are the same."""

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Its shape in the model."""
        return tuple(self.shape[axis] for axis in self.axes) or self.shape


class Graph:
    """An ONNX graph under construction.

    Args:
        file: Name of the file with the weights.
        weights: The weights in this file.
    """

    def __init__(self, file: str, weights: Mapping[str, Weight]) -> None:
        self.file = file
        self.weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Adds a node and returns the name of its first output."""
        names = list(outputs) or [f"v{len(self._nodes)}"]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def weight(self, name: str) -> str:
        """Adds a reference to a weight in the file and returns its name."""
        weight = self.weights[name]
        tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=weight.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", self.file), ("offset", weight.offset), ("length", 4 * prod(weight.shape))):
            tensor.external_data.add(key=key, value=str(value))
        self._initialisers[name] = tensor
        return self.add("Transpose", name, perm=weight.axes) if weight.axes else name

    def constant(self, values: Any, dtype: type[np.generic] = np.int64) -> str:
        """Adds a constant and returns its name."""
        name = f"{dtype.__name__} {values}"
        self._initialisers[name] = onnx.numpy_helper.from_array(np.array(values, dtype=dtype), name)
        return name

    def linear(self, name: str, value: str) -> str:
        """Adds a linear layer for a matrix of values."""
        return self.add("Gemm", value, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Returns the finished model."""
        graph = helper.make_graph(self._nodes, "caslie", inputs, outputs, list(self._initialisers.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)


def sentence_graph(file: Path) -> onnx.ModelProto:
    """Returns the graph of all-MiniLM-L6-v2: from word pieces to unit vectors by mean pooling."""
    graph = Graph(file.name, dict(_safetensors(file)))
    rows = graph.constant([-1, _WIDTH])
    shape = graph.add("Shape", "input_ids")
    pieces = graph.add("Gather", shape, graph.constant(1))
    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    positions = graph.add(
        "Slice", graph.weight("embeddings.position_embeddings.weight"), graph.constant([0]),
        graph.add("Unsqueeze", pieces, graph.constant([0])), graph.constant([0]),
    )  # fmt: skip
    # Every text is a first sentence.
    kind = graph.add("Gather", graph.weight("embeddings.token_type_embeddings.weight"), graph.constant(0))
    hidden = _normalised(graph, "embeddings", graph.add("Add", graph.add("Add", words, kind), positions))
    batch_shape = graph.add("Shape", hidden)
    split_shape = graph.add("Concat", shape, graph.constant([_HEADS, _WIDTH // _HEADS]), axis=0)
    mask = graph.add("Cast", "attention_mask", to=onnx.TensorProto.FLOAT)
    padding = graph.add("Sub", graph.constant(1, np.float32), mask)
    scores_mask = graph.add(
        "Unsqueeze", graph.add("Mul", padding, graph.constant(_MASKED, np.float32)),
        graph.constant([1, 2]),
    )  # fmt: skip
    scale = graph.constant((_WIDTH // _HEADS) ** -0.5, np.float32)
    hidden = graph.add("Reshape", hidden, rows)
    for layer in range(_LAYERS):
        name = f"encoder.layer.{layer}"

        def projected(part: str, order: Sequence[int], name: str = name, hidden: str = hidden) -> str:
            split = graph.add("Reshape", graph.linear(f"{name}.attention.self.{part}", hidden), split_shape)
            return graph.add("Transpose", split, perm=order)

        scores = graph.add("MatMul", projected("query", (0, 2, 1, 3)), projected("key", (0, 2, 3, 1)))
        shares = graph.add("Softmax", graph.add("Add", graph.add("Mul", scores, scale), scores_mask), axis=-1)
        mixed = graph.add("MatMul", shares, projected("value", (0, 2, 1, 3)))
        joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=(0, 2, 1, 3)), rows)
        attended = graph.add("Add", graph.linear(f"{name}.attention.output.dense", joined), hidden)
        hidden = _normalised(graph, f"{name}.attention.output", attended)
        wide = graph.add("Gelu", graph.linear(f"{name}.intermediate.dense", hidden))
        hidden = _normalised(
            graph, f"{name}.output", graph.add("Add", graph.linear(f"{name}.output.dense", wide), hidden)
        )
    hidden = graph.add("Reshape", hidden, batch_shape)
    weights = graph.add("Unsqueeze", mask, graph.constant([-1]))
    # The sum and the mean have the same direction.
    total = graph.add("ReduceSum", graph.add("Mul", hidden, weights), graph.constant([1]), keepdims=0)
    graph.add("LpNormalization", total, outputs=["vectors"], axis=-1, p=2)
    return graph.model(
        [_values(name, onnx.TensorProto.INT64, "texts", "pieces") for name in ("input_ids", "attention_mask")],
        [_values("vectors", onnx.TensorProto.FLOAT, "texts", _WIDTH)],
    )


def classifier_graph(file: Path) -> onnx.ModelProto:
    """Returns the graph of EfficientNet-lite2: from images to the mean of the last feature map, and logits."""
    graph = Graph(file.name, dict(_legacy_torch_file(file)))
    value = _convolved(graph, "_conv_stem", "_bn0", "images", stride=2)
    block = 0
    for repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            value = _block(graph, f"_blocks.{block}", value, stride=first_stride if repeat == 0 else 1)
            block += 1
    value = _convolved(graph, "_conv_head", "_bn1", value)
    pooled = graph.add("ReduceMean", value, graph.constant([2, 3]), outputs=["features"], keepdims=0)
    graph.add("Gemm", pooled, graph.weight("_fc.weight"), graph.weight("_fc.bias"), outputs=["logits"], transB=1)
    classes, channels = graph.weights["_fc.weight"].model_shape
    return graph.model(
        [_values("images", onnx.TensorProto.FLOAT, "images", 3, 260, 260)],
        [
            _values("features", onnx.TensorProto.FLOAT, "images", channels),
            _values("logits", onnx.TensorProto.FLOAT, "images", classes),
        ],
    )


def _normalised(graph: Graph, name: str, value: str) -> str:
    scale, bias = (graph.weight(f"{name}.LayerNorm.{part}") for part in ("weight", "bias"))
    return graph.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=_NORM_EPSILON)


def _block(graph: Graph, name: str, value: str, *, stride: int) -> str:
    """Adds an inverted bottleneck."""
    expands = f"{name}._expand_conv.weight" in graph.weights
    first = "_expand_conv" if expands else "_depthwise_conv"
    inner = value
    if expands:
        inner = _convolved(graph, f"{name}._expand_conv", f"{name}._bn0", inner)
    inner = _convolved(graph, f"{name}._depthwise_conv", f"{name}._bn1", inner, stride=stride, depthwise=True)
    inner = _convolved(graph, f"{name}._project_conv", f"{name}._bn2", inner, activation=False)
    inputs = graph.weights[f"{name}.{first}.weight"].model_shape[1 if expands else 0]
    outputs = graph.weights[f"{name}._project_conv.weight"].model_shape[0]
    return graph.add("Add", inner, value) if stride == 1 and inputs == outputs else inner


def _convolved(
    graph: Graph, name: str, norm: str, value: str, *, stride: int = 1, depthwise: bool = False, activation: bool = True
) -> str:
    """Adds a convolution, a batch normalisation and ReLU6."""
    shape = graph.weights[f"{name}.weight"].model_shape
    value = graph.add(
        "Conv", value, graph.weight(f"{name}.weight"), auto_pad="SAME_UPPER", strides=[stride, stride],
        kernel_shape=shape[2:], group=shape[0] if depthwise else 1,
    )  # fmt: skip
    parts = [graph.weight(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
    value = graph.add("BatchNormalization", value, *parts, epsilon=_BATCH_NORM_EPSILON)
    if not activation:
        return value
    return graph.add("Clip", value, graph.constant(0, np.float32), graph.constant(6, np.float32))


def _values(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _safetensors(file: Path) -> Iterator[tuple[str, Weight]]:
    with file.open("rb") as opened:
        header_size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(header_size))
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            yield name, Weight(shape=tuple(entry["shape"]), offset=8 + header_size + entry["data_offsets"][0])


class _Reader(pickle.Unpickler):
    """Reads the names and shapes in a file of ``torch.save``. Calls no code that the file names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, start, shape, strides, *rest: (storage, start, shape, strides)
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected")

    def persistent_load(self, pid: Any) -> Any:
        _, storage_type, key, *_ = pid
        return storage_type, key


def _legacy_torch_file(file: Path) -> Iterator[tuple[str, Weight]]:
    """Returns the weights in the format of ``torch.save`` before PyTorch 1.6: pickled names, then plain numbers."""
    with file.open("rb") as opened:
        for _ in ("magic number", "protocol", "system"):
            _read(opened)
        state = _read(opened)
        offsets = {}
        sizes = {"FloatStorage": 4, "LongStorage": 8}
        types = {storage[1]: storage[0] for storage, *_ in state.values()}
        for key in _read(opened):
            count = int.from_bytes(opened.read(8), "little")
            offsets[key] = opened.tell()
            opened.seek(count * sizes[types[key]], 1)
    for name, ((kind, key), start, shape, strides) in state.items():
        if kind == "FloatStorage":
            order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
            axes = tuple(order.index(axis) for axis in range(len(shape)))
            yield (
                name,
                Weight(
                    shape=tuple(shape[axis] for axis in order),
                    offset=offsets[key] + 4 * start,
                    axes=() if axes == tuple(sorted(axes)) else axes,
                ),
            )


def _read(file: BinaryIO) -> Any:
    return _Reader(file).load()


def graphs() -> dict[str, bytes]:
    """Returns the content of the graphs' files by name."""
    sentences, classifier = sentence_embeddings.PACKAGE, image_classifier.PACKAGE
    built = {
        sentence_embeddings.GRAPH: sentence_graph(model_folder(sentences) / sentence_embeddings.WEIGHTS),
        image_classifier.GRAPH: classifier_graph(model_folder(classifier) / image_classifier.WEIGHTS),
    }
    return {name: model.SerializeToString(deterministic=True) for name, model in built.items()}


def main() -> None:
    """Writes the graphs into the package."""
    for name, content in graphs().items():
        (GRAPHS / name).write_bytes(content)


if __name__ == "__main__":
    main()
