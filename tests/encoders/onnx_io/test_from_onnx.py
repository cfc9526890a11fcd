"""Whole models: constant folding, merging, exact constants, notes, dtypes, names, surveys."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from encoders.network.graph import Affine, evaluate, outputs
from encoders.network.text import graph_to_text
from encoders.onnx_io.from_onnx import network_from_model, read_network, survey
from encoders.passes.lower import lower

RUNTIME_TOLERANCE = 2e-5  # ONNX Runtime computes in float32
HALF_TOLERANCE = 2e-2  # and with float16 weights in float16: 11 bits, here on values of size 1 to 10
LOWERING_TOLERANCE = 1e-9  # the same function in float64, summed in another order

node = helper.make_node


def f(*values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def check_against_runtime(model: Any, ort_values: Any, tolerance: float = RUNTIME_TOLERANCE) -> Any:
    network = network_from_model(model)
    rng = np.random.default_rng(3)
    points = [rng.normal(size=network.input_shape).astype(network.input_dtype) for _ in range(3)]
    values = evaluate(network.graph, np.stack([point.reshape(-1) for point in points]))
    for place, expected in enumerate(ort_values(model, points)):
        for name in set(expected) & set(network.tensors):
            ours = values[network.tensors[name]][place]
            np.testing.assert_allclose(ours, expected[name].reshape(-1), rtol=tolerance, atol=tolerance)
    return network


@pytest.fixture
def small(onnx_model: Any) -> Any:
    """x (batch, 2) → Gemm → Relu → Gemm → 2 logits, with small integer weights."""
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"], name="first"),
        node("Relu", ["h"], ["r"], name="relu"),
        node("Gemm", ["r", "v"], ["y"], name="second"),
    ]
    constants = {"w": f([1, -2, 3], [0, 1, -1]), "b": f(1, 0, -1), "v": f([1, 0], [2, 1], [-1, 1])}
    return onnx_model(nodes, ["batch", 2], constants)


def test_dynamic_batch_is_one(small: Any, ort_values: Any) -> None:
    network = check_against_runtime(small, ort_values)
    assert (network.input_name, network.input_shape, network.input_dtype) == ("x", (1, 2), np.float32)
    assert (network.logits_name, network.notes) == ("y", ())
    assert network.op_counts == {"Gemm": 2, "Relu": 1}
    assert network.tensors == {"x": 0, "h": 1, "r": 2, "y": 3}
    assert exact_outputs(network.graph, [1.0, 0.5]) == [Fraction(1, 2), Fraction(3, 2)]


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("value", numpy_helper.from_array(f(1.5, 2.5)), [1.5, 2.5]),
        ("value_float", 0.5, [0.5, 0.5]),
        ("value_floats", [1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_constant_forms(attribute: str, value: Any, expected: list[float], onnx_model: Any) -> None:
    nodes = [node("Constant", [], ["c"], **{attribute: value}), node("Add", ["x", "c"], ["y"])]
    network = network_from_model(onnx_model(nodes, [1, 2]))
    np.testing.assert_array_equal(outputs(network.graph, [[0.0, 0.0]])[0], expected)


@pytest.mark.parametrize(("attribute", "value"), [("value_int", 1), ("value_ints", [1])])
def test_constant_integer_forms(attribute: str, value: Any, onnx_model: Any) -> None:
    nodes = [node("Constant", [], ["c"], **{attribute: value}), node("Gather", ["x", "c"], ["y"], axis=1)]
    network = network_from_model(onnx_model(nodes, [1, 2]))
    np.testing.assert_array_equal(outputs(network.graph, [[3.0, 4.0]])[0], [4.0])


def test_shape_chain(onnx_model: Any, ort_values: Any) -> None:
    """What exporters write for x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat; also Size, Range, Where."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "minus"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]),
        node("Size", ["x"], ["size"]),
        node("Range", ["zero", "size", "one"], ["steps"]),
        node("Equal", ["steps", "three"], ["is"]),
        node("ConstantOfShape", ["fill"], ["zeros"], value=numpy_helper.from_array(f(0.5))),
        node("Cast", ["steps"], ["floats"], to=TensorProto.FLOAT),
        node("Where", ["is", "zeros", "floats"], ["c"]),
        node("Mul", ["flat", "c"], ["y"]),
    ]
    integers = {"zero": 0, "one": 1, "three": 3, "axis": [0], "minus": [-1], "fill": [1]}
    constants = {name: np.array(value, dtype=np.int64) for name, value in integers.items()}
    network = check_against_runtime(onnx_model(nodes, ["n", 2, 3], constants), ort_values)
    np.testing.assert_array_equal(outputs(network.graph, np.ones((1, 6)))[0], [0, 1, 2, 0.5, 4, 5])


def test_constant_follows_matmul_into_its_bias(onnx_model: Any) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Reshape", ["m", "to"], ["t"]),
        node("Add", ["t", "b"], ["a"]),
        node("Sub", ["a", "b"], ["y"]),
    ]
    constants = {"w": f([1, 2], [3, 4]), "b": f([1], [2]), "to": np.array([1, 2, 1])}
    network = network_from_model(onnx_model(nodes, [1, 2], constants))
    # The second constant is its own step: two biases are not added.
    assert graph_to_text(network.graph).splitlines() == [
        "v0 = input : 2",
        "v1 = dense[2x2] v0 + b : 2",
        "v2 = 1 v1 + b : 2  <- output",
    ]


def test_shared_matmul_keeps_its_node(onnx_model: Any, ort_values: Any) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Relu", ["m"], ["r"]),
        node("Add", ["a", "r"], ["y"]),
    ]
    network = check_against_runtime(onnx_model(nodes, [1, 2], {"w": f([1, 2], [3, 4]), "b": f(1, 2)}), ort_values)
    assert {"m", "a", "r"} <= set(network.tensors)
    assert "v2 = 1 v1 + b : 2" in graph_to_text(network.graph)


def test_selections_are_composed(onnx_model: Any, ort_values: Any) -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("Slice", ["t", "start", "end", "axis"], ["s"]),
        node("Split", ["s"], ["p", "q"], axis=2, num_outputs=2),
        node("Concat", ["q", "p"], ["y"], axis=2),
    ]
    constants = {name: np.array([value]) for name, value in (("start", 1), ("end", 3), ("axis", 1))}
    model = onnx_model(nodes, [1, 2, 3], constants, opset=18)
    network = check_against_runtime(model, ort_values)
    assert graph_to_text(network.graph) == "v0 = input : 6\nv1 = select v0 : 4  <- output"


def test_residual_convolutions(onnx_model: Any, ort_values: Any) -> None:
    rng = np.random.default_rng(8)
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "q"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "r"], ["a"]),
        node("LeakyRelu", ["a"], ["l"], alpha=0.1),
        node("MaxPool", ["l"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("GlobalMaxPool", ["p"], ["top"]),
        node("GlobalAveragePool", ["p"], ["mean"]),
        node("Concat", ["top", "mean"], ["both"], axis=1),
        node("Flatten", ["both"], ["flat"]),
        node("Gemm", ["flat", "w"], ["y"], transB=1),
    ]
    shapes = {"k": (4, 2, 3, 3), "q": (4, 4, 3, 3), "g": 4, "b": 4, "m": 4, "w": (3, 8)}
    constants = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    constants["v"] = rng.uniform(0.5, 2.0, 4).astype(np.float32)
    network = check_against_runtime(onnx_model(nodes, ["batch", 2, 8, 8], constants), ort_values)
    x = rng.normal(size=(4, 128))
    np.testing.assert_allclose(outputs(lower(network.graph), x), outputs(network.graph, x), rtol=LOWERING_TOLERANCE)


def test_selection_behind_a_bias_keeps_it(onnx_model: Any, ort_values: Any) -> None:
    nodes = [
        node("Pad", ["x", "pads", "value"], ["p"]),
        node("Transpose", ["p"], ["t"], perm=[0, 2, 1]),
        node("Concat", ["t", "t"], ["y"], axis=1),
    ]
    constants = {"pads": np.array([0, 0, 1, 0, 0, 0]), "value": f(2.5)}
    check_against_runtime(onnx_model(nodes, [1, 2, 3], constants), ort_values)


def test_gemm_without_weight_on_c_does_not_read_it(onnx_model: Any) -> None:
    nodes = [node("Gemm", ["x", "w", "c"], ["y"], beta=0.0)]
    network = network_from_model(onnx_model(nodes, [1, 1], {"w": f([2]), "c": f(np.nan)}))
    assert graph_to_text(network.graph) == "v0 = input : 1\nv1 = dense[1x1] v0 : 1  <- output"


def test_largest_float32_is_no_limit(onnx_model: Any) -> None:
    """Exporters write a missing end of Clip as the largest float32; in float64 that is a limit like any other."""
    nodes = [node("Clip", ["x"], ["y"], min=0.0, max=float(np.finfo(np.float32).max))]
    network = network_from_model(onnx_model(nodes, [1, 2], opset=7))
    assert graph_to_text(network.graph).endswith("clip(v0, 0, inf) : 2  <- output")
    wide = network_from_model(onnx_model(nodes, [1, 2], opset=7, dtype=np.float64))
    assert graph_to_text(wide.graph).endswith("clip(v0, 0, 3.40282e+38) : 2  <- output")


def test_ends_of_clip_are_of_the_inputs_type(onnx_model: Any, ort_values: Any) -> None:
    """Until opset 10 they are float32 attributes, of float16 too, whose results are float16 either way."""
    nodes = [node("Clip", ["x"], ["y"], min=0.1, max=0.33)]
    half = onnx_model(nodes, [1, 4], opset=7, dtype=np.float16)
    network = check_against_runtime(half, ort_values, tolerance=0.0)
    low, high = float(np.float16(0.1)), float(np.float16(0.33))
    np.testing.assert_array_equal(outputs(network.graph, np.array([[-1.0, 0.0, 0.5, 1.0]]))[0], [low, low, high, high])
    endless = onnx_model([node("Clip", ["x"], ["y"], min=-1.0, max=3e38)], [1, 2], opset=7, dtype=np.float16)
    assert graph_to_text(network_from_model(endless).graph).endswith("clip(v0, -1, inf) : 2  <- output")


def test_softmax_axes_by_opset(onnx_model: Any) -> None:
    """Until opset 12 the default covers all axes from 1 on; since 13 it is the last axis alone."""
    before = onnx_model([node("Softmax", ["x"], ["y"])], [1, 3, 1], opset=12)
    assert network_from_model(before).logits_name == "x"
    since = onnx_model([node("Softmax", ["x"], ["y"])], [1, 3, 1], opset=13)
    with pytest.raises(InputError, match="works along axis 2"):
        network_from_model(since)


def test_quotients_stay_exact(onnx_model: Any) -> None:
    third = network_from_model(onnx_model([node("Div", ["x", "c"], ["y"])], [1, 1], {"c": f(3)}))
    assert exact_outputs(third.graph, [1.0]) == [Fraction(1, 3)]
    mean = network_from_model(onnx_model([node("ReduceMean", ["x"], ["y"], axes=[1])], [1, 3], opset=13))
    assert exact_outputs(mean.graph, [1.0, 1.0, 2.0]) == [Fraction(4, 3)]
    pool = [node("AveragePool", ["x"], ["y"], kernel_shape=[3], pads=[1, 1])]
    pooled = network_from_model(onnx_model(pool, [1, 1, 3]))
    assert exact_outputs(pooled.graph, [1.0, 2.0, 4.0]) == [Fraction(3, 2), Fraction(7, 3), Fraction(3)]


def test_weights_are_those_of_the_file(onnx_model: Any) -> None:
    """alpha, beta, W and C enter as the float32 numbers that they are, and no product of them is rounded."""
    w, c, alpha, beta = np.float32(0.1), np.float32(0.7), np.float32(1.1), np.float32(0.3)
    nodes = [node("Gemm", ["x", "w", "c"], ["y"], alpha=float(alpha), beta=float(beta))]
    network = network_from_model(onnx_model(nodes, [1, 1], {"w": np.array([[w]]), "c": np.array([c])}))
    exact = Fraction(float(alpha)) * Fraction(float(w)) * 3 + Fraction(float(beta)) * Fraction(float(c))
    assert exact_outputs(network.graph, [3.0]) == [exact]


def test_batch_normalization_subtracts_first(onnx_model: Any) -> None:
    """factor · (x − mean) + B with x − mean as its own step: only the factor is a rounded number."""
    nodes = [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=0.25)]
    constants = {"g": f(3), "b": f(0.1), "m": f(0.3), "v": f(0.75)}
    network = network_from_model(onnx_model(nodes, [1, 1], constants))
    shift, factor = Fraction(float(np.float32(0.3))), Fraction(3)
    assert exact_outputs(network.graph, [0.7]) == [factor * (Fraction(0.7) - shift) + Fraction(float(np.float32(0.1)))]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("opset", "attributes"), [(7, {}), (11, {"axis": 1}), (13, {}), (13, {"axis": 1})])
def test_final_softmax_is_dropped(op: str, opset: int, attributes: Any, onnx_model: Any, ort_values: Any) -> None:
    nodes = [node("MatMul", ["x", "w"], ["z"]), node(op, ["z"], ["y"], **attributes)]
    network = check_against_runtime(onnx_model(nodes, [1, 2], {"w": f([1, 2, 3], [4, 5, 6])}, opset=opset), ort_values)
    assert network.logits_name == "z"
    assert network.notes == (f"final {op} dropped: the order of the logits is the same",)
    assert "y" not in network.tensors


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_final_softmax_may_stand_before_identities(op: str, onnx_model: Any, ort_values: Any) -> None:
    """skl2onnx gives the output of an MLPClassifier its name with an Identity node behind the Softmax."""
    nodes = [
        node("MatMul", ["x", "w"], ["z"]),
        node(op, ["z"], ["s"]),
        node("Identity", ["s"], ["i"]),
        node("Identity", ["i"], ["y"]),
    ]
    model = onnx_model(nodes, [1, 2], {"w": f([1, 2, 3], [4, 5, 6])})
    network = check_against_runtime(model, ort_values)
    assert network.logits_name == "z"
    assert network.notes == (f"final {op} dropped: the order of the logits is the same",)
    assert not {"s", "i", "y"}.intersection(network.tensors)


def test_identity_as_the_last_node(onnx_model: Any, ort_values: Any) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["y"])]
    assert check_against_runtime(onnx_model(nodes, [1, 2]), ort_values).logits_name == "y"


def test_half_precision(onnx_model: Any, ort_values: Any) -> None:
    weight = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float16)
    model = onnx_model(
        [node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["y"])], [1, 4], {"w": weight}, dtype=np.float16
    )
    network = check_against_runtime(model, ort_values, HALF_TOLERANCE)
    assert network.input_dtype == np.float16
    first = network.graph.nodes[1]
    assert isinstance(first, Affine)
    np.testing.assert_array_equal(first.terms[0].map.rows().toarray().T, weight.astype(np.float64))


def test_narrowing_cast_is_noted(onnx_model: Any) -> None:
    nodes = [node("Cast", ["x"], ["c"], to=TensorProto.FLOAT), node("Relu", ["c"], ["y"])]
    network = network_from_model(onnx_model(nodes, [1, 2], dtype=np.float64))
    assert network.notes == ("Cast to float32 is read as the identity",)
    widening = onnx_model([node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)], [1, 2])
    assert network_from_model(widening).notes == ()


def test_nodes_may_stand_in_any_order(small: Any, ort_values: Any) -> None:
    turned = onnx.ModelProto()
    turned.CopyFrom(small)
    del turned.graph.node[:]
    turned.graph.node.extend(reversed(small.graph.node))
    assert graph_to_text(network_from_model(turned).graph) == graph_to_text(network_from_model(small).graph)


def test_unneeded_nodes_are_not_read(onnx_model: Any) -> None:
    nodes = [node("Erf", ["x"], ["e"]), node("Relu", ["x"], ["y"])]
    assert network_from_model(onnx_model(nodes, [1, 2])).op_counts == {"Erf": 1, "Relu": 1}


def test_weights_may_be_graph_inputs(small: Any) -> None:
    """Before IR version 4 each initializer is listed as an input."""
    small.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3]))
    assert network_from_model(small).input_name == "x"


def test_external_data_and_sha256(small: Any, tmp_path: Path) -> None:
    plain, split = tmp_path / "plain.onnx", tmp_path / "split.onnx"
    onnx.save(small, plain)
    assert read_network(plain).sha256 == hashlib.sha256(plain.read_bytes()).hexdigest()
    copy = onnx.load(plain)
    onnx.save(copy, split, save_as_external_data=True, location="weights.bin", size_threshold=0)
    both = hashlib.sha256(split.read_bytes() + (tmp_path / "weights.bin").read_bytes()).hexdigest()
    network = read_network(split)
    assert network.sha256 == both
    x = np.array([[0.5, -1.5]])
    np.testing.assert_array_equal(outputs(network.graph, x), outputs(read_network(plain).graph, x))


def test_survey_lists_what_cannot_be_read(onnx_model: Any, tmp_path: Path) -> None:
    nodes = [
        node("Softplus", ["x"], ["s"], name="gate"),
        node("Mul", ["x", "x"], ["q"], name="square"),
        node("Add", ["s", "q"], ["a"]),
        node("Erf", ["a"], ["y"]),
    ]
    path = tmp_path / "m.onnx"
    onnx.save(onnx_model(nodes, ["batch", 2], opset=13), path)
    found = survey(path)
    assert (found.input_name, found.input_shape, found.output_name, found.opset) == ("x", (None, 2), "y", 13)
    assert found.op_counts == {"Softplus": 1, "Mul": 1, "Add": 1, "Erf": 1}
    assert list(found.unsupported) == ["Softplus node 'gate'", "Mul node 'square'", "Erf node of output 'y'"]
    assert "multiplies two variables" in found.unsupported["Mul node 'square'"]


def test_survey_of_a_readable_model(small: Any, tmp_path: Path) -> None:
    onnx.save(small, tmp_path / "m.onnx")
    found = survey(tmp_path / "m.onnx")
    assert (found.unsupported, found.output_shape) == ({}, (None, 2))


def test_survey_names_a_fault_of_the_model(small: Any, tmp_path: Path) -> None:
    small.opset_import[0].version = 5
    onnx.save(small, tmp_path / "m.onnx")
    assert "opset 5" in survey(tmp_path / "m.onnx").unsupported["model"]
    with pytest.raises(InputError, match="cannot be read"):
        survey(tmp_path / "absent.onnx")
