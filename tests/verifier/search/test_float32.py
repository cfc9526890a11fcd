"""The float32 lower end: no replay crosses it, in ONNX Runtime with any options or in any order of summation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.errors import InputError
from tests.traps.table import TRAPS
from tests.verifier.replays import all_sessions, inside
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm
from verifier.problem.rounding import FLOAT32
from verifier.problem.verdict import Evidence, Holds, Status, Unknown, Violated
from verifier.search.float32_lower import float32_lower, in_range

POINTS = 1000
"""For each input and norm, run under every combination of options."""


@pytest.fixture(scope="module")
def digits() -> verifier.Model:
    return verifier.load(models.path("digits"))


@pytest.fixture(scope="module")
def images() -> Any:
    return np.load(models.path("digits").parent / "digits_inputs.npz")["x"]


@pytest.fixture(scope="module")
def sessions(digits: verifier.Model) -> list[ort.InferenceSession]:
    return all_sessions(digits.path)


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("index", range(4))
def test_no_replay_crosses(
    digits: verifier.Model, images: Any, sessions: list[ort.InferenceSession], index: int, norm: str
) -> None:
    x = images[index]
    bracket = verifier.minimal(digits, x, norm=norm)
    assert bracket.float32 is not None
    assert bracket.witness is not None
    assert 0.999 * bracket.lower <= bracket.float32 <= bracket.lower
    ball = Ball(Norm(norm), x.astype(float).reshape(-1), bracket.float32, np.zeros(64), np.ones(64))
    points = inside(ball, bracket.witness.point.astype(float), index, POINTS)
    label, name = digits.predict(x), digits.network.input_name
    for session in sessions:
        rows = [session.run(None, {name: p.reshape(digits.network.input_shape)})[0][0] for p in points]
        logits = np.array(rows)
        others = np.delete(logits, label, axis=1)
        assert np.all(logits[:, label] > others.max(axis=1))


@pytest.mark.parametrize("name", ["2^30", "2^60"])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_what_rounding_invents_is_seen(save_net: Callable[[Any], verifier.Model], name: str, norm: str) -> None:
    """Over the reals no point of the box reaches the target; in float32 those beyond 1/2 do."""
    trap = next(trap for trap in TRAPS if trap.name == f"rounding invents it: {name}")
    model = save_net(trap)
    assert trap.nearest(Norm(norm)) is None
    assert model.predict(np.float32([0.625])) == trap.target
    bracket = verifier.minimal(model, np.float32(trap.centre), norm=norm, target=trap.target)
    assert bracket.float32 is not None
    assert bracket.float32 <= 0.375


def any_order(rng: np.random.Generator, weight: Any, bias: Any, h: Any) -> Any:
    """W h + b in float32, each row's terms added in an order of its own; some products fused by FMA."""
    result = []
    for row, start in zip(weight, bias, strict=True):
        terms = [*(np.float64(w) * np.float64(v) for w, v in zip(row, h, strict=True)), np.float64(start)]
        total = np.float32(0)
        for k in rng.permutation(len(terms)):
            product = terms[k] if rng.random() < 0.5 else np.float64(np.float32(terms[k]))
            total = np.float32(np.float64(total) + product)
        result.append(total)
    return np.array(result, np.float32)


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize("seed", range(10))
def test_bounds_hold_for_every_order(truth: Any, seed: int, norm: Norm) -> None:
    """Neurons that stand on large numbers with cancellation: some float32 values lie outside the real bounds."""
    net = truth.net(seed, (3, 5, 5, 3))
    rng = np.random.default_rng(seed)
    layers = [(np.float32(w * 2.0**12 / 3), np.float32(b)) for w, b in net.layers]
    net = truth.of_layers(*layers)
    ball = Ball(norm, np.float32(rng.random(3)).astype(float), 1e-12, net.lo, net.hi)
    float32_bounds = linear_bounds(net.graph, ball, Budget(), arithmetic=FLOAT32)
    real, left = linear_bounds(net.graph, ball, Budget()), 0
    for _ in range(30):
        h, node = ball.centre.astype(np.float32), 1
        for place, (weight, bias) in enumerate(layers):
            h = any_order(rng, weight, bias, h)
            assert np.all((float32_bounds.lower[node] <= h) & (h <= float32_bounds.upper[node]))
            left += int(np.sum((h < real.lower[node]) | (h > real.upper[node])))
            if place + 1 < len(layers):
                h, node = np.maximum(h, np.float32(0)), node + 2
    assert left > 0


def test_overflow_proves_nothing(truth: Any) -> None:
    net = truth.of_layers(([[2.0**100]], [0.0]), ([[2.0**40], [0.0]], [-(2.0**120), 0.0]))
    ball = Ball(Norm.LINF, np.array([0.5]), 0.25, net.lo, net.hi)
    bounds = linear_bounds(net.graph, ball, Budget(), arithmetic=FLOAT32)
    assert not in_range(net.graph, bounds)
    assert float32_lower(net.graph, ball.with_radius(math.inf), [], 0.25, 0, Budget()) == 0.0


def test_the_tree_proves_both_ends_at_once(digits: verifier.Model, images: Any) -> None:
    """Every last bracket has the float32 end, that of an ended budget too; those on the way do not."""
    *others, last = verifier.brackets(digits, images[0])
    assert last.float32 == last.lower > 0
    assert {bracket.float32 for bracket in others} == {None}
    budget = Budget()
    budget.cancel()
    assert verifier.minimal(digits, images[0], timeout=budget).float32 == 0.0


def test_where_rounding_decides_the_real_network_is_searched_on(digits: verifier.Model, images: Any) -> None:
    """At a precision beyond float32's rounding the real end is the higher one; neither passes the witness."""
    found = verifier.minimal(digits, images[0], precision=1e-9)
    assert found.float32 is not None
    assert 0 < found.float32 < found.lower <= found.upper
    assert found.upper - found.lower < found.upper - found.float32


@pytest.mark.parametrize("method", ["milp", "z3"])
def test_other_methods_have_it_where_there_is_time(digits: verifier.Model, images: Any, method: str) -> None:
    found = verifier.minimal(digits, images[0], method=method)
    assert found.float32 is not None
    assert 0.99 * found.lower <= found.float32 <= found.lower
    budget = Budget()
    budget.cancel()
    assert verifier.minimal(digits, images[0], method=method, timeout=budget).float32 is None


@pytest.mark.parametrize("method", ["tree", "z3"])
def test_every_target_has_its_float32_end(digits: verifier.Model, images: Any, method: str) -> None:
    every = verifier.minimal_all_targets(digits, images[0], method=method, targets=[1, 2, 4])
    ends = [bracket.float32 for bracket in every.results]
    assert all(end is not None and 0.99 * b.lower <= end <= b.lower for end, b in zip(ends, every.results, strict=True))
    assert every.overall.float32 == min(end for end in ends if end is not None)
    real = verifier.minimal_all_targets(digits, images[0], method=method, semantics="real", targets=[2])
    assert {bracket.float32 for bracket in (*real.results, real.overall)} == {None}


def test_every_target_where_rounding_decides(digits: verifier.Model, images: Any) -> None:
    """At a precision beyond float32's rounding each real end is the higher one, unless the witness's grid stops it."""
    every = verifier.minimal_all_targets(digits, images[0], precision=1e-9, targets=[1, 2])
    for bracket in every.results:
        assert bracket.float32 is not None
        assert 0 < bracket.float32 < bracket.lower <= bracket.upper
    shipped = verifier.minimal_all_targets(digits, images[0], semantics="float32", targets=[1, 2])
    assert all(bracket.float32 == bracket.lower > 0 for bracket in shipped.results)


@pytest.mark.parametrize("method", ["tree", "z3"])
def test_asked_about_the_real_network_alone(digits: verifier.Model, images: Any, method: str) -> None:
    real = verifier.minimal(digits, images[0], method=method, semantics="real")
    assert (real.status, real.float32) == (Status.MINIMAL, None)


def test_asked_about_the_float32_network_alone(digits: verifier.Model, images: Any) -> None:
    real = verifier.minimal(digits, images[0], semantics="real")
    shipped = verifier.minimal(digits, images[0], semantics="float32")
    assert (shipped.status, shipped.evidence) == (Status.MINIMAL, Evidence.PROVED)
    assert 0 < shipped.lower == shipped.float32 <= real.upper


def test_a_precision_that_float32_cannot_have_stays_open(digits: verifier.Model, images: Any) -> None:
    found = verifier.minimal(digits, images[0], semantics="float32", precision=1e-9)
    assert found.status is Status.BRACKETED
    assert found.reason
    assert 0 < found.lower == found.float32 < found.upper


def test_checks_on_both_sides(digits: verifier.Model, images: Any) -> None:
    distance = verifier.minimal(digits, images[0], precision=1e-6)
    for semantics, told in (("both", True), ("float32", True), ("real", None)):
        inside = verifier.check(digits, images[0], 0.99 * distance.lower, semantics=semantics)
        assert (inside.verdict, inside.float32) == (Holds(Evidence.PROVED), told)
        outside = verifier.check(digits, images[0], 1.01 * distance.upper, semantics=semantics)
        assert isinstance(outside.verdict, Violated)
        assert outside.float32 is None


def test_a_check_that_holds_for_the_real_network_only(
    save_net: Callable[[Any], verifier.Model],
) -> None:
    """Rounding invents a region beyond 1/2: over the reals the target is nowhere."""
    trap = next(trap for trap in TRAPS if trap.name == "rounding invents it: 2^30")
    model, x = save_net(trap), np.float32(trap.centre)
    both = verifier.check(model, x, 1.0, target=trap.target)
    assert isinstance(both.verdict, Violated | Unknown) or both.float32 is None
    real = verifier.check(model, x, 1.0, target=trap.target, semantics="real")
    assert real.float32 is None
    shipped = verifier.check(model, x, 1.0, target=trap.target, semantics="float32")
    assert not isinstance(shipped.verdict, Holds)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"semantics": "float"}, "unknown semantics 'float'"), ({"semantics": "float32", "method": "z3"}, "method tree")],
)
def test_what_cannot_be_asked(digits: verifier.Model, images: Any, options: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        verifier.check(digits, images[0], 0.01, **options)  # type: ignore[arg-type]


def test_other_dtypes_have_no_float32_end(save_net: Callable[..., verifier.Model], truth: Any) -> None:
    model = save_net(truth.net(0, (3, 4, 3)), np.float64)
    assert model.dtype == np.float64
    assert verifier.minimal(model, np.full(3, 0.5)).float32 is None
    with pytest.raises(InputError, match="float64"):
        verifier.minimal(model, np.full(3, 0.5), semantics="float32")


def test_where_rounding_alone_reaches_the_goal_only_the_real_network_is_searched(
    save_net: Callable[[Any], verifier.Model],
) -> None:
    """Subnormal and huge weights: what underflow is charged exceeds every margin."""
    trap = next(trap for trap in TRAPS if trap.name == "subnormal, huge")
    model, x = save_net(trap), np.float32(trap.centre)
    found = verifier.minimal(model, x, target=trap.target, precision=trap.precision)
    assert found.float32 == 0.0
    assert found.evidence is Evidence.PROVED
    every = verifier.minimal_all_targets(model, x, precision=trap.precision)
    assert {bracket.float32 for bracket in every.results} == {0.0}
    assert verifier.check(model, x, 0.2, target=trap.target).float32 is None


def cast_inside(path: Path, to: int, box: float = 255.0) -> Path:
    """x → to another dtype and back → relu → z0 = r0, z1 = r1 + 0.98 · box: the case of a file that casts inside."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=to),
        helper.make_node("Cast", ["h"], ["r"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "c"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    stored = [
        numpy_helper.from_array(np.float32([[1, 0], [0, 1]]), "v"),
        numpy_helper.from_array(np.float32([0.0, 0.8 * box]), "c"),
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("method", ["tree", "z3"])
@pytest.mark.parametrize(("to", "name"), [(TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64")])
def test_a_file_that_casts_inside_has_no_float32_end(tmp_path: Path, method: str, to: int, name: str) -> None:
    model, x = verifier.load(cast_inside(tmp_path / "net.onnx", to)), np.float32([250.0, 10.0])
    assert model.agreement.complete
    assert model.no_float32 == f"this one casts to {name} inside"
    found = verifier.minimal(model, x, box=(0.0, 255.0), method=method)
    assert found.lower > 0.0
    assert found.float32 is None
    assert verifier.check(model, x, 0.5 * found.lower, box=(0.0, 255.0), method=method).float32 is None
    with pytest.raises(InputError, match=f"casts to {name} inside"):
        verifier.minimal(model, x, box=(0.0, 255.0), semantics="float32")


def test_constants_that_rounding_made_have_no_float32_end(digits: verifier.Model, images: Any) -> None:
    rounded = replace(digits, network=replace(digits.network, inexact=("w",)))
    found = verifier.minimal(rounded, images[0])
    assert (found.status, found.float32) == (Status.MINIMAL, None)
    with pytest.raises(InputError, match="computes its constant 'w' with rounding"):
        verifier.check(rounded, images[0], 0.01, semantics="float32")
