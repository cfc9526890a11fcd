"""Models built in memory, and ONNX Runtime's value of each of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper, shape_inference

IR_VERSION = 10  # each ONNX Runtime since 1.19 reads it


def build_model(
    nodes: Sequence[onnx.NodeProto],
    input_shape: Sequence[int | str | None],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    output: str = "y",
    opset: int = 17,
    dtype: Any = np.float32,
) -> onnx.ModelProto:
    """A model with the input 'x' and one output; constants become initializers."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, input_shape)],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    # The checker wants a shape on each output: the inferred one, or where there is none, a single unknown axis.
    inferred = shape_inference.infer_shapes(model).graph.output[0].type.tensor_type
    target = model.graph.output[0].type.tensor_type
    if inferred.HasField("shape"):
        target.CopyFrom(inferred)
    else:
        target.elem_type = kind
        target.shape.dim.add().dim_param = "unknown"
    return model


def runtime_values(model: onnx.ModelProto, points: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """For each point, the value of every tensor that a node gives, by ONNX Runtime without optimisations."""
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    names = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in names:
                names.add(name)
                open_model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(open_model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    order = [value.name for value in session.get_outputs()]
    return [dict(zip(order, session.run(None, {given: point}), strict=True)) for point in points]


@pytest.fixture(scope="session")
def onnx_model() -> Callable[..., onnx.ModelProto]:
    return build_model


@pytest.fixture(scope="session")
def ort_values() -> Callable[..., list[dict[str, np.ndarray]]]:
    return runtime_values
