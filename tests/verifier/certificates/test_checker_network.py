"""The checker's own ONNX reader: the same function as the engine reads, and a refusal of what it does not know."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs
from tests.verifier.certificates.nets import NETS, head, model_of, whole, with_end
from tests.verifier.certificates.readers import Said, compared, session_of
from tests.verifier.certificates.variants import one_operator
from verifier.certificates import checker
from verifier.certificates.builder import certified
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget
from verifier.runtime.model import Model, load
from verifier.search.question import InputRegion, Misclassification, specify


@pytest.fixture(params=NETS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    onnx.save(whole(request.param), tmp_path / "net.onnx")
    return load(tmp_path / "net.onnx")


def test_the_checker_reads_the_same_function_as_the_engine(model):
    net = checker.read_network(model.path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.normal(size=72).astype(np.float32).astype(float)
        values, den = net.forward(*checker.exact(x.tolist()))
        assert [Fraction(int(value), den) for value in values] == exact_outputs(model.network.graph, x)


def test_the_layers_are_the_stages_of_the_engine(model):
    net = checker.read_network(model.path.read_bytes())
    assert [size for _, size in net.layers] == [stage.size for stage in to_stages(model.graph).hidden]


def test_every_layer_is_asked_for_its_multipliers_even_where_nothing_comes_back_to_it(model):
    """A leaf may be a contradiction between splits of the first layer alone."""
    net, asked = checker.read_network(model.path.read_bytes()), []

    def relu(layer, mu, den):
        asked.append(layer)
        return np.zeros_like(checker.whole_row((mu, den))[0]), den, (np.zeros(1, dtype=object), 1)

    net.backward(net.output, np.zeros((1, 3), dtype=object), 1, relu)
    assert sorted(asked) == [*range(len(net.layers))]


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_small_radii_of_every_kind_of_net_are_certified(model, norm):
    x = np.random.default_rng(5).random(72).astype(np.float32)
    asked = specify(model, InputRegion(x, norm), Misclassification(), Budget())
    radius = 0.001 if norm == "linf" else 0.01
    assert certified(asked, radius, None, Budget()).result.lower == radius


@pytest.mark.parametrize(
    ("op", "reason"),
    [("Elu", "Elu"), ("Abs", "Abs"), ("Softplus", "Softplus")],
)
def test_unknown_operators_are_refused_by_name(tmp_path, op, reason):
    rng = np.random.default_rng(0)
    more, last = head(rng, 72)
    nodes = [helper.make_node(op, ["x"], ["last"])]
    nodes += [helper.make_node(name, inputs, [out], **attributes) for name, inputs, out, attributes in more]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in last.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 72]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    with pytest.raises(checker.InvalidError, match=reason):
        checker.read_network(content)


PADS = {
    "reflect": ({"mode": "reflect"}, {}, 13),
    "cut": ({}, {"p": [0, 0, -1, 0]}, 13),
    "few": ({}, {"p": [0, 1]}, 13),
    "of floats": ({}, {"p": np.zeros(4, dtype=np.float32)}, 13),
    "endless": ({}, {"v": np.float32(np.inf)}, 13),
    "two": ({}, {"v": np.zeros(2, dtype=np.float32)}, 13),
    "huge": ({}, {"p": [0, 0, 0, 1 << 62]}, 13),
    "axes": ({}, {"a": [0, 1]}, 18),
    "old": ({"pads": [0, 0, 0, 0]}, {}, 9),
}


@pytest.mark.parametrize("name", PADS)
def test_padding_of_other_kinds_is_refused(name):
    attributes, changes, opset = PADS[name]
    weights = {"p": [0, 1, 0, 0], "v": np.float32(0.5), **changes}
    nodes = [("Pad", ["x", *weights], "last", attributes), *head(np.random.default_rng(0), 5)[0]]
    content = model_of(nodes, [1, 4], {**weights, **head(np.random.default_rng(0), 5)[1]}, opset).SerializeToString()
    with pytest.raises(checker.InvalidError, match="Pad"):
        checker.read_network(content)


def clipping(low: float, high: float, opset: int, dtype: type[np.floating]) -> bytes:
    given = {"low": dtype(low), "high": dtype(high)} if opset > 10 else {}
    attributes = {} if given else {"min": low, "max": high}
    model = model_of([("Clip", ["x", *given], "y", attributes)], [1, 3], given, opset)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model.SerializeToString()


@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (-math.inf, 1.0)])
@pytest.mark.parametrize("opset", [7, 13])
def test_endless_ends_of_clip_are_refused_by_name(low, high, opset):
    with pytest.raises(checker.InvalidError, match="Clip is read with two finite ends"):
        checker.read_network(clipping(low, high, opset, np.float32))


def test_ends_of_clip_are_of_the_inputs_type():
    """Attributes are float32, of a float16 input too, and what it gives are float16."""
    content = clipping(0.1, 0.33, 7, np.float16)
    assert compared(content) is Said.ALIKE
    with pytest.raises(checker.InvalidError, match="Clip is read with two finite ends"):
        checker.read_network(clipping(0.0, 3e38, 7, np.float16))


def test_every_operator_is_tried():
    rng = np.random.default_rng(0)
    tried = {op for made in NETS.values() for op, *_ in made(rng)[0]} | {"Flatten", "Gemm", "Relu"}
    # These are no part of a piecewise linear net: test_smooth_boxes.py tries them.
    assert set(checker.OPERATORS) == tried | {"Sigmoid", "Tanh"}


ENDS = [("", 1), ("", 3), ("Sigmoid", 1), ("Sigmoid", 3), ("Softmax", 3), ("LogSoftmax", 3)]


@pytest.mark.parametrize(("end", "size"), ENDS)
def test_ends_that_keep_the_order_are_left_out(tmp_path, end, size):
    """One number z has the classes z < 0 and z ≥ 0, with a Sigmoid behind it or not."""
    content = with_end(end, size).SerializeToString()
    assert compared(content) is Said.ALIKE
    (tmp_path / "net.onnx").write_bytes(content)
    model, session = load(tmp_path / "net.onnx"), session_of(content)
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = rng.random(4).astype(np.float32)
        asked = specify(model, InputRegion(x), Misclassification(), Budget())
        radius = found = 0.0
        for radius in (0.01, 0.02, 0.04, 0.08):
            with suppress(NotCertifiedError):
                found = certified(asked, radius, None, Budget()).result.lower
        assert found > 0
        points = np.clip(x + found * rng.uniform(-1, 1, (300, 1, 4)), 0, 1).astype(np.float32)
        shown = np.array([session.run(None, {"x": point})[0][0] for point in points])
        threshold = 0.5 if end == "Sigmoid" else 0.0
        classes = shown.argmax(axis=1) if size > 1 else (shown[:, 0] >= threshold).astype(int)
        assert set(classes.tolist()) == {asked.label}
    said = str(checker.judged(certified(asked, found, None, Budget()).content, content))
    assert (f", before a final {end}" in said) == bool(end)
    assert ("one number z, of class 0 where z < 0 and of class 1 where z ≥ 0" in said) == (size == 1)


@pytest.mark.parametrize("end", ["", "Sigmoid"])
def test_one_number_has_two_classes(end):
    content = with_end(end, 1).SerializeToString()
    assert compared(content) is Said.ALIKE
    net = checker.read_network(content)
    assert net.size(net.output) == 2
    assert net.scores == ("z" if end else "y")
    assert net.forward(*checker.exact([0.5] * 4))[0][0] == 0


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax"])
def test_a_softmax_of_one_number_says_nothing(end):
    with pytest.raises(checker.InvalidError, match="keep their order"):
        checker.read_network(with_end(end, 1).SerializeToString())


@pytest.mark.parametrize(("wanted", "read"), [([1, -1], True), ([1, 3, 4], True), ([0, -1], False), ([1, 0], False)])
def test_reshape_as_pytorch_writes_it(wanted, read):
    """With allowzero, a size of 0 is an empty tensor and not a copy."""
    node = helper.make_node("Reshape", ["x", "w"], ["out"], allowzero=1)
    content = one_operator(node, [1, 12], {"w": np.array(wanted)}, 18, last=False)
    assert (compared(content) is Said.ALIKE) == read
