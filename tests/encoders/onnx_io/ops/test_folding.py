"""What is folded is ONNX Runtime's own value, bit for bit, at every opset; what it cannot give is refused by name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import defs, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from encoders.errors import InputError
from encoders.onnx_io.from_onnx import network_from_model
from encoders.onnx_io.ops.call import Call
from encoders.onnx_io.ops.exactness import CHECKED, CHOOSING, COUNTING, is_exact
from encoders.onnx_io.ops.foldable import FOLDABLE, NOT_FOLDED
from encoders.onnx_io.ops.folding import OWN, evaluate_node
from encoders.onnx_io.ops.room import Allowance, TooLargeError

OLDEST, NEWEST = 7, 26  # the opsets that we and ONNX Runtime 1.31 read
node = helper.make_node


def values_of_onnx_runtime(
    proto: onnx.NodeProto, opset: int, given: Mapping[str, np.ndarray], *, folded: bool
) -> list[np.ndarray]:
    """The node's outputs: its inputs fed, nothing optimised, one thread; or (`folded`) its inputs weights, as usual."""
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    weights = [numpy_helper.from_array(value, name) for name, value in given.items()] if folded else []
    graph = helper.make_graph([proto], "reference", [] if folded else infos, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not folded:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values: list[np.ndarray] = session.run(None, {} if folded else dict(given))
    return values


@functools.cache
def backend_nodes() -> dict[str, list[tuple[onnx.NodeProto, int, dict[str, np.ndarray]]]]:
    """Op → ONNX's own test models of one node of it, each with its inputs."""
    found: dict[str, list[tuple[onnx.NodeProto, int, dict[str, np.ndarray]]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these cases overflow, or divide by zero, on purpose
        cases = load_model_tests(kind="node")
    for case in cases:
        model, inputs = model_and_inputs(case)
        graph = model.graph
        version = next((int(entry.version) for entry in model.opset_import if entry.domain == ""), 0)
        if len(graph.node) != 1 or not version or graph.node[0].domain:
            continue
        values = [as_array(value) for value in inputs]
        if not any(value is None for value in values):
            given = dict(zip((info.name for info in graph.input), values, strict=True))
            found.setdefault(graph.node[0].op_type, []).append((graph.node[0], version, given))
    return found


def model_and_inputs(case: Any) -> tuple[onnx.ModelProto, list[Any]]:
    """A test model and its inputs; some versions of onnx leave them in files. None for inputs that are no tensors."""
    if case.model is not None:
        return case.model, case.data_sets[0][0]
    folder = Path(case.model_dir)
    model, inputs = onnx.load(folder / "model.onnx"), []
    for place, info in enumerate(model.graph.input):
        said = (folder / "test_data_set_0" / f"input_{place}.pb").read_bytes()
        inputs.append(onnx.TensorProto.FromString(said) if info.type.HasField("tensor_type") else None)
    return model, inputs


def as_array(value: Any) -> np.ndarray | None:
    """An input of a test model as an array; None for sequences, strings and numbers that numpy lacks."""
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    if not isinstance(array, (np.ndarray, np.generic)):
        return None
    return np.asarray(array) if array.dtype.kind in "biuf" else None


def opsets(op: str) -> list[int]:
    """The opsets at which the op changed, and the newest: one of each of its meanings."""
    since = {s.since_version for s in defs.get_all_schemas_with_history() if s.name == op and s.domain == ""}
    older = [version for version in since if version <= OLDEST]
    return sorted({max(OLDEST, max(older, default=OLDEST)), NEWEST, *(v for v in since if OLDEST < v <= NEWEST)})


def fold(proto: onnx.NodeProto, opset: int, given: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], bool] | None:
    """Our outputs and whether they are called exact; None where the node is refused."""
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
    values = [given[name] if name else None for name in proto.input]
    call = Call(proto, tuple(values), attributes, opset)
    try:
        results = evaluate_node(call, values, Allowance())
    except InputError:
        return None
    return results, is_exact(call, values, results)


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def check(
    proto: onnx.NodeProto, opset: int, given: Mapping[str, np.ndarray], theirs: list[np.ndarray] | None = None
) -> bool:
    """Ours is the runtime's value, or refused (False). theirs: that value, where it is at hand."""
    folded = fold(proto, opset, given)
    if folded is None:
        return False
    ours, exact = folded
    if theirs is None:
        theirs = values_of_onnx_runtime(proto, opset, given, folded=False)
    kept = [value for name, value in zip(proto.output, ours, strict=True) if name]
    for value, expected in zip(kept, theirs, strict=True):
        assert same(value, expected), (proto, opset)
    if exact:
        at_load = values_of_onnx_runtime(proto, opset, given, folded=True)
        for value, expected in zip(kept, at_load, strict=True):
            assert same(value, expected), (proto, opset)
    return True


WITHOUT_CASES = ("Constant", "GlobalLpPool")
"""ONNX has no test of one such node with inputs: test_constants_as_they_stand, and one of the older forms."""


@pytest.mark.parametrize("op", sorted({*FOLDABLE, *OWN} - {*WITHOUT_CASES}))
def test_folding_is_onnx_runtime(op: str) -> None:
    cases = backend_nodes()[op]
    folded = 0
    for proto, version, given in cases:
        for opset in {*opsets(op), version}:
            if opset > NEWEST:
                continue
            try:
                theirs = values_of_onnx_runtime(proto, opset, given, folded=False)
            except Exception:  # noqa: BLE001 - the node is of another opset, or ONNX Runtime lacks a kernel for it
                continue
            folded += check(proto, opset, given, theirs)
    assert folded > 0


def r(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def f(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


AXES_ATTRIBUTE = tuple(op for op in sorted(FOLDABLE) if op.startswith("Reduce"))
OLD: list[tuple[str, tuple[int, ...], list[np.ndarray], dict[str, Any], int]] = [
    *(
        (op, (7, 8, 9, 10, 11, 12), [r(2, 2, 3)], {} if axis is None else {"axis": axis}, 1)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for axis in (None, 0, 1, 2)
    ),
    *(("Unsqueeze", (7, 11), [r(1, 2)], {"axes": list(axes)}, 1) for axes in ((2, 0), (0, 2), (3, 1), (1,))),
    ("Unsqueeze", (11, 12), [r(1, 2)], {"axes": [-1, 0]}, 1),
    ("BatchNormalization", (7, 9, 13), [r(2, 3, 4), r(3), r(3), r(3), abs(r(3))], {"epsilon": 0.25}, 1),
    *(
        ("LRN", (7, 13), [r(1, 5, 3, 3)], {"size": size, "alpha": 0.5, "beta": 0.75, "bias": 1.5}, 1)
        for size in (1, 3, 5)
    ),
    *(("LpNormalization", (7,), [r(2, 3)], {"p": p, "axis": axis}, 1) for p in (1, 2) for axis in (0, 1, -1)),
    *(
        (op, (7, 8, 10, 11, 12), [r(1, 1, 5, 6)], {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": mode}, 1)
        for op in ("MaxPool", "AveragePool")
        for mode in ("SAME_LOWER", "SAME_UPPER", "VALID")
    ),
    *(("Resize", (10,), [r(1, 1, 2, 3), f(1, 1, 1.7, 2.3)], {"mode": mode}, 1) for mode in ("nearest", "linear")),
    *(("Upsample", (7, 8), [r(1, 1, 2, 3)], {"scales": [1.0, 1.0, 2.0, 3.0], "mode": m}, 1) for m in ("nearest",)),
    ("Upsample", (9,), [r(1, 1, 2, 3), f(1, 1, 2, 2)], {"mode": "linear"}, 1),
    *(("TopK", (11, 24), [r(3, 7), i(4)], {"sorted": 0, "largest": largest}, 2) for largest in (0, 1)),
    ("TopK", (7,), [r(3, 7)], {"k": 3}, 2),
    ("Unique", (11,), [i(3, 1, 3, 2)], {"sorted": 0}, 4),
    ("Div", (7, 13, 14), [i(7, -7, 7, -7), i(2, 2, -2, -2)], {}, 1),
    ("Mod", (10, 13), [i(7, -7, 7, -7), i(2, 2, -2, -2)], {}, 1),
    *((op, (7, 11), [abs(r(2, 3, 4))], {"axes": [2, 0]}, 1) for op in AXES_ATTRIBUTE),
    *((op, (11, 12), [abs(r(2, 3, 4))], {"axes": [-1, 1], "keepdims": 0}, 1) for op in AXES_ATTRIBUTE),
    *((op, (7, 12), [r(2, 3, 4)], {"axis": 1, "keepdims": 0}, 1) for op in ("ArgMax", "ArgMin")),
    ("Squeeze", (7, 11), [r(1, 3, 1)], {"axes": [2, 0]}, 1),
    ("Slice", (7, 9), [r(3, 4)], {"axes": [1, 0], "starts": [1, -2], "ends": [1000, 3]}, 1),
    ("Split", (7, 11), [r(3, 6)], {"axis": 1, "split": [1, 2, 3]}, 3),
    ("Pad", (7, 10), [r(3, 4)], {"pads": [1, 0, 0, 2], "mode": "reflect"}, 1),
    ("Pad", (7, 10), [r(3, 4)], {"pads": [1, -1, 0, 2], "value": 0.5}, 1),
    ("Clip", (7, 10), [r(3, 4)], {"min": -0.5, "max": 0.25}, 1),
    ("Dropout", (7, 10, 12), [r(3, 4)], {}, 1),
    *(("Cast", (7, 9, 13, 19), [f(-2.5, 0.0, 3.75)], {"to": to}, 1) for to in (1, 6, 7, 9, 10, 11)),
    *(("CastLike", (15, 19), [f(-2.5, 0.0, 3.75), like], {}, 1) for like in (i(1), np.array([True]))),
    ("CumSum", (11, 14), [r(3, 4), np.array(1)], {"exclusive": 1, "reverse": 1}, 1),
    ("GlobalLpPool", (7,), [r(1, 2, 3, 3)], {"p": 2}, 1),
    *(("OneHot", (9, 11), [i(0, 2, 5), i(6), f(0.5, 2)], {"axis": axis}, 1) for axis in (0, 1)),
    ("Range", (11,), [np.array(1), np.array(9), np.array(3)], {}, 1),
    ("Range", (11,), [np.float32(1), np.float32(9), np.float32(0.1)], {}, 1),
    ("MatMul", (7, 13), [r(40, 300), r(300, 50)], {}, 1),  # more entries than are made weights
    ("Scatter", (9, 10), [r(3, 3), i(1, 0, 2).reshape(1, 3), r(1, 3)], {}, 1),
]


@pytest.mark.parametrize(
    ("op", "opset", "values", "attributes", "outputs"),
    [
        pytest.param(op, opset, values, attributes, outputs, id=f"{op}-{opset}-{place}")
        for place, (op, versions, values, attributes, outputs) in enumerate(OLD)
        for opset in versions
    ],
)
def test_older_forms_are_onnx_runtime(
    op: str, opset: int, values: list[np.ndarray], attributes: dict[str, Any], outputs: int
) -> None:
    names = [f"c{place}" for place in range(len(values))]
    proto = node(op, names, [f"y{place}" for place in range(outputs)], **attributes)
    assert check(proto, opset, dict(zip(names, map(np.asarray, values), strict=True)))


@pytest.mark.parametrize("op", sorted({s.name for s in defs.get_all_schemas_with_history() if s.domain == ""}))
def test_every_op_is_folded_or_refused_by_name(op: str) -> None:
    assert (op in FOLDABLE) + (op in OWN) + (op in NOT_FOLDED) <= 1
    if op in FOLDABLE or op in OWN:
        return
    call = Call(node(op, ["c"], ["y"]), (f(1.0),), {}, NEWEST)
    with pytest.raises(InputError, match=f"^{op} node of output 'y'.*store its result in the file instead"):
        evaluate_node(call, [f(1.0)], Allowance())


def test_exactness_is_told_of_ops_that_are_folded() -> None:
    assert {*CHOOSING, *COUNTING, *CHECKED} <= {*FOLDABLE, *OWN}


def test_constants_as_they_stand() -> None:
    tensor = numpy_helper.from_array(np.arange(6, dtype=np.int32).reshape(2, 3), "t")
    for attributes in ({"value": tensor}, {"value_float": 0.1}, {"value_floats": [0.1, -2.0]}, {"value_int": 3}):
        proto = node("Constant", [], ["y"], **attributes)
        assert check(proto, 13, {})
    assert fold(node("Constant", [], ["y"], value_string="text"), 13, {}) is None


EXACT: list[tuple[str, list[np.ndarray], bool]] = [
    ("Add", [f(1, 2.5), f(0.25, 3)], True),
    ("Add", [f(1, 2.5), f(1e-9, 3)], False),
    ("Sub", [f(1.5), f(1)], True),
    ("Sub", [f(1.5), f(1e-9)], False),
    ("Add", [f(3e38), f(3e38)], False),
    ("Mul", [f(0.1, 3), f(4, 7)], True),
    ("Mul", [f(0.1), f(0.1)], False),
    ("Mul", [f(1e-30), f(1e-30)], False),
    ("Div", [f(1, 6), f(4, 3)], True),
    ("Div", [f(1), f(3)], False),
    ("Div", [f(1), f(0)], False),
    ("Div", [i(7), i(2)], True),
    ("Sqrt", [f(4, 0.25)], True),
    ("Sqrt", [f(2)], False),
    ("ReduceSum", [f(1, -3, 0.5, 1024)], True),
    ("ReduceSum", [f(0.1, 0.2, 0.3)], False),
    ("ReduceSum", [f(2**24, 1, -(2**24))], False),  # exact in one order only
    ("ReduceSum", [i(1, 2, 3)], True),
    ("Sum", [f(1), f(2), f(0.5)], True),
    ("Sum", [f(1), f(2), f(1e-9)], False),
    ("MatMul", [np.full((2, 3), 0.5, np.float32), np.full((3, 2), 3, np.float32)], True),
    ("MatMul", [np.full((2, 3), 0.1, np.float32), np.full((3, 2), 3, np.float32)], False),
    ("MatMul", [np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32)], True),
    ("Exp", [f(1)], False),
    ("Softmax", [f(1, 2)], False),
    ("ReduceMean", [f(1, 2)], False),
    ("Max", [f(1), f(np.nan)], False),
    ("Max", [f(1), f(2)], True),
    ("Add", [np.ones(1, np.float16), np.ones(1, np.float16)], False),
    ("Range", [np.asarray(np.float32(0)), np.asarray(np.float32(5)), np.asarray(np.float32(2))], True),
    ("Range", [np.asarray(np.float32(0)), np.asarray(np.float32(1)), np.asarray(np.float32(0.1))], False),
    ("Transpose", [r(3, 4)], True),
]


@pytest.mark.parametrize(("op", "values", "expected"), EXACT)
def test_what_rounding_made_is_told(op: str, values: list[np.ndarray], expected: bool) -> None:
    names = [f"c{place}" for place in range(len(values))]
    folded = fold(node(op, names, ["y"]), 17, dict(zip(names, values, strict=True)))
    assert folded is not None
    assert folded[1] is expected


@pytest.mark.parametrize(
    ("value", "to", "expected"),
    [
        (f(0.5), onnx.TensorProto.FLOAT16, True),
        (f(0.1), onnx.TensorProto.FLOAT16, False),
        (f(0.1), onnx.TensorProto.DOUBLE, True),
        (f(2.75, -1), onnx.TensorProto.INT32, True),
        (f(3e9), onnx.TensorProto.INT32, False),
        (f(np.inf), onnx.TensorProto.INT64, False),
        (i(2**24 + 1), onnx.TensorProto.FLOAT, False),
        (i(2**24), onnx.TensorProto.FLOAT, True),
        (i(2**62 + 1), onnx.TensorProto.DOUBLE, False),
        (i(300), onnx.TensorProto.INT8, False),
        (f(2), onnx.TensorProto.BOOL, True),
    ],
)
def test_casts_that_round_are_told(value: np.ndarray, to: int, expected: bool) -> None:
    folded = fold(node("Cast", ["c"], ["y"], to=to), 17, {"c": value})
    assert folded is not None
    assert folded[1] is expected


def test_what_rounding_made_is_told_where_a_variable_meets_it(onnx_model: Any) -> None:
    nodes = [
        node("Softmax", ["c"], ["s"], axis=1),
        node("Reshape", ["s", "flat"], ["t"]),
        node("Transpose", ["k"], ["kt"]),
        node("MatMul", ["x", "kt"], ["m"]),
        node("Add", ["m", "t"], ["y"]),
    ]
    constants = {"c": r(1, 2, 1), "flat": i(1, 2), "k": r(2, 3)}
    network = network_from_model(onnx_model(nodes, [1, 3], constants, opset=11))
    assert network.inexact == ("t",)
    assert any("'t' is computed with rounding" in note for note in network.notes)


REFUSED: list[tuple[str, list[np.ndarray], dict[str, Any], str]] = [
    ("Div", [i(1), i(0)], {}, "divides integers by zero"),
    ("Mod", [i(1), i(0)], {}, "divides integers by zero"),
    ("Div", [i(-(2**63)), i(-1)], {}, "beyond the integers"),
    ("Conv", [r(1, 1, 3, 3), r(1, 1, 2, 2)], {"strides": [0, 1]}, "'strides' must be positive"),
    ("MaxPool", [r(1, 1, 3, 3)], {"kernel_shape": [0, 1]}, "'kernel_shape' must be positive"),
    ("DepthToSpace", [r(1, 4, 3, 3)], {"blocksize": 0}, "'blocksize' must be positive"),
    ("Dropout", [r(3), np.asarray(np.float32(0.5)), np.array(True)], {}, "training mode"),
    ("Cast", [f(1)], {"to": onnx.TensorProto.STRING}, "only tensors of numbers"),
    ("ConstantOfShape", [i(2**20, 2**20)], {}, "has more than"),
    ("Add", [np.ones((2**14, 1), np.float32), np.ones((1, 2**14), np.float32)], {}, "has more than"),
    ("MatMul", [np.ones((2**11, 2**11), np.float32)] * 2, {}, "more than 1073741824 steps"),
    ("Range", [np.array(0), np.array(2**40), np.array(1)], {}, "has more than"),
    ("Upsample", [r(1, 1, 8, 8), f(1, 1, 1e5, 1e5)], {}, "has more than"),
]


@pytest.mark.parametrize(("op", "values", "attributes", "expected"), REFUSED)
def test_what_would_crash_or_exhaust_is_refused(
    op: str, values: list[np.ndarray], attributes: dict[str, Any], expected: str
) -> None:
    names = [f"c{place}" for place in range(len(values))]
    proto = node(op, names, ["y"], **attributes)
    found = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
    call = Call(proto, tuple(values), found, 9 if op == "Upsample" else 17)
    with pytest.raises((InputError, TooLargeError), match=expected):
        evaluate_node(call, values, Allowance())
