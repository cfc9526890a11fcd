"""Properties certified for float32: charges cover any order of summation, and what float32 breaks is refused."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from tests.verifier.certificates.parts import case_proof, know_all
from tests.verifier.search.test_float32 import any_order
from verifier.certificates import checker
from verifier.certificates.checker import ANEW, BOUNDS, BOXES, CLAUSES, FIRST_RELU, HALVES, LEAF, ROW
from verifier.certificates.format import property_encoded
from verifier.certificates.property_builder import property_certified
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget

BOX = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))"
SaveNet = Callable[..., verifier.Model]


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: SaveNet) -> verifier.Model:
    """y = min(x, 1 − x) on [0, 1]: 0.5 at most."""
    return save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))


THIRD = np.float32(1 / 3)
THREE = np.float32(3 * float(THIRD))
GAP = 3 * Fraction(float(THIRD)) - Fraction(float(THREE))


@pytest.fixture(scope="module")
def cancelling(truth: Any, save_net: SaveNet) -> verifier.Model:
    """y = ±(3 relu(w x) − relu(v x)), v = 3 w rounded to float32: below 0 where x > 0, and in float32 what is lost."""
    sign = -1.0 if GAP > 0 else 1.0
    return save_net(truth.of_layers(([[float(THIRD)], [float(THREE)]], [0.0, 0.0]), ([[3 * sign, -sign]], [0.0])))


def reason(model: verifier.Model, numbers: list[int], row: str, float32: bool = True) -> str:
    """Why the checker refuses a certificate of these numbers; "" where it is valid."""
    text = (BOX + row).encode()
    content = property_encoded(model.network.sha256, text, [np.array(numbers)], float32)
    return checker.judged(content, model.path.read_bytes(), checker.Demands(float32=1.0 if float32 else None)).reason


AT = (1 << 26) * 3 // 8
ROOT = [BOUNDS, 1, 2, 0]
BY_BOXES = [*ROOT, BOXES, ANEW, 1, 2, HALVES, 0, AT, ANEW, 2, ANEW, 0, ROW, 0, ROW, 0]
BY_RELUS = [*ROOT, FIRST_RELU + 1, LEAF, 0, 1, 0, 1, LEAF, 0, 1, 0, 1]


NEAR = f"(assert (>= Y_0 {0.5 + 2.0**-21}))"
"""Out of reach over the reals; 2⁻²¹ is less than what is charged."""


def test_trees_of_boxes_are_charged(ramp: verifier.Model) -> None:
    assert reason(ramp, BY_BOXES, "(assert (>= Y_0 0.6))") == ""
    middle = [*BY_BOXES[:10], (1 << 26) * 4 // 9, *BY_BOXES[11:]]  # below x = 0.5
    assert reason(ramp, middle, NEAR, float32=False) == ""
    assert "does not follow" in reason(ramp, middle, NEAR)


def test_trees_of_relus_are_charged(ramp: verifier.Model) -> None:
    assert reason(ramp, BY_RELUS, "(assert (>= Y_0 0.6))") == ""
    assert reason(ramp, BY_RELUS, NEAR, float32=False) == ""
    assert "does not close" in reason(ramp, BY_RELUS, NEAR)


@pytest.mark.parametrize("numbers", [BY_BOXES[len(ROOT) :], [CLAUSES, 24, 0, 0], [LEAF, 0, 1], [FIRST_RELU]])
def test_what_is_charged_rests_on_bounds_of_the_whole_box(numbers: list[int], ramp: verifier.Model) -> None:
    assert "a node before any bounds" in reason(ramp, numbers, "(assert (>= Y_0 0.6))")


def test_rounding_that_breaks_a_property_is_refused(cancelling: verifier.Model) -> None:
    """It holds over the reals; float32 gives outputs that do not."""
    assert GAP != 0
    points = np.linspace(0.1, 1.0, 999, dtype=np.float32)
    (one, other), sign = (THIRD * points, THREE * points), np.float32(-1 if GAP > 0 else 1)
    assert np.any(sign * (np.float32(3) * one - other) >= 0)
    row = "(assert (>= Y_0 0))"
    text = (BOX + row).encode()
    made = property_certified(cancelling, text, Budget())
    assert not made.result.float32
    with pytest.raises(NotCertifiedError):
        property_certified(cancelling, text, Budget(), worlds=(True,))
    either = property_certified(cancelling, text, Budget(), worlds=(True, False))
    assert (either.content, either.result.float32) == (made.content, False)
    assert either.note.startswith("nothing is certified for float32: ")
    # The same numbers with another header.
    data = checker.unpacked(made.content)
    size = int.from_bytes(data[:4], "little")
    told = json.dumps({**json.loads(data[4 : 4 + size]), "float32": True}).encode()
    forged = checker.MAGIC + zlib.compress(len(told).to_bytes(4, "little") + told + data[4 + size :])
    assert not checker.judged(forged, cancelling.path.read_bytes()).valid
    demanded = checker.Demands(float32=0.1)
    judged = checker.judged(made.content, cancelling.path.read_bytes(), demanded)
    assert judged.reason == "the certificate proves nothing for float32 evaluations"


@pytest.mark.parametrize("seed", range(2))
def test_what_is_built_is_accepted(seed: int, truth: Any, save_net: SaveNet) -> None:
    """Of boxes, and of ReLUs where many inputs move: outputs beyond what bounds of 64 points of the box leave."""
    net = truth.net(seed, ((3, 24)[seed], 6, 5, 2))
    model = save_net(net)
    rng, inputs = np.random.default_rng(seed), net.lo.size
    lo = np.float32(rng.random(inputs) * 0.9).astype(float)
    outputs = model.values(lo + 0.05 * rng.random((64, inputs)))
    rows = verifier.Halfspaces(np.array([[1.0, -0.5]]), np.array([-1.0 - (outputs @ [1.0, -0.5]).max()]))
    made = verifier.property_certificate(model, region=(lo, lo + 0.05), property=rows, float32=True)
    assert (made.result.float32, made.note) == (True, "")
    judged = checker.judged(made.content, model.path.read_bytes(), checker.Demands(float32=1.0))
    assert str(judged).startswith(
        "VALID: no input satisfies the property, over the real numbers, and for every float32"
    )
    assert judged.missing == ["property"]
    plain = verifier.property_certificate(model, region=(lo, lo + 0.05), property=rows)
    assert not plain.result.float32
    assert "nothing is claimed of rounding" in str(checker.judged(plain.content, model.path.read_bytes()))


def test_bounds_hold_for_any_order(truth: Any, save_net: SaveNet) -> None:
    """At single points of nets with cancellation, where some sums lie outside the bounds over the reals."""
    outside = 0
    for seed in range(3):
        net = truth.net(seed, (3, 5, 4, 2))
        layers = [(np.float32(w * 2.0**6 / 3), np.float32(b)) for w, b in net.layers]
        model = save_net(truth.of_layers(*layers))
        read = checker.read_network(model.path.read_bytes())
        rng = np.random.default_rng(seed)
        x = np.float32(rng.random(3))
        row = {("Y", 0): Fraction(1), ("Y", 1): Fraction(-1, 2)}
        case = checker.PropertyCase(x.astype(float), x.astype(float), [row])
        bounds = {float32: bounds_of(read, case, float32) for float32 in (True, False)}
        for _ in range(40):
            h, arguments = x, []
            for place, (weight, bias) in enumerate(layers):
                t = any_order(rng, weight, bias, h)
                h = np.maximum(t, np.float32(0))
                arguments += [Fraction(float(v)) for v in t] if place + 1 < len(layers) else []
            turned = -(Fraction(float(t[0])) - Fraction(float(t[1])) / 2)
            for low, high, least in bounds[True]:
                assert all(a <= v <= b for a, v, b in zip(low, arguments, high, strict=True))
                assert turned >= least
            outside += sum(
                not all(a <= v <= b for a, v, b in zip(low, arguments, high, strict=True))
                for low, high, _ in bounds[False]
            )
    assert outside > 0


def bounds_of(
    read: checker.CheckedNetwork, case: checker.PropertyCase, float32: bool
) -> list[tuple[list[Fraction], list[Fraction], Fraction]]:
    """(lower, upper bounds of ReLU arguments, a lower bound of minus the row), by exact sums and in boxes."""
    proof = case_proof(read, case, 24, float32)
    if float32:
        know_all(proof)
    boxes = proof.in_boxes()
    every = np.full(boxes.root.state.size, 2, dtype=np.int8)
    (node,) = boxes.bounded(proof, [(boxes.root, every)])
    forms, constants = boxes._rows(boxes.goal_rows(proof), np.array([0]), np.array([0]))
    lines = [
        boxes._lines(place, *(end[np.newaxis, part] for end in (node.state, node.low, node.high)))
        for place, part in enumerate(boxes._parts())
    ]
    least = boxes._back(2, forms, constants, lines, boxes._ends([node]), np.array([0]))[0]
    found = [([Fraction(int(v), 1 << 24) for v in end] for end in (node.low, node.high))]
    low, high = found[0]
    told = [(low, high, Fraction(int(least), 1 << 24 + checker.SPARE_BITS))]
    ends: tuple[list[Fraction], list[Fraction]] = ([], [])
    if not float32:
        proof.layers = []
    for place, (_, size) in enumerate(read.layers):
        for end, sign in zip(ends, (1, -1), strict=True):
            values = proof.least(place, np.arange(size), np.full(size, sign))
            end += [sign * Fraction(int(v), 1 << 24) for v in values]
        if not float32:
            low_, high_ = (np.array([int(v * (1 << 24)) for v in end[-size:]]) for end in ends)
            state = np.where(low_ >= 0, 1, np.where(high_ <= 0, 0, 2))
            proof.layers = [*proof.layers, proof.layer_of(place, state, low_, high_)]
    value, den = proof.value(proof.goal.start, -proof.goal.matrix, proof.goal.den, proof._by_lines)
    clauses = checker.ClauseProof(proof, [], 24)
    known, inputs = [Fraction(int(v), 1 << 24) for v in clauses.bound], read.size(read.input)
    above = [-v for v in known[clauses.variables + inputs :]]
    told.append((known[inputs : clauses.variables], above, -Fraction(1 << 60)))
    return [*told, (*ends, Fraction(int(value[0]), den))]


def test_a_header_that_is_not_so_is_refused(ramp: verifier.Model) -> None:
    data = checker.unpacked(
        property_encoded(ramp.network.sha256, (BOX + "(assert (>= Y_0 0.6))").encode(), [np.array(BY_BOXES)])
    )
    size = int.from_bytes(data[:4], "little")
    header, rest = json.loads(data[4 : 4 + size]), data[4 + size :]

    def why(header: dict[str, Any]) -> str:
        told = json.dumps(header).encode()
        content = checker.MAGIC + zlib.compress(len(told).to_bytes(4, "little") + told + rest)
        return checker.judged(content, ramp.path.read_bytes()).reason

    assert why(header) == ""
    assert why({**header, "float32": 1}) == "the certificate's header"
    del header["float32"]
    assert "other fields" in why(header)


def test_nothing_is_claimed_before_a_softmax(truth: Any, save_net: SaveNet, tmp_path: Any) -> None:
    """Float32 shows probabilities below the least number as equal."""
    import onnx  # noqa: PLC0415
    from onnx import helper  # noqa: PLC0415

    made = onnx.load(save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0], [0, 0]], [0.0, 3.0]))).path)
    (out,) = made.graph.output
    name, out.name = out.name, "p"
    made.graph.node.append(helper.make_node("Softmax", [name], ["p"]))
    onnx.save(made, tmp_path / "p.onnx")
    model = verifier.load(tmp_path / "p.onnx")
    text = BOX.replace("Y_0 Real)", "Y_0 Real)(declare-const Y_1 Real)") + "(assert (>= Y_0 Y_1))"
    with pytest.raises(NotCertifiedError, match="nothing is proved before a final Softmax"):
        property_certified(model, text.encode(), Budget(), worlds=(True,))
    assert property_certified(model, text.encode(), Budget()).leaves == 1
