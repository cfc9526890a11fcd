"""Certificates of nets with Sigmoids and Tanhs: σ and its lines against decimals, boxes against points, forgeries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import verifier
from tests.encoders.conftest import build_model
from tests.verifier.certificates.parts import case_proof, taken_apart
from tests.verifier.certificates.readers import sigma, tensors_at
from verifier.certificates import checker
from verifier.certificates.checker import ANEW, BOUNDS, BOXES, CLAUSES, FAR, FIRST_RELU, HALVES, LEAF, ROW
from verifier.certificates.format import property_encoded
from verifier.certificates.property_builder import property_certified
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError

node = onnx.helper.make_node
STEP = 24
"""Of the checker's arguments here: they and its own units are the same."""
TIGHT = 4
"""Units of 2⁻³¹ between the checker's bounds of σ."""


def at(unit: int) -> Fraction:
    return Fraction(unit, 1 << checker.CURVE_BITS)


def arguments(count: int) -> npt.NDArray[np.int64]:
    """Of all sizes, whole numbers and ends among them."""
    rng = np.random.default_rng(count)
    sizes = np.rint(2.0 ** rng.uniform(0, 30, count)).astype(np.int64)
    whole = np.arange(-25, 26) << checker.CURVE_BITS
    return np.concatenate([sizes, -sizes, whole, whole + 1, whole - 1, [FAR, -FAR, 0]])


def test_sigma_is_between_its_bounds() -> None:
    values = arguments(400)
    low, high = checker.sigmas(values)
    assert int((high - low).max()) <= TIGHT + 4
    assert int(low.min()) >= 0
    assert int(high.max()) <= 1 << checker.SIGMA_BITS
    for value, least, most in zip(values.tolist(), low.tolist(), high.tolist(), strict=True):
        assert least <= sigma(at(value)) * (1 << checker.SIGMA_BITS) <= most


def intervals() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of all widths, none among them, on either side of 0 and around it."""
    rng = np.random.default_rng(1)
    low = np.concatenate([rng.permutation(arguments(90)), np.rint(rng.normal(size=200) * 2**26).astype(np.int64)])
    width = np.rint(2.0 ** rng.uniform(-2, 31, low.size)).astype(np.int64)
    return low, np.minimum(low + width, FAR)


def test_sigma_is_below_its_line() -> None:
    """At ends, in between, at 0, and where σ is as steep as the line."""
    low, high = intervals()
    slope, height = checker.over_sigmoid(low, high, np.zeros(low.shape, dtype=bool))
    gaps = []
    for start, end, k, v in zip(low.tolist(), high.tolist(), slope.tolist(), height.tolist(), strict=True):
        room = math.sqrt(max(0.0, 0.25 - k / (1 << checker.CURVE_BITS)))
        parallel = math.log((0.5 + room) / (0.5 - room)) if room < 0.5 else 64.0
        points = {
            start,
            end,
            0,
            *(round(sign * parallel * (1 << checker.CURVE_BITS)) + d for sign in (-1, 1) for d in (-1, 0, 1)),
        }
        points |= {start + (end - start) * part // 16 for part in range(17)}
        above = []
        for point in (value for value in points if start <= value <= end):
            line = Fraction(k) * at(point - start) / (1 << checker.CURVE_BITS) + Fraction(v, 1 << checker.SIGMA_BITS)
            above.append(line - sigma(at(point)))
        assert min(above) >= 0
        gaps.append(float(min(above)))
    # It touches σ, about.
    assert max(gaps) < 1e-5


def test_any_slope_and_point_give_a_line_above_sigma() -> None:
    low, high = intervals()
    rng = np.random.default_rng(2)
    k = rng.integers(0, 1 << checker.CURVE_BITS - 2, low.size, endpoint=True)
    first = np.clip(0, low, high)
    p = first + ((high - first) * rng.random(low.size)).astype(np.int64)
    for place, v in enumerate(checker.height_over_sigmoid(low, high, k, p).tolist()):
        start, end, slope = int(low[place]), int(high[place]), int(k[place])
        for point in {min(max(start, 0), end), *(start + (end - start) * part // 12 for part in range(13))}:
            line = Fraction(slope) * at(point - start) / (1 << checker.CURVE_BITS) + Fraction(
                v, 1 << checker.SIGMA_BITS
            )
            assert line >= sigma(at(point))


def test_lines_of_ends_far_away_are_constants() -> None:
    ends = np.array([[-FAR, -FAR], [-FAR, 0], [0, FAR], [FAR, FAR], [-FAR, FAR]])
    slope, height = checker.over_sigmoid(ends[:, 0], ends[:, 1], np.ones(5, dtype=bool))
    assert not slope.any()
    one = 1 << checker.SIGMA_BITS
    assert np.all(np.abs(height - np.array([0, one // 2, one, one, one])) <= 2 * TIGHT)
    assert np.all(height[2:] == one)


def weights(seed: int, sizes: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    shapes = [shape for size in pairwise(sizes) for shape in (size, size[1:])]
    return [(rng.normal(size=shape) * 1.5).astype(np.float32) for shape in shapes]


def network(seed: int, op: str, sizes: tuple[int, ...] = (2, 6, 5, 4, 2)) -> onnx.ModelProto:
    """Dense, Relu, dense, Sigmoid or Tanh, dense, the same once more, dense."""
    constants = weights(seed, sizes)
    names = {f"w{place}": value for place, value in enumerate(constants)}
    nodes = []
    for layer, kind in enumerate(("Relu", op, op, "")):
        before = "x" if layer == 0 else f"h{layer - 1}"
        nodes.append(node("Gemm", [before, f"w{2 * layer}", f"w{2 * layer + 1}"], [f"t{layer}" if kind else "y"]))
        if kind:
            nodes.append(node(kind, [f"t{layer}"], [f"h{layer}"]))
    return build_model(nodes, [1, sizes[0]], names)


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh"])
@pytest.mark.parametrize("bits", [5, 9, 25])
def test_bounds_in_boxes_hold_at_points_of_them(op: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 30 points of 12 boxes; digits are few, so that what is rounded off is much. One input does not move, and one
    hardly."""
    rng = np.random.default_rng(bits)
    read = checker.read_network(network(bits, op, (4, 6, 5, 4, 2)).SerializeToString())
    rows = [{("Y", 0): Fraction(1), ("Y", 1): Fraction(-1, 3), ("X", 2): Fraction(1, 7), ("", 0): Fraction(1, 3)}]
    ends = np.array([-1.0, 0.1, 0.5, 0.1]), np.array([1.0, 0.1, 3.0, 0.4])
    case = checker.PropertyCase(*ends, rows)
    proof = case_proof(read, case, STEP)
    with monkeypatch.context() as patch:
        patch.setattr(checker, "MOST_FORM", bits)
        patch.setattr(checker, "STILL_BITS", 2)
        boxes = proof.in_boxes()
    assert boxes.moving.tolist() == [True, False, True, False]
    goal = boxes.goal_rows(proof)
    every = np.full(boxes.root.state.size, 2, dtype=np.int8)
    nodes = boxes.bounded(proof, [(boxes.root, every)])
    while len(nodes) < 12:
        box = nodes[rng.integers(len(nodes))]
        entry = int(rng.choice([0, 2]))
        halves = boxes._halves(box, entry, int(rng.integers(box.lo[entry], box.hi[entry] + 1)))
        nodes += boxes.bounded(proof, [(half, half.state) for half in halves])
    for box in nodes:
        forms, constants = boxes._rows(goal, np.array([0]), np.array([0]))
        lines = [
            boxes._lines(place, *(end[np.newaxis, part] for end in (box.state, box.low, box.high)))
            for place, part in enumerate(boxes._parts())
        ]
        least = boxes._back(3, forms, constants, lines, boxes._ends([box]), np.array([0]))[0]
        for share in (*rng.integers(0, 9, size=(2, 4)), np.zeros(4, int), np.full(4, 8)):
            point = []
            for i, (low, high, part) in enumerate(zip(box.lo.tolist(), box.hi.tolist(), share.tolist(), strict=True)):
                step = Fraction(low) + Fraction(high - low) * part / 8
                point.append((int(boxes.lo[i]) + int(boxes.width[i]) * step / (1 << boxes.grid)) / boxes.unit)
            found = tensors_at(read, point)
            outputs = found[read.scores]
            turned = -(outputs[0] - outputs[1] / 3 + point[2] / 7 + Fraction(1, 3))
            assert turned >= Fraction(int(least), 1 << STEP + checker.SPARE_BITS)
            for name, part in zip(read.arguments, boxes._parts(), strict=True):
                told = zip(found[name], box.state[part], box.low[part], box.high[part], strict=True)
                for value, state, bottom, top in told:
                    if state == 2:
                        assert Fraction(int(bottom), 1 << STEP) <= value <= Fraction(int(top), 1 << STEP)


BOX = "".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(2))
BOX += "(declare-const Y_0 Real)(declare-const Y_1 Real)"


def asking(*least: float, more: str = "") -> bytes:
    """Y_0 − Y_1 / 2 is so large, case by case."""
    rows = "".join(f"(>= (- Y_0 (/ Y_1 2){more}) {value!r})" for value in least)
    return f"{BOX}(assert (or {rows}))".encode()


def largest(model: verifier.Model) -> float:
    axis = np.linspace(-1.0, 1.0, 61)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return float((model.values(points) @ np.array([1.0, -0.5])).max())


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh"])
def test_what_holds_is_certified_and_nothing_else(op: str) -> None:
    """Beyond the largest output of a grid by a little, in two cases of one box; what that output reaches is not."""
    model = verifier.load(network(1, op))
    most, content = largest(model), model.path.read_bytes()
    text = asking(most + 0.2, most + 0.3)
    found = property_certified(model, text, Budget())
    assert checker.judged(found.content, content, checker.Demands(property=text)).valid
    assert found.result.cases == 2
    assert found.leaves > 2
    claim = checker.parse(found.content)
    assert isinstance(claim, checker.PropertyCertificate)
    numbers = [claim.numbers.take(claim.numbers.left)]
    assert property_encoded(claim.model, text, numbers) == found.content
    for reached in (asking(most - 1e-5, most + 0.3), asking(most + 0.2, most - 1e-5)):
        forged = property_encoded(claim.model, reached, numbers)
        assert checker.judged(forged, content).reason.endswith("does not close")


def test_rows_over_inputs_and_outputs() -> None:
    model = verifier.load(network(0, "Tanh"))
    text = asking(largest(model) + 2.55, more=" X_0 (* -1.5 X_1)")
    made = property_certified(model, text, Budget())
    assert checker.judged(made.content, model.path.read_bytes(), checker.Demands(property=text)).valid


CURVE = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 -1))(assert (<= X_0 2))"
NEVER, OVER = "(assert (>= Y_0 0.92))", "(assert (>= Y_0 0.88))"
"""σ(2) is 0.8808 at most: the lines of the whole interval reach 0.98, those of [0.5, 2] 0.91."""
WHOLE = [BOXES, ANEW, 2]
MIDDLE = 1 << 25
STEPS = 1 << 26
VALID = [*WHOLE, HALVES, 0, MIDDLE, ANEW, 2, ANEW, 2, ROW, 0, ROW, 0]


@pytest.fixture(scope="module")
def curve() -> verifier.Model:
    """y = σ(x), and a linear operator behind it: one at the very end is left out."""
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "one"], ["y"])]
    return verifier.load(build_model(nodes, [1, 1], {"one": np.float32([[1.0]])}))


def reason(model: verifier.Model, numbers: Sequence[int], row: str = NEVER, float32: bool = False) -> str:
    """Why the checker refuses a certificate of these numbers; "" where it is valid."""
    content = property_encoded(model.network.sha256, (CURVE + row).encode(), [np.array(numbers)], float32)
    return checker.judged(content, model.path.read_bytes()).reason


FORGED = {
    "the root alone": ([*WHOLE, ROW, 0], "does not close"),
    "the root's lines in its halves": ([*WHOLE, HALVES, 0, MIDDLE, ROW, 0, ROW, 0], "does not close"),
    "a leaf is missing": (VALID[:-2], "cut off"),
    "one side alone": ([*WHOLE, HALVES, 0, STEPS, ANEW, 2, ANEW, 2, ROW, 0, ROW, 0], "does not close"),
    "no bounds": ([BOXES, ROW, 0], "before any bounds"),
    "a Sigmoid is claimed to be off": ([BOXES, ANEW, 0, ROW, 0], "a sign of a Sigmoid"),
    "a Sigmoid is claimed to be active": ([BOXES, ANEW, 1, ROW, 0], "a sign of a Sigmoid"),
    "no such state": ([BOXES, ANEW, 3, ROW, 0], "state is malformed"),
    "a leaf with multipliers": ([LEAF, 0, 1, 0], checker.CURVED),
    "bounds of ReLUs": ([BOUNDS, 2, LEAF, 0, 1, 0], checker.CURVED),
    "clauses": ([CLAUSES, 24, 0, 1, 0, 0], checker.CURVED),
    "a split of a ReLU": ([FIRST_RELU, LEAF, 0, 1, 0], checker.CURVED),
}


def test_forged_trees_are_refused(curve: verifier.Model) -> None:
    assert reason(curve, VALID) == ""
    assert reason(curve, VALID, OVER).endswith("does not close")
    for name, (numbers, why) in FORGED.items():
        assert why in reason(curve, numbers), name
    assert checker.CURVED in reason(curve, VALID, float32=True)


def test_random_numbers_prove_nothing_that_is_false(curve: verifier.Model) -> None:
    rng = np.random.default_rng(0)
    words = [0, 1, 2, 3, -1, MIDDLE, STEPS // 3, STEPS]
    for _ in range(60):
        numbers = [*VALID]
        for place in rng.integers(0, len(numbers), 2):
            numbers[place] = int(rng.choice(words))
        assert reason(curve, numbers, OVER)
        assert reason(curve, [*WHOLE, *rng.choice(words, 12).tolist()], OVER)


def test_sigmoids_are_counted_as_work(curve: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "MOST_WORK", 20 * checker.STEP_WORK)
    assert reason(curve, VALID) == ""
    monkeypatch.setattr(checker, "CURVE_WORK", 8 * checker.STEP_WORK)
    assert "too many evaluations" in reason(curve, VALID)


def test_as_near_to_the_truth_as_many_boxes_say(curve: verifier.Model) -> None:
    """σ(2) = 0.88079707797788…"""
    made = property_certified(curve, f"{CURVE}(assert (>= Y_0 0.881))".encode(), Budget())
    assert checker.judged(made.content, curve.path.read_bytes()).valid
    with pytest.raises((NotCertifiedError, OutOfTimeError)):
        property_certified(curve, f"{CURVE}(assert (>= Y_0 0.8807))".encode(), Budget(1))


def test_arguments_far_away(curve: verifier.Model) -> None:
    for low, high, row, good in (
        (-1e6, 1e6, "(>= Y_0 1.0001)", True),
        (-1e6, 1e6, "(<= Y_0 -0.0001)", True),
        (-70, 70, "(>= Y_0 1.0001)", True),
        (-1e4, 1, "(>= (- Y_0 (* 0.01 X_0)) 50)", False),
        (-1, 1e4, "(<= (- Y_0 (* 0.01 X_0)) -50)", False),
        (-1e6, -70, "(>= Y_0 0.0001)", True),
        (-1e6, -70, "(>= Y_0 0)", False),
        (70, 1e7, "(<= Y_0 0.9999)", True),
        (70, 71, "(<= Y_0 1)", False),
        (0, 0, "(>= Y_0 0.500001)", True),
        (0, 0, "(>= Y_0 0.5)", False),
    ):
        text = f"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 {low!r}))(assert (<= X_0 {high!r}))"
        content = property_encoded(curve.network.sha256, f"{text}(assert {row})".encode(), [np.array([*WHOLE, ROW, 0])])
        assert checker.judged(content, curve.path.read_bytes()).valid is good, (low, high, row)


@pytest.mark.parametrize("bits", [6, 25])
def test_lines_of_boxes_are_rounded_outwards(bits: int, curve: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "MOST_FORM", bits)
    case = checker.PropertyCase(np.zeros(1), np.ones(1), [{("Y", 0): Fraction(1)}])
    step = STEP + 6
    boxes = case_proof(checker.read_network(curve.path.read_bytes()), case, step).in_boxes()
    rng = np.random.default_rng(5)
    low = np.rint(rng.normal(size=(30, 4)) * 2.0 ** rng.uniform(20, 33, (30, 1))).astype(np.int64)
    high = low + np.rint(2.0 ** rng.uniform(10, 33, low.shape)).astype(np.int64)
    lines = boxes._curves(low, high)
    assert lines.heights is not None
    assert int(np.abs(lines.depth).max()) <= 1 << bits
    unit = Fraction(1, 1 << boxes.heights)
    for i, j in np.ndindex(low.shape):
        start = -Fraction(lines.depth[i, j]) * Fraction(2) ** (int(lines.spare[i]) - step)
        for point in (Fraction(int(end), 1 << step) for end in (low[i, j], (low[i, j] + high[i, j]) // 2, high[i, j])):
            assert point >= start
            least, most = (
                Fraction(slope) * (point - start) + Fraction(height[i, j]) * unit
                for slope, height in zip(
                    (lines.alpha[i, j], lines.steep[i, j] / (1 << checker.SLOPE_BITS)), lines.heights, strict=True
                )
            )
            assert least <= sigma(point) <= most


def test_an_opset_that_is_named_twice_is_one(tmp_path: Path) -> None:
    """As PyTorch once wrote dist_shift's net."""
    made = network(0, "Sigmoid")
    content = made.SerializeToString()
    made.opset_import.append(made.opset_import[0])
    assert checker.read_network(made.SerializeToString()).layers == checker.read_network(content).layers
    made.opset_import[1].version += 1
    with pytest.raises(checker.InvalidError, match="names no opset, or several"):
        checker.read_network(made.SerializeToString())


def test_what_is_not_covered_is_refused_by_name(
    curve: verifier.Model, truth: Any, save_net: Callable[..., verifier.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = save_net(truth.net(0, (2, 3, 2)))
    parts = taken_apart(verifier.certificate(twin, np.full(2, 0.5), 1e-3).content)
    smooth = verifier.load(network(0, "Sigmoid"))
    parts.header["model"] = smooth.network.sha256
    assert checker.judged(parts.content(), smooth.path.read_bytes()).reason == checker.CURVED
    text = (CURVE + NEVER).encode()
    made = property_certified(curve, text, Budget(), worlds=(True, False))
    assert (
        made.note == "nothing is certified for float32: of Sigmoids and Tanhs certificates cover the real function only"
    )
    assert not made.result.float32
    with monkeypatch.context() as patch:
        patch.setattr(checker, "MOST_WIDE", 0)
        with pytest.raises(NotCertifiedError, match="inside smaller networks only"):
            property_certified(curve, text, Budget())
    with pytest.raises(OutOfTimeError):
        property_certified(curve, text, Budget(0))
