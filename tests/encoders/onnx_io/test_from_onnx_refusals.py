"""Whatever cannot be read is one InputError of one line that names it; damaged files included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import InputError
from encoders.onnx_io.from_onnx import Network, network_from_model, read_network

BYTE_FLIPS = 400  # models with one to three changed bytes; each takes about a millisecond

node = helper.make_node


def f(*values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def n(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def refused(model: onnx.ModelProto) -> str:
    with pytest.raises(InputError) as caught:
        network_from_model(model)
    message = str(caught.value)
    assert "\n" not in message
    return message


NODES: list[tuple[str, list[int | str], dict[str, np.ndarray], dict[str, Any], str]] = [
    ("Det(x)", [1, 2, 2], {}, {}, "Det node 'node': this op is not supported; supported are Abs, Add,"),
    ("Erf(x)", [1, 2], {}, {}, "Erf node 'node': is not piecewise linear; train with ReLU"),
    ("HardSwish(x)", [1, 2], {}, {}, "a parabola between -3 and 3; train with ReLU or HardSigmoid"),
    ("HardSigmoid(x)", [1, 2], {}, {"alpha": float("inf")}, "attribute 'alpha' is inf"),
    ("ArgMax(x)", [1, 2], {}, {}, "jumps, so that no nearest adversarial input need exist; export the scores"),
    ("Mul(x,x)", [1, 2], {}, {}, "multiplies two variables, 'x' and 'x'"),
    ("MatMul(x,x)", [1, 2, 2], {}, {}, "multiplies two variables"),
    ("Gemm(x,x)", [2, 2], {}, {}, "multiplies two variables"),
    ("Gemm(c,c,x)", [1, 2], {"c": f([1, 2], [3, 4])}, {}, "multiplies two constants"),
    ("Div(c,x)", [1, 2], {"c": f(1, 2)}, {}, "divides by the variable 'x'"),
    ("Div(x,c)", [1, 2], {"c": f(1, 0)}, {}, "'c', which holds a zero"),
    ("Add(x,c)", [1, 2], {"c": f(1, np.nan)}, {}, "constant 'c' holds NaN or infinity"),
    ("MatMul(x,c)", [1, 2], {"c": f([np.inf], [0])}, {}, "constant 'c' holds NaN or infinity"),
    ("Add(x,c)", [1, 2], {"c": n(1, 2)}, {}, "constant 'c' is int64"),
    ("Add(x,c)", [1, 2], {"c": f(1, 2, 3)}, {}, "does not fit its inputs"),
    ("MatMul(x,c)", [1, 2], {"c": f([1], [2], [3])}, {}, "the inner sizes are 2 and 3"),
    ("Conv(c,x)", [1, 2, 3], {"c": np.ones((1, 2, 3), np.float32)}, {}, "input 'c' must depend on the network's input"),
    ("PRelu(x,x)", [1, 2], {}, {}, "input 'x' must be a constant"),
    ("Conv(x,c)", [1, 2, 3], {"c": np.ones((1, 3, 2), np.float32)}, {}, "with 1 groups does not fit 2 channels"),
    ("Conv(x,c)", [2, 2, 3], {"c": np.ones((1, 2, 2), np.float32)}, {}, "batch of 2"),
    ("Conv(x,c)", [1, 2, 3], {"c": np.ones((1, 2, 4), np.float32)}, {}, "does not fit the spatial shape [3]"),
    ("MaxPool(x)", [1, 2, 3], {}, {"kernel_shape": [1], "pads": [1, 1]}, "in the padding only"),
    ("AveragePool(x)", [1, 2, 3], {}, {"kernel_shape": [1], "pads": [1, 1]}, "in the padding only"),
    ("AveragePool(x)", [1, 2, 3], {}, {"kernel_shape": [1], "pads": [2**40, 2**40]}, "has more than"),
    ("MaxPool(x)", [1, 2, 3], {}, {"kernel_shape": [1], "pads": [-1, 0]}, "pads not negative"),
    ("MaxPool(x)", [1, 2, 3], {}, {"kernel_shape": [2], "auto_pad": "ODD"}, "auto_pad 'ODD' is unknown"),
    (
        "MaxPool(x)",
        [1, 2, 8],
        {},
        {"kernel_shape": [2], "dilations": [2], "auto_pad": "SAME_UPPER"},
        "runtimes disagree",
    ),
    ("BatchNormalization(x,c,c,c,c)", [1, 2], {"c": f(-1, 1)}, {}, "var + epsilon must be positive"),
    ("BatchNormalization(x,c,c,c,c)", [1, 2], {"c": f(1e-40, 1)}, {"epsilon": 0.0}, "below 2⁻¹²⁶"),
    ("BatchNormalization(x,c,c,c,c)", [1, 3], {"c": f(1, 1)}, {}, "for each of the 3 channels"),
    ("BatchNormalization(x,c,c,c,c)", [1, 2], {"c": f(1, 1)}, {"training_mode": 1}, "training mode"),
    ("Dropout(x,c,t)", [1, 2], {"c": f(0.5)[0], "t": np.array(True)}, {}, "training mode"),
    ("Clip(x,c,d)", [1, 2], {"c": f(1)[0], "d": f(0)[0]}, {}, "clips to [1, 0]"),
    ("Clip(x,c)", [1, 2], {"c": f(np.nan)[0]}, {}, "clips to [nan, inf]"),
    ("LeakyRelu(x)", [1, 2], {}, {"alpha": float("nan")}, "attribute 'alpha' is nan"),
    ("Cast(x)", [1, 2], {}, {"to": TensorProto.INT64}, "casts a variable to int64"),
    ("Pad(x,c)", [1, 2], {"c": n(0, 1, 1)}, {}, "has 3 pads for 2 axes"),
    ("Pad(x,c)", [1, 2], {"c": n(0, 2**40, 0, 0)}, {}, "has more than"),
    ("Expand(x,c)", [1, 2], {"c": n(2**30, 2)}, {}, "has more than"),
    ("Tile(x,c)", [1, 2], {"c": n(2**20, 2**20)}, {}, "has more than"),
    ("Gather(x,c)", [1, 2], {"c": n(7)}, {"axis": 1}, "cannot be evaluated"),
    ("Slice(x,c,c,c,d)", [1, 2], {"c": n(0), "d": n(0)}, {}, "cannot be evaluated"),
    ("Slice(x,c,c)", [1, 2], {"c": n(0)}, {}, "empty tensor"),
    ("Reshape(x,c)", [1, 2], {"c": n(3)}, {}, "cannot be evaluated"),
    ("Concat(x,c)", [1, 2], {"c": f(1)}, {"axis": 1}, "does not fit its inputs"),
    ("Transpose(x)", [1, 2], {}, {"perm": [0, 5]}, "cannot be evaluated"),
    ("ReduceSum(x,c)", [1, 2], {"c": n(1, 1)}, {}, "names an axis twice"),
    ("ReduceSum(x,c)", [1, 2], {"c": n(2)}, {}, "axis 2 is outside a tensor of rank 2"),
    ("Softmax(x)", [1, 2, 3], {}, {"axis": 1}, "works along axis 1 of shape [1, 2, 3]"),
    ("Softmax(x)", [1, 1], {}, {}, "must cover all classes"),
    ("QuantizeLinear(x,c)", [1, 2], {"c": f(1)[0]}, {}, "quantised ops are not supported"),
    ("RandomNormalLike(x)", [1, 2], {}, {}, "a random op gives no fixed function"),
    ("GlobalMaxPool(x)", [1, 2], {}, {}, "needs spatial axes"),
    ("Relu(x)", [2, 3], {}, {}, "works on a batch of 2; export it with batch 1 or a dynamic batch axis"),
    ("Relu(x)", [1, "width"], {}, {}, "axis 1 of input 'x' has no fixed size"),
    ("Relu(x)", ["width"], {}, {}, "axis 0 of input 'x' has no fixed size"),
    ("Relu(x)", [1, 2**40], {}, {}, "input 'x' of shape [1, 1099511627776] has more than"),
    ("Relu(c)", [1, 2], {"c": f(1, 2)}, {}, "output 'y' does not depend on input 'x'"),
]


@pytest.mark.parametrize(("call", "shape", "constants", "attributes", "expected"), NODES)
def test_node_is_refused(
    call: str, shape: Any, constants: Any, attributes: Any, expected: str, onnx_model: Any
) -> None:
    op, _, names = call.rstrip(")").partition("(")
    made = node(op, names.split(","), ["y"], name="node", **attributes)
    message = refused(onnx_model([made], shape, constants))
    assert expected in message
    if "input 'x'" not in expected or op == "PRelu":
        assert message.startswith(f"{op} node 'node'") or "export it with batch 1" in message


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))


def _two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2]))


def _integer_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def _opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def _no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("com.other", 1))


def _two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))


def _own_function(model: onnx.ModelProto) -> None:
    body = node("Neg", ["X"], ["Y"])
    model.functions.append(helper.make_function("", "Relu", ["X"], ["Y"], [body], [helper.make_opsetid("", 17)]))


def _other_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.other", 1))
    model.graph.node[0].domain = "com.other"


def _circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "y"


def _unknown_tensor(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nothing"


def _control_flow(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([node("Relu", ["x"], ["b"])], "branch", [], [onnx.ValueInfoProto(name="b")])
    branch.output[0].CopyFrom(helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 2]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node[0].CopyFrom(node("If", ["condition"], ["y"], name="if", then_branch=branch, else_branch=branch))


def _mask(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.extend(
        [
            node("MaxPool", ["x"], ["p", "places"], name="pool", kernel_shape=[1]),
            node("Cast", ["places"], ["y"], to=TensorProto.FLOAT),
        ]
    )
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2]))


def _inner(op: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.node[:]
        model.graph.node.extend([node(op, ["x"], ["s"], name="inner"), node("Relu", ["s"], ["y"])])

    return change


MODELS: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (_two_inputs, "must have one input, but has 2 ('x', 'z')"),
    (_two_outputs, "has 2 outputs that may be the scores of the classes; choose one with --output NAME"),
    (_integer_input, "input 'x' is int64; float16, float32 or float64 is expected"),
    (_opset(6), "opset 6; 7 to"),
    (_opset(999), "opset 999; 7 to"),
    (_two_opsets, "several versions of the ONNX op set (13 to 17)"),
    (_own_function, "a function of its own named 'Relu', as ONNX's op"),
    (_no_opset, "names no version of the ONNX op set"),
    (_other_domain, "ops of the domain 'com.other' are not supported"),
    (_circle, "reads, through other nodes, what it gives itself"),
    (_unknown_tensor, "the ONNX checker refuses the model"),
    (_control_flow, "If node 'if': control flow is not supported"),
    (_mask, "gives the indices of the maxima"),
    (_inner("Softmax"), "Softmax node 'inner': stands inside the network"),
]


@pytest.mark.parametrize(("change", "expected"), MODELS)
def test_model_is_refused(change: Callable[[onnx.ModelProto], None], expected: str, onnx_model: Any) -> None:
    model = onnx_model([node("Relu", ["x"], ["y"])], [1, 2])
    change(model)
    assert expected in refused(model)


@pytest.fixture
def tiny(onnx_model: Any) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Flatten", ["r"], ["t"]),
        node("Gemm", ["t", "w", "b"], ["y"], transB=1),
    ]
    constants = {"k": np.ones((1, 1, 3), np.float32), "w": f([1, 2, 3], [4, 5, 6]), "b": f(1, 2)}
    model: onnx.ModelProto = onnx_model(nodes, [1, 1, 3], constants)
    return model


def file_refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_network(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_names_in_messages_stay_on_the_line(onnx_model: Any) -> None:
    message = refused(onnx_model([node("Erf", ["x"], ["y"], name="one\ntwo\x1b[2J")], [1, 2]))
    assert message.startswith("Erf node 'one?two?[2J': is not piecewise linear")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "No such file" in file_refused(tmp_path / "absent.onnx")
    assert "is a directory" in file_refused(tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "is empty" in file_refused(tmp_path / "empty.onnx")
    (tmp_path / "text.onnx").write_text("this is no network")
    assert "not an ONNX model" in file_refused(tmp_path / "text.onnx")


def test_external_data_must_lie_beside_the_model(tiny: onnx.ModelProto, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "m.onnx"
    onnx.save(tiny, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    weights = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(weights[:10])
    file_refused(path)
    (folder / "weights.bin").unlink()
    assert "lies in 'weights.bin', which is not in the model's folder" in file_refused(path)
    (tmp_path / "weights.bin").write_bytes(weights)
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    assert "outside the model's folder" in file_refused(path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    path.write_bytes(model.SerializeToString())
    assert "outside the model's folder" in file_refused(path)


def _refused_or_read(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    message = ""
    try:
        assert isinstance(read_network(path), Network)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


def test_cut_files_are_refused_or_read(tiny: onnx.ModelProto, tmp_path: Path) -> None:
    content = tiny.SerializeToString()
    for length in range(len(content)):
        _refused_or_read(content[:length], tmp_path / "cut.onnx")


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_are_refused_or_read(seed: int, tiny: onnx.ModelProto, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    content = tiny.SerializeToString()
    for _ in range(BYTE_FLIPS // 4):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            changed[place] = int(rng.integers(0, 256))
        _refused_or_read(bytes(changed), tmp_path / "changed.onnx")
