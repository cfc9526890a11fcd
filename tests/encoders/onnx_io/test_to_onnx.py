"""The exported model against numpy: logits against `outputs`, the vector–Jacobian product against the adjoints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest

from encoders.network.graph import (
    NODE_KINDS,
    Affine,
    Clip,
    Graph,
    GraphBuilder,
    Input,
    LeakyRelu,
    Sigmoid,
    evaluate,
    frozen,
    outputs,
)
from encoders.network.linear_maps import LINEAR_MAPS, Conv, Dense, LinearMap, Scale, identity, readonly, select, sparse
from encoders.onnx_io.builder import OnnxBuilder
from encoders.onnx_io.to_onnx import FORWARD, MAP_ADJOINT, MAP_FORWARD, REVERSE, TAPS, forward_onnx, to_onnx
from encoders.passes.lower import lower

BATCH = 5
STEP = 1e-6  # central differences in float64: error near 1e-9 away from kinks
TOLERANCE = 2e-5  # float32 against float64 at these sizes


def _run(graph: Graph, x: np.ndarray, v: np.ndarray, leak: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    model = to_onnx(graph, leak).whole
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits, vjp = session.run(["logits", "vjp"], {"x": x.astype(np.float32), "v": v.astype(np.float32)})
    return logits, vjp


def _random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


def _conv(weight: tuple[int, ...], spatial: tuple[int, ...], pads: tuple[int, ...], **geometry: object) -> Conv:
    ones = (1,) * len(spatial)
    settings = {"strides": ones, "dilations": ones, "groups": 1, **geometry}
    return Conv(readonly(_random(7, *weight)), spatial, pads=pads, **settings)


MAPS: dict[str, LinearMap] = {
    "dense": Dense(readonly(_random(1, 4, 6))),
    "dense left": Dense(readonly(_random(1, 4, 3)), left=2),
    "dense right": Dense(readonly(_random(1, 4, 3)), right=2),
    "dense both": Dense(readonly(_random(1, 2, 3)), left=2, right=3),
    "conv plain": _conv((3, 2, 3, 3), (5, 4), (0, 0, 0, 0)),
    "conv padded": _conv((3, 2, 3, 3), (5, 4), (1, 1, 1, 1)),
    "conv asymmetric": _conv((3, 2, 3, 2), (6, 5), (0, 1, 2, 0), strides=(2, 1)),
    "conv strides leave a rest": _conv((2, 1, 2, 2), (6, 7), (0, 0, 0, 0), strides=(3, 4)),
    "conv dilated": _conv((2, 2, 2, 3), (7, 9), (1, 2, 0, 1), strides=(2, 3), dilations=(3, 2)),
    "conv groups": _conv((4, 2, 3, 3), (4, 4), (1, 0, 0, 1), groups=2),
    "conv depthwise": _conv((3, 1, 2, 2), (4, 4), (0, 0, 0, 0), groups=3, strides=(2, 2)),
    "conv 1-d": _conv((2, 3, 4), (9,), (2, 1), strides=(2,)),
    "conv 3-d": _conv((2, 1, 2, 2, 2), (4, 3, 4), (0, 1, 0, 1, 0, 1), strides=(2, 1, 1)),
    "select identity": select(range(6), 6),
    "select permutation": select([3, 1, 0, 2], 4),
    "select holes and repeats": select([2, -1, 2, 0, 2, 4], 6),
    "select broadcast": select([0] * 5, 1),
    "select nothing": select([-1, -1], 3),
    "scale": Scale(readonly(_random(1, 5)), readonly(np.array([3.0, 7.0, 1.0, -2.0, 9.0]))),
    "scale identity": identity(4),
    "scale negation": identity(4, -1.0),
    "sparse": sparse(np.where(_random(2, 5, 6) > 0.5, _random(3, 5, 6), 0.0)),
    "sparse nothing": sparse(np.zeros((2, 3))),
    "sparse wide": sparse(_random(4, 3, TAPS + 1)),
    "sparse tall": sparse(_random(4, TAPS + 1, 3)),
}


def test_the_maps_here_cover_every_kind() -> None:
    assert {type(linear) for linear in MAPS.values()} == set(LINEAR_MAPS) == set(MAP_FORWARD) == set(MAP_ADJOINT)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("bias", ["none", "one", "per entry"])
def test_map_forward_and_adjoint(name: str, bias: str) -> None:
    linear = MAPS[name]
    offset = {"none": np.zeros(1), "one": np.ones(1), "per entry": _random(3, linear.out_size)}[bias]
    builder = GraphBuilder(linear.in_size)
    graph = builder.graph(builder.affine([(linear, 0)], offset))
    x, v = _random(4, BATCH, linear.in_size), _random(5, BATCH, linear.out_size)
    logits, vjp = _run(graph, x, v)
    np.testing.assert_allclose(logits, outputs(graph, x), atol=TOLERANCE)
    np.testing.assert_allclose(vjp, linear.adjoint(v), atol=TOLERANCE)


def _relu(b: GraphBuilder, source: int) -> int:
    return b.relu(source)


def _leaky(b: GraphBuilder, source: int) -> int:
    return b.add(LeakyRelu(source, frozen(np.linspace(-0.5, 1.5, b.size(source)))))


def _clip(low: float, high: float) -> Callable[[GraphBuilder, int], int]:
    return lambda b, source: b.add(Clip(source, b.size(source), low, high))


def _max(count: int) -> Callable[[GraphBuilder, int], int]:
    def add(b: GraphBuilder, source: int) -> int:
        size = b.size(source)
        shifted = [b.affine([(select(np.roll(range(size), k), size), source)]) for k in range(count)]
        return b.max(shifted)

    return add


ATOMS: dict[str, Callable[[GraphBuilder, int], int]] = {
    "relu": _relu,
    "abs": lambda b, source: b.abs(source),
    "max of 1": _max(1),
    "max of 2": _max(2),
    "max of 5": _max(5),
    "leaky": _leaky,
    "clip": _clip(-0.5, 0.7),
    "clip below": _clip(-0.5, np.inf),
    "clip above": _clip(-np.inf, 0.5),
    "clip nowhere": _clip(-np.inf, np.inf),
    "sigmoid": lambda b, source: b.add(Sigmoid(source, b.size(source))),
}


def _network(atom: Callable[[GraphBuilder, int], int]) -> Graph:
    """Dense, atom, a skip connection that reads the atom twice, dense."""
    b = GraphBuilder(6)
    hidden = atom(b, b.affine([(Dense(readonly(_random(11, 7, 6))), 0)], _random(12, 7)))
    mixed = b.affine([(Dense(readonly(_random(13, 7, 7))), hidden), (Scale(readonly(_random(14, 7))), hidden)])
    again = atom(b, b.affine([(identity(7), mixed), (Dense(readonly(_random(15, 7, 6))), 0)]))
    return b.graph(b.affine([(Dense(readonly(_random(16, 4, 7))), again)], _random(17, 4)))


def test_the_atoms_here_cover_every_kind() -> None:
    used = {type(node) for atom in ATOMS.values() for node in _network(atom).nodes}
    assert used == set(NODE_KINDS)
    assert set(FORWARD) == set(REVERSE) == set(NODE_KINDS) - {Input}


@pytest.mark.parametrize("name", ATOMS)
@pytest.mark.parametrize("lowered", [False, True])
def test_network_against_central_differences(name: str, lowered: bool) -> None:
    graph = _network(ATOMS[name])
    graph = lower(graph) if lowered else graph
    x, v = _random(18, BATCH, 6), _random(19, BATCH, 4)
    logits, vjp = _run(graph, x, v)
    np.testing.assert_allclose(logits, outputs(graph, x), atol=TOLERANCE * 10)
    for column in range(6):
        shift = STEP * np.eye(6)[column]
        slope = (outputs(graph, x + shift) - outputs(graph, x - shift)) / (2 * STEP)
        np.testing.assert_allclose(vjp[:, column], (slope * v).sum(axis=1), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(("name", "flat_at"), [("relu", -1.0), ("clip", 2.0), ("clip", -2.0), ("sigmoid", 30.0)])
def test_what_is_flat_passes_on_the_leak(name: str, flat_at: float) -> None:
    """Of a scaled atom at an input where it is flat, beside its own slope elsewhere."""
    b = GraphBuilder(2)
    graph = b.graph(ATOMS[name](b, b.affine([(identity(2, 3.0), 0)])))
    _, vjp = _run(graph, np.array([[0.125, flat_at]]), np.array([[2.0, 2.0]]), leak=0.25)
    slope = 0.25 if name == "sigmoid" else 1.0  # σ' < 1/4 everywhere
    np.testing.assert_allclose(vjp, [[2.0 * 3.0 * slope, 2.0 * 3.0 * 0.25]], rtol=1e-6)
    _, vjp = _run(graph, np.array([[0.125, flat_at]]), np.array([[2.0, 2.0]]))
    assert abs(vjp[0, 1]) < 1e-6


def test_a_tied_maximum_passes_the_whole_message_on_once() -> None:
    b = GraphBuilder(2)
    graph = b.graph(b.max([0, 0, 0]))
    _, vjp = _run(graph, np.ones((1, 2)), np.array([[2.0, 3.0]]))
    np.testing.assert_array_equal(vjp, [[2.0, 3.0]])


def test_an_output_that_ignores_the_input_has_gradient_zero() -> None:
    graph = Graph((Input(3), Affine((), frozen([1.0, -2.0]))), 1)
    x = _random(20, BATCH, 3)
    logits, vjp = _run(graph, x, _random(21, BATCH, 2))
    np.testing.assert_array_equal(logits, np.tile([1.0, -2.0], (BATCH, 1)))
    np.testing.assert_array_equal(vjp, np.zeros((BATCH, 3)))


def test_the_output_may_be_the_input() -> None:
    _, vjp = _run(Graph((Input(2),), 0), np.ones((1, 2)), np.array([[2.0, 3.0]]))
    np.testing.assert_array_equal(vjp, [[2.0, 3.0]])


def test_every_node_value_is_reachable_for_larger_models() -> None:
    graph = _network(ATOMS["relu"])
    builder = OnnxBuilder()
    tensors = forward_onnx(builder, graph, builder.input("x", ("batch", 6)))
    assert len(tensors) == len(graph.nodes)
    model = builder.model({f"v{i}": (t, ("batch", graph.nodes[i].size)) for i, t in enumerate(tensors)}).whole
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = _random(22, BATCH, 6)
    for got, expected in zip(session.run(None, {"x": x.astype(np.float32)}), evaluate(graph, x), strict=True):
        np.testing.assert_allclose(got, expected, atol=TOLERANCE * 10)
