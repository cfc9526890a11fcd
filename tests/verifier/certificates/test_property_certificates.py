"""Certificates about properties: what the engine proves is accepted by the lone checker, forged ones are refused."""

from __future__ import annotations

import copy
import json
import math
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import verifier
from encoders.network.graph import Graph
from encoders.network.node_bounds import NodeBounds
from tests.verifier.certificates.parts import case_proof
from verifier.certificates import box_tree, checker, property_builder
from verifier.certificates.box_tree import BoxTree
from verifier.certificates.checker import ANEW, BOUNDS, BOXES, FIRST_RELU, HALVES, LEAF, LINED, QUADRATIC, ROW, SLOPES
from verifier.certificates.format import property_encoded
from verifier.certificates.property_builder import property_certified
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball
from verifier.problem.verdict import Evidence, Holds
from verifier.solvers.root_bounds import root_bounds
from verifier.solvers.tree.protocol import TreeRoot

RAMP = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))"
NEVER, OVER = "(assert (>= Y_0 0.6))", "(assert (>= Y_0 0.4))"
"""y = min(x, 1 − x) is 0.5 at most."""

# The two ReLUs' arguments are x, which is active, and x − 1/2, which is open.
ROOT = [BOUNDS, 1, 2, 0]
"""The last 0: no quadratic evidence for this layer."""
WHOLE = [BOXES, ANEW, 1, 2]
STEPS = 1 << 26
"""Ends of boxes in this network are multiples of 2⁻²⁶ of the case's width, 0.9."""
AT = STEPS * 3 // 8
"""x = 0.4375; of both sides the upper one is read first."""
BY_BOXES = [*WHOLE, HALVES, 0, AT, ANEW, 2, ANEW, 0, ROW, 0, ROW, 0]
BY_RELUS = [*ROOT, FIRST_RELU + 1, LEAF, 0, 1, 0, 1, LEAF, 0, 1, 0, 1]
BY_LINES = [*ROOT, SLOPES, 1, 1, 128, FIRST_RELU + 1, LINED, 0, 1, 1, LINED, 0, 1, 1]
TWICE = [*ROOT, BOUNDS, 2, 0, *BY_RELUS[len(ROOT) :]]


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: Callable[..., verifier.Model]) -> verifier.Model:
    """y = min(x, 1 − x) on [0, 1]."""
    return save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))


def reason(model: verifier.Model, numbers: Sequence[int], row: str = NEVER, **changed: Any) -> str:
    """Why the checker refuses a certificate of these numbers; "" where it is valid."""
    text = (RAMP + row).encode()
    content = property_encoded(changed.pop("sha256", model.network.sha256), text, [np.array(numbers, dtype=np.int64)])
    return checker.judged(content, model.path.read_bytes(), checker.Demands(**changed)).reason


@pytest.mark.parametrize(
    "numbers", [BY_BOXES, BY_RELUS, BY_LINES, TWICE], ids=["boxes", "relus", "lines", "bounds anew"]
)
def test_trees_of_boxes_and_of_relus_are_accepted(numbers: list[int], ramp: verifier.Model) -> None:
    assert reason(ramp, numbers) == ""
    assert reason(ramp, numbers, OVER).endswith("does not close")


FORGED = {
    "no tree": ([], "cut off"),
    "a leaf is missing": (BY_BOXES[:-2], "cut off"),
    "a leaf too many": ([*BY_BOXES, ROW, 0], "belong to nothing"),
    "the root alone": ([*WHOLE, ROW, 0], "does not close"),
    "one side alone": ([*WHOLE, HALVES, 0, AT, ANEW, 2], "cut off"),
    "no bounds": ([BOXES, ROW, 0], "before any bounds"),
    "no bounds of ReLUs": ([LEAF, 0, 1], "before any bounds"),
    "halves without bounds": ([BOXES, HALVES, 0, AT, ROW, 0, ROW, 0], "before any bounds"),
    "halves with the root's bounds": ([*WHOLE, HALVES, 0, AT, ROW, 0, ROW, 0], "does not close"),
    "a split above its box": ([*WHOLE, HALVES, 0, STEPS + 1, ROW, 0, ROW, 0], "outside its box"),
    "a split below its box": ([*WHOLE, HALVES, 0, -1, ROW, 0, ROW, 0], "outside its box"),
    "a split outside a half": ([*WHOLE, HALVES, 0, AT, HALVES, 0, AT - 1, ROW, 0], "outside its box"),
    "a split of another input": ([*WHOLE, HALVES, 1, AT, ROW, 0, ROW, 0], "not there"),
    "a split of a negative input": ([*WHOLE, HALVES, -1, AT, ROW, 0, ROW, 0], "not there"),
    "an open neuron is claimed to be off": ([BOXES, ANEW, 1, 0, ROW, 0], "does not follow"),
    "an open neuron is claimed to be active": ([BOXES, ANEW, 1, 1, ROW, 0], "does not follow"),
    "an active neuron is claimed to be off": ([BOXES, ANEW, 0, 2, ROW, 0], "does not follow"),
    "the same of ReLUs": ([BOUNDS, 1, 0, 0, LEAF, 0, 1, 0], "does not follow"),
    "sides swapped": ([*WHOLE, HALVES, 0, AT, ANEW, 0, ANEW, 2, ROW, 0, ROW, 0], "does not follow"),
    "no such state": ([BOXES, ANEW, 1, 3, ROW, 0], "state is malformed"),
    "no such state of a ReLU": ([BOUNDS, 1, -1, LEAF, 0, 1, 0], "state is malformed"),
    "a row that is not there": ([*BY_BOXES[:-1], 1], "a row that is not there"),
    "a negative row": ([*BY_BOXES[:-1], -1], "a row that is not there"),
    "a node of boxes that is not there": ([*WHOLE, 3, 0], "not there"),
    "boxes behind a split": ([*ROOT, FIRST_RELU + 1, *WHOLE, ROW, 0], "behind a split"),
    "quadratic bounds behind a split": ([*ROOT, FIRST_RELU + 1, QUADRATIC, 1], "behind a split"),
    "a split of an active neuron": ([*ROOT, FIRST_RELU, LEAF, 0, 1, 0, 1], "not open"),
    "a neuron that is not there": ([*ROOT, FIRST_RELU + 2, LEAF, 0, 1, 0, 1], "not open"),
    "a neuron split twice": ([*ROOT, FIRST_RELU + 1, FIRST_RELU + 1, *[LEAF, 0, 1, 0, 1] * 3], "twice"),
    "a negative weight": ([*ROOT, FIRST_RELU + 1, LEAF, 0, -1, 0, 1, LEAF, 0, 1, 0, 1], "does not close"),
    "a negative multiplier of an active neuron": ([*ROOT, FIRST_RELU + 1, *[LEAF, 0, 1, -1, 1] * 2], "does not close"),
    "a step that is malformed": ([*ROOT, FIRST_RELU + 1, *[LEAF, 61, 1, 0, 1] * 2], "step is malformed"),
    "an unknown node": ([-5], "not there"),
    "quadratic bounds before any": ([QUADRATIC, 1], "before any others"),
    "evidence for the first layer": ([BOUNDS, 1, 2, 1, *[0] * 7], "before any ReLU"),
    "lines without slopes": ([*ROOT, FIRST_RELU + 1, *[LINED, 0, 1, 1] * 2], "before any slopes"),
    "lines before any bounds": ([LINED, 0, 1], "before any bounds"),
    "lines behind bounds anew": (
        [*ROOT, SLOPES, 1, 1, 128, BOUNDS, 2, 0, FIRST_RELU + 1, LINED, 0, 1, 1],
        "before any slopes",
    ),
    "lines at the root": ([*ROOT, SLOPES, 1, 1, 0, LINED, 0, 1], "does not close"),
    "lines of one side alone": (BY_LINES[:-4], "cut off"),
    "a slope above 1": ([*ROOT, SLOPES, 1, 1, 257, *BY_LINES[len(ROOT) + 4 :]], "slope is malformed"),
    "a slope below 0": ([*ROOT, SLOPES, 1, 1, -1, *BY_LINES[len(ROOT) + 4 :]], "slope is malformed"),
    "a β below 0": ([*BY_LINES[:-1], -1], "does not close"),
    "a β that is not enough": ([*BY_LINES[:-2], 2, 1], "does not close"),
    "a β beyond all numbers": ([*BY_LINES[:-1], 1 << 60], "does not close"),
    "a weight of lines below 0": ([*BY_LINES[:-2], -1, 1], "does not close"),
    "a step of lines that is malformed": ([*BY_LINES[:-3], 61, 1, 1], "step is malformed"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_tree_is_refused(name: str, ramp: verifier.Model) -> None:
    numbers, why = FORGED[name]
    assert why in reason(ramp, numbers)


def test_another_model_or_property_is_refused(
    ramp: verifier.Model, truth: Any, save_net: Callable[..., verifier.Model]
) -> None:
    assert reason(ramp, BY_BOXES, sha256="0" * 64) == "the certificate is for another model"
    assert "for another property" in reason(ramp, BY_BOXES, property=(RAMP + OVER).encode())
    assert reason(ramp, BY_BOXES, property=(RAMP + NEVER).encode()) == ""
    assert "which has no radius" in reason(ramp, BY_BOXES, radius=0.1)
    model = save_net(truth.net(3, (3, 5, 4, 3)))
    content = verifier.certificate(model, np.full(3, 0.5), 1e-3).content
    judged = checker.judged(content, model.path.read_bytes(), checker.Demands(property=b""))
    assert judged.reason == "the certificate is about an input, not about a property"


def test_each_case_has_its_tree(ramp: verifier.Model) -> None:
    both = "(assert (or (>= Y_0 0.6) (and (<= X_0 0.25) (>= Y_0 0.5))))"
    assert reason(ramp, [*BY_BOXES, BOXES, ANEW, 1, 0, ROW, 0], both) == ""
    assert reason(ramp, [*BY_BOXES, BOUNDS, 1, 0, 0, LEAF, 0, 1, 0], both) == ""
    assert "cut off" in reason(ramp, BY_BOXES, both)
    # A case of the same box begins with what is known of it.
    same = "(assert (or (>= Y_0 0.6) (>= Y_0 0.7)))"
    assert reason(ramp, [*BY_BOXES, BOXES, *BY_BOXES[len(WHOLE) :]], same) == ""
    assert reason(ramp, [*BY_RELUS, *BY_RELUS[len(ROOT) :]], same) == ""
    # Boxes and ReLUs have bounds of their own.
    assert reason(ramp, [*BY_BOXES, *BY_RELUS], same) == ""
    assert reason(ramp, [*BY_RELUS, *BY_BOXES], same) == ""
    assert "before any bounds" in reason(ramp, [*BY_BOXES, LEAF, 0, 1], same)
    # A case whose box is empty needs none, and one that nothing satisfies no row of the network.
    assert reason(ramp, BY_BOXES, "(assert (or (>= Y_0 0.6) (>= X_0 2)))") == ""
    assert reason(ramp, [*BY_BOXES, BOXES, ROW, 0], "(assert (or (>= Y_0 0.6) (>= 0 1)))") == ""
    assert "does not close" in reason(ramp, [*BY_BOXES, BOXES, ROW, 0], "(assert (or (>= Y_0 0.6) (>= 1 0)))")


def test_bounds_of_a_half_are_not_those_of_the_next_case(ramp: verifier.Model) -> None:
    """In the lower half y = x; elsewhere y falls to 0."""
    both = "(assert (or (>= Y_0 0.6) (<= Y_0 0.05)))"
    assert "does not close" in reason(ramp, [*BY_BOXES, BOXES, ROW, 0], both)
    assert "sign of neuron 1 does not follow" in reason(ramp, [*BY_BOXES, BOXES, ANEW, 0, ROW, 0], both)


def test_bounds_behind_a_split_are_not_those_of_the_next_case(ramp: verifier.Model) -> None:
    """Bounds anew twice on the side where the open ReLU is off, where y = x; elsewhere y falls to 0."""
    split = [*ROOT, FIRST_RELU + 1, BOUNDS, 0, BOUNDS, 0, LEAF, 0, 1, 0, LEAF, 0, 1, 0, 1]
    assert reason(ramp, split, "(assert (>= Y_0 2))") == ""
    both = "(assert (or (>= Y_0 2) (<= Y_0 0.05)))"
    assert "does not close" in reason(ramp, [*split, LEAF, 0, 1, 0, 0], both)


def test_a_deep_tree_or_a_long_one_is_refused(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of no width, one in the other; leaves of a small network, and of many rows."""
    monkeypatch.setattr(checker, "GROUP", 1)
    monkeypatch.setattr(checker, "MOST_SIGNS", checker.BARE_NODE * 100)
    assert "too deep" in reason(ramp, [*WHOLE, *[HALVES, 0, 0] * 101, *[ROW, 0] * 102])
    monkeypatch.setattr(checker, "MOST_WORK", checker.STEP_WORK * 16)
    assert "too many evaluations" in reason(ramp, [*WHOLE, *[HALVES, 0, 0] * 16, *[ROW, 0] * 17])
    monkeypatch.undo()
    monkeypatch.setattr(checker, "STEP_WORK", checker.STEP_WORK // 64)
    monkeypatch.setattr(checker, "MOST_WORK", 32 * checker.STEP_WORK)
    assert reason(ramp, BY_BOXES) == ""
    assert "too many evaluations" in reason(ramp, BY_BOXES, NEVER * 700)


def test_boxes_of_larger_networks_are_refused(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MOST_WIDE", "MOST_LAYERS"):
        with monkeypatch.context() as patch:
            patch.setattr(checker, limit, 0)
            assert "smaller networks only" in reason(ramp, BY_BOXES)
            text = (RAMP + NEVER).encode()
            made = property_certified(ramp, text, Budget())
            assert checker.judged(made.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid


def test_maps_past_many_layers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """s = x, six times s = s + relu(s): each layer, and the row, sees all those before."""
    import onnx  # noqa: PLC0415
    from onnx import helper  # noqa: PLC0415

    nodes, last = [], "x"
    for place in range(6):
        name = "y" if place == 5 else f"s{place}"
        nodes += [helper.make_node("Relu", [last], [f"r{place}"]), helper.make_node("Add", [last, f"r{place}"], [name])]
        last = name
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "residual", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    read = checker.read_network(made.SerializeToString())
    case = checker.PropertyCase(np.zeros(2), np.ones(2), [{("Y", 0): Fraction(1)}])
    proof = case_proof(read, case, 24)
    found = proof.in_boxes()
    rows = found.goal_rows(proof)
    entries = sum(block.fine.size for layer in (*found.layers, rows) for block in layer.blocks.values())
    for most in (2 * 12, entries - 3):
        monkeypatch.setattr(checker, "MOST_DENSE", most)
        with pytest.raises(checker.InvalidError, match="smaller networks only"):
            case_proof(read, case, 24).in_boxes().goal_rows(proof)
    monkeypatch.setattr(checker, "MOST_DENSE", entries)
    proof.in_boxes().goal_rows(proof)


def test_random_numbers_prove_no_property_that_is_false(ramp: verifier.Model) -> None:
    """100 changes of valid trees under the text of a false property, 100 of random words."""
    rng = np.random.default_rng(0)
    words = [0, 1, 2, 3, 4, -1, AT, STEPS // 2, STEPS]
    for _ in range(100):
        numbers = [*(BY_BOXES, BY_RELUS, TWICE)[rng.integers(3)]]
        for place in rng.integers(0, len(numbers), 2):
            numbers[place] = int(rng.choice(words))
        assert reason(ramp, numbers, OVER)
        for start in (ROOT, WHOLE):
            assert reason(ramp, [*start, *rng.choice(words, 12).tolist()], OVER)


def exact_values(net: checker.CheckedNetwork, name: str, point: list[Fraction]) -> list[Fraction]:
    """A tensor's entries at a point, exactly."""
    den = math.lcm(*(value.denominator for value in point))
    part = copy.copy(net)
    part.output = name
    values, under = part.forward(np.array([int(value * den) for value in point], dtype=object), den)
    return [Fraction(int(value), under) for value in values]


AWKWARD = [1.0, 2.0**-40, 2.0**8]
"""Factors of weights: digits that a matrix's larger entries push out."""


def skipping(weights: Sequence[npt.NDArray[np.float64]], rng: np.random.Generator) -> bytes:
    """g = relu(A x + a), h = relu((B g + b) / 3 + C x), y = D h + E g: an ONNX file's bytes."""
    import onnx  # noqa: PLC0415
    from onnx import helper, numpy_helper  # noqa: PLC0415

    a, b, c, d, e = weights
    constants = {"A": a.T, "B": b.T, "C": c.T, "D": d.T, "E": e.T, "three": np.array(3.0)}
    constants |= {"a": rng.normal(size=len(a)), "b": rng.normal(size=len(b))}
    nodes = [
        *(helper.make_node("MatMul", [x, w], [f"{x}{w}"]) for x, w in (("x", "A"), ("x", "C"))),
        helper.make_node("Add", ["xA", "a"], ["s"]),
        helper.make_node("Relu", ["s"], ["g"]),
        *(helper.make_node("MatMul", ["g", w], [f"g{w}"]) for w in "BE"),
        helper.make_node("Add", ["gB", "b"], ["t"]),
        helper.make_node("Div", ["t", "three"], ["u"]),
        helper.make_node("Add", ["u", "xC"], ["v"]),
        helper.make_node("Relu", ["v"], ["h"]),
        helper.make_node("MatMul", ["h", "D"], ["hD"]),
        helper.make_node("Add", ["hD", "gE"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
        for name, size in (("x", a.shape[1]), ("y", len(d)))
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "skipping", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("factor", AWKWARD)
def test_bounds_in_boxes_hold_exactly(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 40 points of 20 boxes, by rational numbers; digits are few, so that what is rounded off is much."""
    rng = np.random.default_rng(3)
    for bits in (4, 9, 23):
        weights = [rng.normal(size=shape) for shape in ((7, 3), (5, 7), (5, 3), (2, 5), (2, 7))]
        for matrix in weights:
            matrix[rng.random(matrix.shape) < 0.3] *= factor
        read = checker.read_network(skipping(weights, rng))
        rows = [{("Y", 0): Fraction(1), ("Y", 1): Fraction(-1, 3), ("X", 2): Fraction(1, 7), ("", 0): Fraction(1, 3)}]
        case = checker.PropertyCase(np.array([-1.0, 0.1, 2.0]), np.array([1.0, 0.1, 2.5]), rows)
        proof = case_proof(read, case, 24)
        with monkeypatch.context() as patch:
            patch.setattr(checker, "MOST_FORM", bits)
            boxes = proof.in_boxes()
            assert boxes.bits == bits
        goal = boxes.goal_rows(proof)
        root = boxes.root
        every = np.full(root.state.size, 2, dtype=np.int8)
        nodes = boxes.bounded(proof, [(root, every)])
        for _ in range(20):
            node = nodes[rng.integers(len(nodes))]
            entry = int(rng.integers(3))
            middle = int(rng.integers(node.lo[entry], node.hi[entry] + 1))
            halves = boxes._halves(node, entry, middle)
            nodes += boxes.bounded(proof, [(half, np.where(half.state == 2, 2, half.state)) for half in halves])
        for node in nodes:
            forms, constants = boxes._rows(goal, np.array([0]), np.array([0]))
            lines = [
                boxes._lines(place, *(end[np.newaxis, part] for end in (node.state, node.low, node.high)))
                for place, part in enumerate(boxes._parts())
            ]
            least = boxes._back(2, forms, constants, lines, boxes._ends([node]), np.array([0]))[0]
            for share in rng.integers(0, 9, size=(2, 3)):
                steps = [
                    lo + (hi - lo) * int(k) // 8
                    for lo, hi, k in zip(node.lo.tolist(), node.hi.tolist(), share, strict=True)
                ]
                point = [
                    Fraction(lo, boxes.unit) + Fraction(width * step, boxes.unit << boxes.grid)
                    for lo, width, step in zip(boxes.lo.tolist(), boxes.width.tolist(), steps, strict=True)
                ]
                outputs = exact_values(read, read.scores, point)
                turned = -(outputs[0] - outputs[1] / 3 + point[2] / 7 + Fraction(1, 3))
                assert turned >= Fraction(int(least), 1 << 24 + checker.SPARE_BITS)
                for name, part in zip(read.arguments, boxes._parts(), strict=True):
                    for value, low, high in zip(
                        exact_values(read, name, point), node.low[part], node.high[part], strict=True
                    ):
                        assert Fraction(int(low), 1 << 24) <= value <= Fraction(int(high), 1 << 24)


def test_products_and_lines_are_rounded_outwards(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 rows with matrices of thirds and of dyadic numbers, and of 200 intervals, by rational numbers."""
    rng, bits = np.random.default_rng(4), 6
    for den in (3, 1 << 20):
        values = rng.integers(-(1 << 22), 1 << 22, (9, 4)).astype(object)
        floored = checker.Floored.of(values, den, bits)
        assert floored.rest == 1.0
        for sign in (0, 1):
            below = floored.signed[sign] <= (values * (1 - 2 * sign) * Fraction(2) ** floored.power / den)
            assert below.all()
        rows = rng.integers(-(1 << bits), (1 << bits) + 1, (200, 9))
        rows[:100] = -(1 << bits) * (rows[:100] < 0)
        told = floored.product(rows.astype(np.float64))
        exactly = rows.astype(object) @ values * Fraction(2) ** floored.power / den
        assert np.all(told <= exactly)
        assert np.all(told >= exactly - 2 - 9)
    assert checker.Floored.of(np.array([[3, -5]], dtype=object), 4, bits).rest == 0.0
    monkeypatch.setattr(checker, "MOST_FORM", bits)
    case = checker.PropertyCase(np.zeros(1), np.ones(1), [{("Y", 0): Fraction(1)}])
    boxes = case_proof(checker.read_network(ramp.path.read_bytes()), case, 24).in_boxes()
    low, high = -rng.integers(0, 1 << 40, (200, 5)), rng.integers(0, 1 << 40, (200, 5))
    low[:20, 0], high[:20, 1] = 0, 0
    state = rng.integers(0, 3, low.shape)
    lines = boxes._lines(0, state, np.where(state == 2, low, 0), np.where(state == 2, high, 0))
    for i, j in np.ndindex(low.shape):
        bottom, top = int(low[i, j]), int(high[i, j])
        steep, alpha = Fraction(lines.steep[i, j]) / (1 << checker.SLOPE_BITS), lines.alpha[i, j]
        depth = int(lines.depth[i, j]) << int(lines.spare[i])
        if state[i, j] == 2:
            assert alpha in (0, 1)
            assert bottom == top == 0 or steep >= Fraction(top, top - bottom)
            assert depth >= -bottom
        else:
            assert (alpha, steep, depth) == (state[i, j], state[i, j], 0)
    assert int(lines.depth.max()) <= 1 << bits


def test_a_header_that_is_not_so_is_refused(ramp: verifier.Model) -> None:
    text, model = (RAMP + NEVER).encode(), ramp.path.read_bytes()
    data = checker.unpacked(property_encoded(ramp.network.sha256, text, [np.array(BY_BOXES)]))
    size = int.from_bytes(data[:4], "little")
    header, rest = json.loads(data[4 : 4 + size]), data[4 + size :]
    for changed, why in (
        ({"more": 1}, "other fields"),
        ({"step": 61}, "out of range"),
        ({"step": -1}, "out of range"),
        ({"fine": 30}, "other fields"),
        ({"property": len(rest) + 1}, "cut off"),
        ({"property": len(text) - 1}, ""),
        ({"property": checker.MOST_TEXT + 1}, "out of range"),
        ({"schema": checker.SCHEMA}, "other fields"),
        ({"schema": 9}, "another schema"),
        ({"schema": "12"}, "out of range"),
    ):
        told = json.dumps({**header, **changed}).encode()
        content = checker.MAGIC + zlib.compress(len(told).to_bytes(4, "little") + told + rest)
        judged = checker.judged(content, model)
        assert not judged.valid
        assert why in judged.reason


ROWS = {
    "one row": [([[1.0, -1.0, 0.0]], [-40.0])],
    "two rows": [([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], [-20.0, -30.0])],
    "two cases": [([[1.0, 0.0, 0.0]], [-60.0]), ([[0.0, -1.0, 0.0]], [-60.0])],
}


@pytest.mark.parametrize("boxes", [True, False], ids=["boxes", "relus"])
@pytest.mark.parametrize("name", ROWS)
def test_what_holds_of_a_random_net_is_certified(
    name: str, boxes: bool, truth: Any, save_net: Callable[..., verifier.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(property_builder, "few_inputs", lambda _: boxes)
    for seed in range(2):
        model = save_net(truth.net(seed, (2, 5, 4, 3)))
        # As near to the outputs' range as a grid says, and a little more.
        grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 41)] * 2), axis=-1).reshape(-1, 2)
        values = model.values(grid)
        goals = []
        for matrix, _ in ROWS[name]:
            least = (values @ np.array(matrix).T).min(axis=1).max()
            goals.append(verifier.Halfspaces(np.array(matrix), np.full(len(matrix), -least - 0.1)))
        if not isinstance(verifier.check(model, region=(0.0, 1.0), property=goals).verdict, Holds):
            continue
        found = verifier.property_certificate(model, region=(0.0, 1.0), property=goals)
        judged = checker.judged(found.content, model.path.read_bytes(), checker.Demands(property=found.result.text))
        assert judged.valid
        assert found.result.cases == len(goals)
        assert found.leaves >= len(goals)


def test_rows_over_inputs_and_outputs(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """y ≤ x, and y ≤ 1 − x."""
    for boxes in (True, False):
        monkeypatch.setattr(property_builder, "few_inputs", lambda _, boxes=boxes: boxes)
        for row in ("(>= Y_0 (+ X_0 0.05))", "(>= (+ Y_0 (* 2 X_0)) (+ 1.05 (/ X_0 1)))"):
            text = f"{RAMP}(assert {row})".encode()
            made = property_certified(ramp, text, Budget())
            assert checker.judged(made.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid
    with pytest.raises(NotCertifiedError):
        property_certified(ramp, f"{RAMP}(assert (>= Y_0 X_0))".encode(), Budget(5))


@pytest.mark.parametrize("boxes", [True, False], ids=["boxes", "relus"])
def test_cases_of_one_box_share_its_ends_and_no_others(
    boxes: bool, ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the arguments x and x − 1/2, whose ranges are those of the case's box."""
    asked: list[Ball] = []
    made: list[TreeRoot] = []

    def bounds(graph: Graph, ball: Ball, budget: Budget) -> NodeBounds:
        asked.append(ball)
        return root_bounds(graph, ball, budget)

    def root(*parts: Any) -> TreeRoot:
        made.append(TreeRoot(*parts))
        return made[-1]

    monkeypatch.setattr(property_builder, "few_inputs", lambda _: boxes)
    monkeypatch.setattr(property_builder, "root_bounds", bounds)
    monkeypatch.setattr(property_builder, "TreeRoot", root)
    whole, low, high = "(>= Y_0 0.6)", "(and (<= X_0 0.75) (>= Y_0 0.7))", "(and (>= X_0 0.25) (>= Y_0 0.7))"
    mixed = "(>= Y_0 (+ X_0 0.05))"
    cases = [whole, whole, low, low, high, whole, mixed, mixed, high]
    text = f"{RAMP}(assert (or {' '.join(cases)}))".encode()
    found = property_certified(ramp, text, Budget())
    assert checker.judged(found.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid
    ends = {whole: (0.1, 1.0), low: (0.1, 0.75), high: (0.25, 1.0), mixed: (0.1, 1.0)}
    assert len(made) == len(cases)
    for case, one in zip(cases, made, strict=True):
        least, most = ends[case]
        np.testing.assert_allclose(one.lower, [least, least - 0.5], atol=1e-6)
        np.testing.assert_allclose(one.upper, [most, most - 0.5], atol=1e-6)
        assert not one.lower.flags.writeable
        assert not one.upper.flags.writeable
    # Once for each run of cases of one box and one graph.
    assert len(asked) == 6


def test_what_is_not_covered_is_refused_by_name(ramp: verifier.Model, tmp_path: Path) -> None:
    for text, why in (
        (RAMP, "asks nothing of outputs"),
        (RAMP + "(assert (not (>= Y_0 0.4)))", "a formula that is not read here: not"),
        ("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= Y_0 3))", "without an end"),
        (RAMP.replace("X_0 Real", "X_0 Real)(declare-const X_1 Real"), "another number of inputs"),
    ):
        with pytest.raises(NotCertifiedError, match=why.replace("(", r"\(")):
            property_certified(ramp, text.encode(), Budget())
    file = tmp_path / "two.vnnlib"
    second = "(declare-input X real [1]) (declare-input Z real [1]) (declare-output Y real [1])"
    file.write_text(f"(vnnlib-version <2.0>)(declare-network f {second})(assert (<= Y[0] Z[0]))")
    with pytest.raises(NotCertifiedError, match="declares 2 inputs, and its file has 1"):
        verifier.property_certificate(ramp, property=file)
    with pytest.raises(OutOfTimeError):
        property_certified(ramp, (RAMP + NEVER).encode(), Budget(0))


def test_a_softmax_keeps_the_order_of_two_outputs_only(tmp_path: Path) -> None:
    import onnx  # noqa: PLC0415

    from tests.verifier.certificates.nets import with_end  # noqa: PLC0415

    path = tmp_path / "soft.onnx"
    onnx.save(with_end("Softmax", 3), path)
    model = verifier.load(path)
    values = model.values(np.full((1, 4), 0.5))[0]
    above, below = int(values.argmax()), int(values.argmin())
    names = "".join(f"(declare-const {kind} Real)" for kind in ("X_0", "X_1", "X_2", "X_3", "Y_0", "Y_1", "Y_2"))
    box = "".join(f"(assert (>= X_{i} 0.49))(assert (<= X_{i} 0.51))" for i in range(4))
    text = f"{names}{box}(assert (>= Y_{below} Y_{above}))".encode()
    made = property_certified(model, text, Budget())
    assert "before a final Softmax" in made.result.scores
    with pytest.raises(NotCertifiedError, match="before a final Softmax"):
        property_certified(model, f"{names}{box}(assert (>= Y_{below} 0.9))".encode(), Budget())


def test_certified_is_said_of_evidence_only_by_the_terminal(ramp: verifier.Model) -> None:
    goal = verifier.Halfspaces(np.array([[1.0]]), np.array([-0.6]))
    assert verifier.check(ramp, region=(0.0, 1.0), property=goal).evidence is not Evidence.CERTIFIED
    assert verifier.property_certificate(ramp, region=(0.0, 1.0), property=goal).result.outputs == 1


def test_a_layer_without_open_or_active_neurons(truth: Any, save_net: Callable[..., verifier.Model]) -> None:
    """All of the first layer is off, so the second one is constant."""
    net = truth.of_layers(([[1.0]], [-2.0]), ([[1.0], [1.0]], [0.5, -0.5]), ([[1.0, 1.0]], [0.0]))
    model = save_net(net)
    for row, good in (("(>= Y_0 0.6)", True), ("(>= Y_0 0.5)", False)):
        for numbers in ([BOUNDS, 0, 0, 1, 0, 0, LEAF, 0, 1, 0], [BOXES, ANEW, 0, 1, 0, ROW, 0]):
            assert (reason(model, numbers, f"(assert {row})") == "") is good


def test_ends_within_rounding_of_zero_settle_no_sign(
    truth: Any, save_net: Callable[..., verifier.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first neuron is 2⁻²¹ at least, but −2⁻²¹ where its weight loses its last bit beside one of 512."""
    first, second = [1.0 + 2.0**-20], [-512.0]
    net = truth.of_layers(([[1.0]], [0.0]), ([first, second], [-1.0 - 2.0**-21, -5.0]), ([[1.0, 1.0]], [0.0]))
    model = save_net(net)
    monkeypatch.setattr(property_builder, "few_inputs", lambda _: False)
    text = b"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 1) (<= X_0 2) (>= Y_0 1.1)))"
    made = property_certified(model, text, Budget())
    assert checker.judged(made.content, model.path.read_bytes(), checker.Demands(property=text)).valid


def test_signs_that_do_not_follow_are_claimed_no_more(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Floats that see every argument far above 0; and leaves that they close too early."""
    mended = []

    class Bold(BoxTree):
        def grow(self, budget: Budget) -> None:
            super().grow(budget)
            if not mended:
                assert self.root is not None
                self.root.sure[:] = 1.0

        def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
            mended.append((len(leaves), [*signs]))
            super().mend(leaves, signs)

    monkeypatch.setattr(property_builder, "few_inputs", lambda _: True)
    monkeypatch.setattr(property_builder, "BoxTree", Bold)
    text = (RAMP + NEVER).encode()
    made = property_certified(ramp, text, Budget())
    assert (0, 1) in mended[0][1]
    assert checker.judged(made.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid
    mended.clear()
    monkeypatch.setattr(box_tree, "MARGIN", -0.05)
    made = property_certified(ramp, text, Budget())
    assert mended
    assert mended[0][0]
    assert checker.judged(made.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid
