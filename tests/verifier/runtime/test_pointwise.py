"""What a runtime may compute at a point lies within its spread, and the spread is not much wider than rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from encoders.network.exact import exact_values
from encoders.network.graph import Abs, Clip, Graph, GraphBuilder, LeakyRelu, Sigmoid, frozen
from encoders.network.linear_maps import Dense, Scale, readonly
from tests.encoders.conftest import build_model
from verifier.problem.budget import Budget
from verifier.runtime.pointwise import FORMATS, REAL_NUMBERS, SIGMOID_UNITS, Spread, spreads


def summed(rng: np.random.Generator, weight: Any, bias: Any, h: Any, dtype: Any) -> Any:
    """W h + b in the dtype, each row's terms added in an order of its own."""
    result = []
    for row, start in zip(weight, bias, strict=True):
        terms = [*(row * h), start]
        total = dtype(0)
        for k in rng.permutation(len(terms)):
            total = dtype(total + terms[k])
        result.append(total)
    return np.array(result, dtype)


def mixed(seed: int, dtype: Any, scale: float) -> tuple[Graph, list[Any]]:
    """Dense, LeakyRelu, Dense, Abs, Clip, Scale; its weights and biases in the dtype."""
    rng = np.random.default_rng(seed)
    numbers = [(rng.normal(size=shape) * scale).astype(dtype) for shape in ((5, 4), (5,), (6, 5), (6,), (6,))]
    slope = rng.normal(size=5).astype(dtype)
    builder = GraphBuilder(4)
    wide = [np.asarray(value, np.float64) for value in numbers]
    last = builder.affine([(Dense(readonly(wide[0])), 0)], wide[1])
    last = builder.add(LeakyRelu(last, frozen(slope)))
    last = builder.affine([(Dense(readonly(wide[2])), last)], wide[3])
    last = builder.add(Clip(builder.add(Abs(last, 6)), 6, 0.25, 4.0))
    return builder.graph(builder.affine([(Scale(frozen(wide[4])), last)])), [*numbers, slope]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("scale", [1.0, 2.0**-9, 8.0])
@pytest.mark.parametrize("seed", range(5))
def test_every_order_of_summation_lies_within(seed: int, scale: float, name: str) -> None:
    dtype = np.dtype(name).type
    graph, (w, b, v, c, factor, slope) = mixed(seed, dtype, scale)
    rng = np.random.default_rng(seed)
    point = rng.normal(size=4).astype(dtype)
    first = point.astype(np.float64)[np.newaxis]
    found = spreads(graph, Spread(first, np.zeros_like(first)), [FORMATS[name]], Budget())
    for _ in range(20):
        values = [point, summed(rng, w, b, point, dtype)]
        values.append(np.where(values[1] >= 0, values[1], slope * values[1]))
        values.append(summed(rng, v, c, values[2], dtype))
        values.append(np.abs(values[3]))
        values.append(np.clip(values[4], dtype(0.25), dtype(4.0)))
        values.append(factor * values[5])
        for value, spread in zip(values, found, strict=True):
            assert value.dtype == dtype
            assert np.all(np.abs(value.astype(np.float64) - spread.value[0]) <= spread.error[0])
    unit = float(np.finfo(dtype).eps) / 2
    assert np.all(found[1].error < 200 * unit * (1 + np.abs(first).sum()) * max(1.0, scale) * 4)


@pytest.mark.parametrize("seed", range(10))
def test_real_values_lie_within_float64s_own_rounding(seed: int) -> None:
    graph, _ = mixed(seed, np.float64, 1.0)
    point = np.random.default_rng(seed).normal(size=(1, 4))
    found = spreads(graph, Spread(point, np.zeros_like(point)), [REAL_NUMBERS], Budget())
    for exact, spread in zip(exact_values(graph, point[0]), found, strict=True):
        real = np.array([float(value) for value in exact.fractions()])
        assert np.all(np.abs(real - spread.value[0]) <= spread.error[0] + np.spacing(np.abs(real)))
        assert np.all(spread.error[0] <= 1e-12 * (1 + np.abs(real)))


def test_what_an_input_is_off_by_is_carried_on() -> None:
    builder = GraphBuilder(2)
    graph = builder.graph(builder.relu(builder.affine([(Dense(readonly([[2.0, -3.0]])), 0)], [1.0])))
    found = spreads(graph, Spread(np.array([[1.0, 0.5]]), np.array([[0.25, 0.5]])), [REAL_NUMBERS], Budget())[-1]
    assert found.value[0, 0] == 1.5
    assert 2.0 <= found.error[0, 0] <= 2.0 + 1e-12


def test_what_may_overflow_is_unbounded_from_there_on() -> None:
    builder = GraphBuilder(1)
    large = builder.affine([(Scale(frozen([1e30])), 0)])
    graph = builder.graph(builder.affine([(Scale(frozen([1e-30])), large)]))
    for x, overflows in ((1e7, False), (1e9, True)):
        first = np.array([[x]])
        found = spreads(graph, Spread(first, np.zeros_like(first)), [FORMATS["float32"]], Budget())[-1]
        assert np.isinf(found.error[0, 0]) == overflows


@pytest.mark.parametrize("op", ["input", "relu"])
def test_a_cast_to_a_narrower_format_is_charged_wherever_it_may_stand(op: str) -> None:
    builder = GraphBuilder(3)
    graph = builder.graph(builder.relu(0) if op == "relu" else 0)
    x = np.float32([1.0009, 300.1, 7e4])
    first = x.astype(np.float64)[np.newaxis]
    formats = [FORMATS["float32"], FORMATS["float16"]]
    found = spreads(graph, Spread(first, np.zeros_like(first)), formats, Budget())[-1]
    with np.errstate(over="ignore"):
        cast = x.astype(np.float16).astype(np.float64)
    assert np.all(np.abs(cast[:2] - first[0, :2]) <= found.error[0, :2])
    assert found.error[0, 1] < 1.0
    assert np.isinf(found.error[0, 2])


def test_sigmoids_of_onnx_runtime_are_as_near_as_is_assumed() -> None:
    """On a dense grid, against float64 (float32 and float16) and extended precision (float64)."""
    steps = np.unique(np.concatenate([np.linspace(-120, 120, 400_001), np.geomspace(1e-42, 100, 50_001)]))
    for name, form in FORMATS.items():
        x = np.concatenate([steps, -steps]).astype(name)
        wide = x.astype(np.longdouble)
        for op, allowed, real in (
            ("Sigmoid", SIGMOID_UNITS, 1.0 / (1.0 + np.exp(-wide))),
            ("Tanh", 2.0 * SIGMOID_UNITS, np.tanh(wide)),
        ):
            model = build_model([helper.make_node(op, ["x"], ["y"])], [None], {}, dtype=np.dtype(name))
            given = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
            off = float(np.abs(given.astype(np.longdouble) - real).max()) / form.unit
            assert off <= allowed, (name, op, off)


@pytest.mark.parametrize("name", [*FORMATS, "real"])
def test_a_sigmoid_is_charged_what_it_may_be_off_by(name: str) -> None:
    builder = GraphBuilder(3)
    graph = builder.graph(builder.add(Sigmoid(0, 3)))
    x, error = np.array([[-3.0, 0.0, 20.0]]), np.array([[0.5, 1e-3, np.inf]])
    form = FORMATS.get(name, REAL_NUMBERS)
    found = spreads(graph, Spread(x, error), [form], Budget())[-1]
    for sign in (-1.0, 1.0):
        moved = 1.0 / (1.0 + np.exp(-(x[:, :2] + sign * error[:, :2])))
        assert np.all(np.abs(moved - found.value[:, :2]) + SIGMOID_UNITS * form.unit <= found.error[:, :2])
    assert np.all(found.error[:, :2] <= 0.25 * error[:, :2] + 2 * SIGMOID_UNITS * form.unit + 1e-14)
    assert np.isinf(found.error[0, 2])
