"""What stands behind the scores of a file, in ONNX Runtime's eyes: the classes by its output are those by the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from encoders.network.graph import outputs
from encoders.onnx_io.from_onnx import as_classifier, network_from_model
from encoders.onnx_io.ops.rules import CLASSICAL_RULES

node = helper.make_node
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
MEMBERS, POINTS = 3, 40
RNG = np.random.default_rng(11)
W = RNG.normal(size=(MEMBERS, 4)).astype(np.float32)
ONE = RNG.normal(size=(MEMBERS, 1)).astype(np.float32)


def ml(op: str, inputs: list[str], gives: list[str], **attributes: Any) -> onnx.NodeProto:
    return node(op, inputs, gives, domain="ai.onnx.ml", **attributes)


def linear(rows: int, **attributes: Any) -> dict[str, Any]:
    weights = np.random.default_rng(rows).normal(size=rows * MEMBERS)
    return {
        "coefficients": [float(value) for value in weights],
        "intercepts": [0.1 * row for row in range(rows)],
        **attributes,
    }


@dataclass(frozen=True)
class Case:
    """A model behind the input x (1, 3): its nodes and (output, type) pairs; what is read, and what that tensor is."""

    nodes: tuple[onnx.NodeProto, ...]
    gives: tuple[tuple[str, int], ...]
    read: str
    logits: str
    classes: int = 4
    transformed: bool = False
    opset: int = 17

    def model(self) -> onnx.ModelProto:
        ports = []
        for name, kind in self.gives:
            if kind == ZIPMAP:
                value = helper.make_tensor_type_proto(FLOAT, [])
                ports.append(
                    helper.make_value_info(
                        name, helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, value))
                    )
                )
            else:
                ports.append(helper.make_tensor_value_info(name, kind, ["n"] if kind == INT64 else ["n", "k"]))
        constants = {"w": W, "one": ONE, "unity": np.array([1], np.float32), "half": np.array([2], np.float32)}
        used = {name for proto in self.nodes for name in proto.input}
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", FLOAT, ["n", MEMBERS])],
            ports,
            [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


ZIPMAP = -1
Z, Z1 = node("MatMul", ["x", "w"], ["z"]), node("MatMul", ["x", "one"], ["z"])
ARGMAX = node("ArgMax", ["p"], ["label"], axis=1)
LABELS = {"classlabels_int64s": [0, 1, 2, 3]}
INTS = {"classlabels_ints": [0, 1, 2, 3]}
NORM = {"norm": "L1"}

CASES = {
    "softmax": Case((Z, node("Softmax", ["z"], ["p"])), (("p", FLOAT),), "p", "z"),
    "log-softmax": Case((Z, node("LogSoftmax", ["z"], ["p"])), (("p", FLOAT),), "p", "z"),
    "sigmoid": Case((Z, node("Sigmoid", ["z"], ["p"])), (("p", FLOAT),), "p", "z"),
    "label beside it": Case((Z, node("Softmax", ["z"], ["p"]), ARGMAX), (("label", INT64), ("p", FLOAT)), "p", "z"),
    "zipmap": Case(
        (Z, node("Softmax", ["z"], ["p"]), ARGMAX, ml("ZipMap", ["p"], ["d"], **LABELS)),
        (("label", INT64), ("d", ZIPMAP)),
        "d",
        "z",
    ),
    "raw scores in a zipmap": Case((Z, ml("ZipMap", ["z"], ["d"], **LABELS)), (("d", ZIPMAP),), "d", "z"),
    "a chain": Case(
        (
            Z,
            node("Cast", ["z"], ["wide"], to=TensorProto.DOUBLE),
            node("Sigmoid", ["wide"], ["s"]),
            node("Identity", ["s"], ["i"]),
            node("Softmax", ["i"], ["q"]),
            node("Cast", ["q"], ["p"], to=FLOAT),
        ),
        (("p", FLOAT),),
        "p",
        "wide",
    ),
    "one probability": Case((Z1, node("Sigmoid", ["z"], ["p"])), (("p", FLOAT),), "p", "z", 2),
    "one score": Case((Z1,), (("z", FLOAT),), "z", "z", 2),
    "a probability and its complement": Case(
        (
            Z1,
            node("Sigmoid", ["z"], ["s"]),
            node("Sub", ["unity", "s"], ["t"]),
            node("Concat", ["t", "s"], ["p"], axis=1),
            ARGMAX,
            ml("ZipMap", ["p"], ["d"], classlabels_int64s=[0, 1]),
        ),
        (("label", INT64), ("d", ZIPMAP)),
        "d",
        "z",
        2,
    ),
    "linear classifier": Case(
        (ml("LinearClassifier", ["x"], ["label", "p"], **linear(4, **INTS)),),
        (("label", INT64), ("p", FLOAT)),
        "p",
        "p",
    ),
    **{
        f"linear classifier, {transform}, normalised": Case(
            (
                ml("LinearClassifier", ["x"], ["label", "s"], **linear(4, post_transform=transform, **INTS)),
                node("Cast", ["label"], ["number"], to=INT64),
                ml("Normalizer", ["s"], ["p"], **NORM),
                ml("ZipMap", ["p"], ["d"], **LABELS),
            ),
            (("number", INT64), ("d", ZIPMAP)),
            "d",
            "s",
            transformed=True,
        )
        for transform in ("SOFTMAX", "LOGISTIC")
    },
    "scaler and regressor": Case(
        (
            ml("Scaler", ["x"], ["h"], offset=[0.5, -0.25, 1.0], scale=[2.0, 0.3, -1.5]),
            node("Relu", ["h"], ["r"]),
            ml("LinearRegressor", ["r"], ["z"], **linear(4, targets=4)),
        ),
        (("z", FLOAT),),
        "z",
        "z",
    ),
    "scaler by one number": Case(
        (ml("Scaler", ["x"], ["h"], offset=[0.5], scale=[2.0]), node("MatMul", ["h", "w"], ["z"])),
        (("z", FLOAT),),
        "z",
        "z",
    ),
}


def predicted(scores: Any) -> int:
    if isinstance(scores, list):  # a zipmap
        scores = np.array(list(scores[0].values()))
    flat = np.asarray(scores).reshape(-1)
    return int(flat[0] >= 0) if flat.size == 1 else int(np.argmax(flat))


@pytest.mark.parametrize("name", CASES)
def test_the_graph_orders_classes_as_the_output_does(name: str) -> None:
    case = CASES[name]
    model = case.model()
    network = as_classifier(network_from_model(model))
    assert (network.output_name, network.logits_name) == (case.read, case.logits)
    assert (network.graph.output_size, network.binary) == (case.classes, case.classes == 2)
    assert network.transformed == case.transformed
    session = onnxruntime.InferenceSession(model.SerializeToString())
    seen = set()
    for x in np.random.default_rng(5).normal(size=(POINTS, MEMBERS)).astype(np.float32):
        (scores,) = session.run([case.read], {"x": x[np.newaxis]})
        if name == "one probability":
            scores = scores - np.float32(0.5)
        ours = outputs(network.graph, x[np.newaxis].astype(np.float64))[0]
        assert int(np.argmax(ours)) == predicted(scores)
        seen.add(int(np.argmax(ours)))
    assert len(seen) > 1
    assert set(CLASSICAL_RULES) - {"Normalizer"} <= {
        proto.op_type for other in CASES.values() for proto in other.nodes if proto.domain == "ai.onnx.ml"
    }


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.transformed])
def test_logits_are_a_tensor_of_the_file(name: str) -> None:
    case = CASES[name]
    model = case.model()
    network = network_from_model(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.append(onnx.ValueInfoProto(name=network.logits_name))
    session = onnxruntime.InferenceSession(copy.SerializeToString())
    x = np.array([[0.3, -1.2, 0.7]], np.float32)
    (logits,) = session.run(None, {"x": x})
    np.testing.assert_allclose(outputs(network.graph, x.astype(np.float64))[0], logits[0], rtol=1e-5, atol=1e-6)
    assert not set(network.tensors) & {"p", "q", "s", "t", "d"} - {network.logits_name}


def test_what_rounds_more_than_ties_is_told() -> None:
    coarse = {name for name, case in CASES.items() if network_from_model(case.model()).coarse}
    assert coarse == {
        "sigmoid",
        "a chain",
        "linear classifier, SOFTMAX, normalised",
        "linear classifier, LOGISTIC, normalised",
    }


def test_a_tie_of_one_score_is_a_tie_of_two() -> None:
    graph = as_classifier(network_from_model(CASES["one score"].model())).graph
    assert exact_outputs(graph, [0.0, 0.0, 0.0]) == [0, 0]


def test_several_outputs_are_listed() -> None:
    nodes = (Z, node("Relu", ["z"], ["r"]), node("Softmax", ["r"], ["p"]), ARGMAX)
    model = Case(nodes, (("r", FLOAT), ("p", FLOAT), ("label", INT64)), "p", "r").model()
    with pytest.raises(InputError, match="2 outputs that may be the scores of the classes; choose one with --output"):
        network_from_model(model)
    assert network_from_model(model, output="r").logits_name == "r"
    chosen = network_from_model(model, output="p")
    assert (chosen.output_name, chosen.logits_name) == ("p", "r")
    assert "output 'p' is read; not read: 'r', 'label'" in chosen.notes
    for name, reason in (("label", "holds no scores"), ("q", "is not an output of the model")):
        with pytest.raises(InputError, match=f"'{name}' {reason}; its outputs are 'r' .float32"):
            network_from_model(model, output=name)


REFUSED = {
    "normalizer inside": (
        (ml("Normalizer", ["x"], ["h"], **NORM), node("MatMul", ["h", "w"], ["z"])),
        "z",
        "divides by a norm, which is not piecewise linear; leave it out",
    ),
    "normalizer of raw scores": ((Z, ml("Normalizer", ["z"], ["p"], **NORM)), "p", "divides by a norm"),
    "probabilities inside": (
        (
            ml("LinearClassifier", ["x"], ["label", "p"], **linear(4, post_transform="SOFTMAX", **INTS)),
            node("Relu", ["p"], ["z"]),
        ),
        "z",
        "turns its scores into probabilities .SOFTMAX. inside the network",
    ),
    "probit": (
        (ml("LinearClassifier", ["x"], ["label", "p"], **linear(4, post_transform="PROBIT", **INTS)),),
        "p",
        "post_transform PROBIT is not supported",
    ),
    "one row of coefficients": (
        (ml("LinearClassifier", ["x"], ["label", "p"], **linear(1, classlabels_ints=[0, 1])),),
        "p",
        "one row of coefficients for two classes",
    ),
    "trees": (
        (ml("SVMRegressor", ["x"], ["p"]),),
        "p",
        "is no neural network.*of the domain ai.onnx.ml LinearClassifier, LinearRegressor, Normalizer, Scaler are read",
    ),
    "a softmax behind a complement": (
        (
            Z1,
            node("Sigmoid", ["z"], ["s"]),
            node("Sub", ["unity", "s"], ["t"]),
            node("Concat", ["t", "s"], ["q"], axis=1),
            node("Softmax", ["q"], ["p"], axis=0),
        ),
        "p",
        "stands inside the network|works along axis 0",
    ),
    "a complement of several": (
        (
            Z,
            node("Sigmoid", ["z"], ["s"]),
            node("Sub", ["unity", "s"], ["t"]),
            node("Concat", ["t", "s"], ["p"], axis=1),
        ),
        "p",
        "joins probabilities p and 1 - p of 4 scores",
    ),
    "an integer behind": (
        (Z, node("Softmax", ["z"], ["s"]), node("Cast", ["s"], ["p"], to=INT64)),
        "p",
        "stands inside the network",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_changes_the_order_is_refused(name: str) -> None:
    nodes, output, reason = REFUSED[name]
    model = Case(nodes, ((output, FLOAT if name != "an integer behind" else INT64),), output, output).model()
    with pytest.raises(InputError, match=reason):
        network_from_model(model)


def test_another_complement_than_of_one_is_no_ending() -> None:
    """Its Sigmoid stands inside the network."""
    nodes = (
        Z1,
        node("Sigmoid", ["z"], ["s"]),
        node("Sub", ["half", "s"], ["t"]),
        node("Concat", ["t", "s"], ["p"], axis=1),
    )
    network = network_from_model(Case(nodes, (("p", FLOAT),), "p", "p").model())
    assert network.graph.smooth
    assert (network.graph.output_size, network.logits_name) == (2, "p")
