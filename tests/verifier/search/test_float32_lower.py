"""What float32 evaluations are charged covers ONNX Runtime at every level of optimisation, constants that it multiplies
beforehand included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, Scale, readonly
from encoders.network.rounded_operations import fused_constants
from encoders.onnx_io.from_onnx import read_network
from encoders.onnx_io.weights import OnnxModel
from encoders.passes.lower import lower
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm
from verifier.problem.rounding import FLOAT32
from verifier.runtime.pointwise import FORMATS, Spread, spreads
from verifier.runtime.session import Level, session
from verifier.search.float32_lower import TIE, float32_arithmetic

POINTS = 40
SIDE, CHANNELS = 3, 2
Made = tuple[list[Any], dict[str, Any]]


class Scales:
    """Normal numbers times powers of ten from 1e-30 to 1e30; what they multiply up to is brought back at the end."""

    def __init__(self, seed: int) -> None:
        self.rng, self.total = np.random.default_rng(seed), 0.0

    def __call__(self, *shape: int, sign: float = 1.0, positive: bool = False) -> Any:
        """sign: +1 for factors, −1 for divisors, 0 for summands."""
        power = self.rng.uniform(-30, 30) if sign else self.total
        self.total += sign * power
        numbers = self.rng.normal(size=shape)
        return ((np.abs(numbers) + 0.1 if positive else numbers) * 10.0 ** np.clip(power, -30, 30)).astype(np.float32)


def row(scaled: Scales) -> Made:
    """An operator that multiplies, and behind it some that a runtime may multiply into it: x → v."""
    rng = scaled.rng
    constants: dict[str, Any] = {"a": scaled(1), "w": scaled(CHANNELS, CHANNELS, 1, 1), "b": scaled(CHANNELS, sign=0)}
    nodes = [helper.make_node("Mul", ["x", "a"], ["u"]), helper.make_node("Conv", ["u", "w", "b"], ["v0"])]
    last = "v0"
    for place in range(int(rng.integers(1, 4))):
        kind, name, result = str(rng.choice(["Mul", "Div", "Add", "Norm", "Gemm"])), f"c{place}", f"v{place + 1}"
        if kind == "Norm":
            names = [f"{name}{part}" for part in "sbmv"]
            mean, factor = scaled(CHANNELS, sign=0), scaled(CHANNELS)
            values = [factor, scaled(CHANNELS, sign=0), mean, scaled(CHANNELS, sign=-0.5, positive=True)]
            constants |= dict(zip(names, values, strict=True))
            nodes.append(helper.make_node("BatchNormalization", [last, *names], [result], epsilon=1e-12))
        elif kind == "Gemm":
            size, alpha = CHANNELS * SIDE * SIDE, float(scaled(1, positive=True)[0])
            constants |= {f"{name}f": np.array([1, size]), f"{name}w": scaled(size, size)}
            constants[f"{name}s"] = np.array([1, CHANNELS, SIDE, SIDE])
            nodes += [
                helper.make_node("Reshape", [last, f"{name}f"], [f"{name}r"]),
                helper.make_node("Gemm", [f"{name}r", f"{name}w"], [f"{name}g"], alpha=alpha),
                helper.make_node("Reshape", [f"{name}g", f"{name}s"], [result]),
            ]
        else:
            sign = {"Mul": 1.0, "Div": -1.0, "Add": 0.0}[kind]
            constants[name] = scaled(CHANNELS, 1, 1, sign=sign, positive=kind == "Div")
            nodes.append(helper.make_node(kind, [last, name], [result]))
        last = result
    return [*nodes, helper.make_node("Relu", [last], ["r"]), helper.make_node("Flatten", ["r"], ["f"])], constants


def saved(seed: int, folder: Path) -> Path:
    """Two classes over a row of operators, the last layer bringing its values back to the size of 1."""
    scaled = Scales(seed)
    nodes, constants = row(scaled)
    back = 10.0 ** np.clip(-scaled.total, -36, 36)
    constants["wl"] = (scaled.rng.normal(size=(2, CHANNELS * SIDE * SIDE)) * back).astype(np.float32)
    constants["bl"] = scaled.rng.normal(size=2).astype(np.float32)
    nodes.append(helper.make_node("Gemm", ["f", "wl", "bl"], ["y"], transB=1))
    shape = [1, CHANNELS, SIDE, SIDE]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", shape), ("y", [1, 2]))
    ]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "row", ends[:1], ends[1:], stored)
    path = folder / "row.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def runs(path: Path, points: Any) -> Any:
    """(levels, points, 2): what ONNX Runtime gives."""
    model = OnnxModel(onnx.load(path))
    opened = [session(model, threads=1, level=level) for level in Level]
    shape = (1, CHANNELS, SIDE, SIDE)
    return np.array([[one.run(None, {"x": point.reshape(shape)})[0][0] for point in points] for one in opened])


def test_rows_of_fused_operators_stay_within_their_bounds(tmp_path: Path) -> None:
    """At points and over balls."""
    finite, compared = 0, 0
    for seed in range(150):
        path = saved(seed, tmp_path)
        network = read_network(path)
        rng = np.random.default_rng(seed)
        n = network.graph.input_size
        ball = Ball(Norm.LINF, rng.random(n).astype(np.float32).astype(float), 0.01, np.zeros(n), np.ones(n))
        low, high = ball.interval
        points = (low + rng.random((POINTS, n)) * (high - low)).astype(np.float32)
        points = np.clip(points, np.nextafter(low.astype(np.float32), 2), np.nextafter(high.astype(np.float32), -2))
        first = points.astype(np.float64)
        real = spreads(network.graph, Spread(first, np.zeros_like(first)), [FORMATS["float32"]], Budget())[
            network.graph.output
        ]
        found = runs(path, points).astype(np.float64)
        with np.errstate(invalid="ignore"):
            off = np.abs(found - real.value)
        assert np.all((off <= real.error) | np.isinf(real.error)), seed
        compared += int(np.isfinite(real.error).all())
        lowered = lower(network.graph)
        arithmetic = float32_arithmetic(lowered, ball, rounds=False)
        if arithmetic is None:
            continue
        bounds = linear_bounds(lowered, ball, Budget(), arithmetic=arithmetic)
        assert np.all((bounds.lower[lowered.output] <= found) & (found <= bounds.upper[lowered.output])), seed
        finite += 1
    assert compared >= 30
    assert finite >= 30


def underflowing(folder: Path) -> Path:
    """2¹⁰⁰ · x · 1.25 · 2⁻⁷⁹ · 2⁻⁶⁹: the product of the last two is no float32 number, but rounds to 2⁻¹⁴⁸."""
    weights = {"a": 2.0**100, "w": 1.25 * 2.0**-79, "c": 2.0**-69, "v": 2.0**48}
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["h"]),
        helper.make_node("Conv", ["h", "w"], ["k"]),
        helper.make_node("Mul", ["k", "c"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "b"], ["y"], transB=1),
    ]
    shapes = {"a": (1,), "w": (1, 1, 1, 1), "c": (1, 1, 1), "v": (1, 1)}
    stored = [numpy_helper.from_array(np.full(shapes[k], value, np.float32), k) for k, value in weights.items()]
    stored[-1] = numpy_helper.from_array(np.float32([[2.0**48], [0.0]]), "v")
    stored.append(numpy_helper.from_array(np.float32([0.0, 0.4]), "b"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("x", [1, 1, 1, 1]), ("y", [1, 2]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_constants_that_underflow_when_they_are_multiplied_are_charged(tmp_path: Path) -> None:
    path = underflowing(tmp_path)
    model, x = verifier.load(path), np.float32([0.5])
    real = verifier.minimal(model, x)
    assert real.lower > 0.0
    assert real.float32 == 0.0
    ball = Ball(Norm.LINF, x.astype(float), 0.05, np.zeros(1), np.ones(1))
    with_all = session(OnnxModel(onnx.load(path)), threads=1).run(None, {"x": x.reshape(1, 1, 1, 1)})[0][0]
    arithmetic = float32_arithmetic(model.graph, ball, rounds=False)
    assert arithmetic is not None
    plain, charged = (linear_bounds(model.graph, ball, Budget(), arithmetic=a) for a in (FLOAT32, arithmetic))
    end = model.graph.output
    assert not np.all((plain.lower[end] <= with_all) & (with_all <= plain.upper[end]))
    assert np.all((charged.lower[end] <= with_all) & (with_all <= charged.upper[end]))
    assert verifier.check(model, x, 0.05).float32 is None


def test_what_constants_may_grow_to() -> None:
    builder = GraphBuilder(2)
    first = builder.affine([(Dense(readonly([[2.0, -3.0], [0.5, 0.0]])), 0)], [1.0, -4.0])
    second = builder.affine([(Scale(readonly([8.0, 0.25])), first)])
    alone = builder.affine([(Dense(readonly([[1.0, 1.0]])), builder.relu(second))])
    both = builder.affine([(Dense(readonly([[1.0], [1.0]])), alone), (Scale(readonly([1.0, 1.0])), second)])
    found = fused_constants(builder.graph(both))
    assert set(found) == {second, both}
    assert (found[second].growth, dict(found[second].inputs), found[second].biases) == (40.0, {0: 1.0}, 7.0)
    assert found[both].growth == 2.0 * 2.0 + 40.0
    assert dict(found[both].inputs) == {builder.graph(both).nodes[alone].sources[0]: 1.0, 0: 1.0}
    assert set(fused_constants(builder.graph(both), known={first, second, alone})) == {second, both}
    assert found[both].biases == 0.0 + 1.0 + 7.0 + 2.0


def test_a_smallest_divisor_counts_as_its_quotient() -> None:
    builder = GraphBuilder(1)
    graph = builder.graph(builder.affine([(Scale(readonly([1.0]), readonly([2.0**-60])), 0)]))
    assert fused_constants(graph)[1].growth == 2.0**60


def test_outputs_that_are_rounded_anew_are_charged_their_ties(truth: Any) -> None:
    graph = truth.of_layers(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])).graph
    ball = Ball(Norm.LINF, np.zeros(2), 0.0, np.full(2, -1.0), np.full(2, 1.0))
    plain, tied = (float32_arithmetic(graph, ball, rounds) for rounds in (False, True))
    assert plain is not None
    assert tied is not None
    for arithmetic, least in ((plain, 0.0), (tied, TIE)):
        bounds = linear_bounds(graph, ball, Budget(), arithmetic=arithmetic)
        assert np.all(bounds.upper[1] >= least)
        assert np.all(bounds.upper[1] <= least * (1.0 + 1e-6) + 1e-30)


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_ball_in_a_box_without_end(truth: Any, save_net: Any, norm: Norm) -> None:
    net = truth.net(3, (3, 6, 5, 3))
    model, x = save_net(net), np.float32([0.25, 0.5, 0.75])
    free = (-math.inf, math.inf)
    found = verifier.minimal(model, x, norm=norm.value, box=free)
    assert found.float32 is not None
    assert 0.0 < 0.99 * found.lower <= found.float32 <= found.lower
    shipped = verifier.minimal(model, x, norm=norm.value, box=free, semantics="float32")
    assert shipped.float32 == shipped.lower > 0.0
    held = verifier.check(model, x, 0.9 * found.lower, norm=norm.value, box=free, semantics="float32")
    assert held.float32 is True
    every = verifier.minimal_all_targets(model, x, norm=norm.value, box=free)
    for bracket in every.results:
        if math.isfinite(bracket.upper):
            assert bracket.float32 is None or 0.0 <= bracket.float32 <= bracket.lower
    assert any(bracket.float32 for bracket in every.results)
