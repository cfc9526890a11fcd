"""Large weights beside a model's message: what copies, checks or serialises the message leaves them where they are.

In the message such a weight is a tensor that says, as ONNX's own ModelContainer writes it, that its data lie outside,
at a place that begins with #. ONNX Runtime is given the arrays by name; it refuses those that no node reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Weight = npt.NDArray[Any]

LARGE = 1 << 20
"""Bytes from which a weight lies beside the message: smaller ones may be shapes and axes, which checks look at."""

BESIDE = "#"
"""Where the message says that they are: no tensor's name, which may be longer than a path may be."""

NUMBERS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
"""The types of weights that may be large; all others stay in the message."""


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model without its large weights, and these by name: read-only arrays."""

    proto: onnx.ModelProto
    weights: Mapping[str, Weight] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the large weights."""
        return sum(weight.nbytes for weight in self.weights.values())

    @property
    def whole(self) -> onnx.ModelProto:
        """The message with all weights in it."""
        if not self.weights:
            return self.proto
        model = onnx.ModelProto()
        model.CopyFrom(self.proto)
        for tensor in model.graph.initializer:
            if tensor.name in self.weights:
                tensor.CopyFrom(numpy_helper.from_array(self.weights[tensor.name], tensor.name))
        return model


def apart(model: onnx.ModelProto) -> OnnxModel:
    """The model with large weights that nodes read taken out of the message, which is cut to pieces for that."""
    read = {name for node in model.graph.node for name in node.input}
    tensors = list(model.graph.initializer)
    given = ((tensor.name, _large(tensor)) for tensor in tensors if tensor.name in read)
    weights = {name: weight for name, weight in given if weight is not None}
    if not weights:
        return OnnxModel(model)
    del model.graph.initializer[:]
    small = onnx.ModelProto()  # messages give memory back as a whole only
    small.CopyFrom(model)
    for tensor in tensors:
        kept = tensor.name not in weights
        small.graph.initializer.append(tensor if kept else placeholder(tensor.name, weights[tensor.name]))
    return OnnxModel(small, weights)


def _large(tensor: onnx.TensorProto) -> Weight | None:
    """The tensor's data where they are to lie beside the message."""
    if tensor.data_type not in NUMBERS or not tensor.HasField("raw_data"):
        return None
    if math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize < LARGE:
        return None
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except ValueError:  # the data do not fit the shape: that is told of the message as it came
        return None


def placeholder(name: str, weight: Weight) -> onnx.TensorProto:
    """What stands in the message for a weight beside it."""
    kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=weight.shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=BESIDE)
    return tensor
