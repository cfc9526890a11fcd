"""Certificates in L1 by anchored lines: what the checker draws holds at every point exactly, forgeries are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.verifier.certificates.parts import taken_apart
from verifier.certificates import anchored_proof, ball_proof, checker
from verifier.certificates.checker import InvalidError, Layer, Proof, Region
from verifier.certificates.format import STEP
from verifier.problem.norms.l1 import L1
from verifier.problem.query import Norm

SIZES, SMALL = (4, 9, 7, 6, 3), (3, 5, 4, 3)


def established(proof: Proof, step: int = STEP) -> None:
    """Give the proof what it can show of each layer, a little less, with every neuron that may be open open."""
    for layer, (_, size) in enumerate(proof.net.layers):
        every = np.arange(size)
        low, high = (
            (value << step) // den - 1 for value, den in (proof.ends(layer, every, np.full(size, s)) for s in (1, -1))
        )
        active = low >= 0
        kept = np.flatnonzero(high < 0)
        opened = ~active[kept]
        tops = np.where(opened, -high[kept], 0)
        proof.add(Layer(kept, active[kept], np.where(opened, np.minimum(low[kept], -1), low[kept]), tops, step))


def points_of(case: Any, radius: float, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Vertices of the ball within the box, the centre, and points between, exactly in the ball."""
    ball = case.asked.ball
    inner = L1(ball.centre, ball.lo, ball.hi, radius * (1 - 2.0**-40))
    corners = inner.minimiser(rng.normal(size=(count, ball.centre.size)))
    found = [ball.centre, *corners, *(0.5 * (a + b) for a, b in zip(corners, corners[::-1], strict=True))]
    assert all(L1.distance_exact(x, ball.centre) <= radius for x in found)
    return found


def arguments_at(
    case: Any, x: np.ndarray, proof: Proof, rng: np.random.Generator
) -> tuple[list[list[Fraction]], list[Fraction]]:
    """Arguments of the hidden layers, and scores: exact ones, or off by all that float32 may be, up or down."""
    values, found = [Fraction(v) for v in x.tolist()], []
    names = *proof.net.arguments, proof.net.output
    for (weight, bias), name in zip(case.net.layers, names, strict=True):
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        t = [sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b)) for row, b in rows]
        if proof.rounding is not None:
            errors = [Fraction(int(e), 1 << checker.ERROR_BITS) for e in proof.rounding.error(name)[0]]
            t = [value + int(rng.choice([-1, 1])) * error for value, error in zip(t, errors, strict=True)]
        found.append(t)
        values = [max(each, Fraction(0)) for each in t]
    return found[:-1], found[-1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radius", [0.2, 0.5, 1.5])
@pytest.mark.parametrize("float32", [False, True])
def test_lines_and_leaves_hold_at_every_point(
    make_case: Callable[..., Any], seed: int, radius: float, float32: bool
) -> None:
    case, rng = make_case(seed, SIZES, Norm.L1, False), np.random.default_rng(seed)
    net = checker.read_network(case.content, case.model.path.parent)
    query = ball_proof.checked_query(case.asked)
    proof = Proof(net, query, radius, STEP, radius if float32 else 0.0, anchored=True)
    established(proof)
    assert sum(int((~layer.active).sum()) for layer in proof.layers) > (-1 if radius < 0.5 else 2)
    kept = sum(layer.kept.size for layer in proof.layers)
    region, count = proof.worlds[0][0], 6
    shares = rng.integers(0, 257, (count, kept))
    shares[0] = 0
    none = np.zeros((count, kept), dtype=bool)
    goal = checker.against(net, case.asked.goals[0][0], 0.0)
    weights = rng.integers(0, 9, (count, len(goal.offset)))
    starts = np.cumsum([0, *(layer.kept.size for layer in proof.layers)])

    def relu(known: Layer, part: slice, message: Any, below: int) -> Any:
        return proof.by_shares(shares, none, none)(known, part, message, below)

    lengths = []

    def noted(layer: int, message: Any, below: int) -> Any:
        part = slice(starts[layer], starts[layer + 1])
        lengths.append(layer)
        return relu(proof.layers[layer], part, message, below)

    value, den = proof.value(goal.start, -weights.astype(object) @ goal.matrix, 1, noted)
    assert sorted(set(lengths)) == [0, 1, 2]
    for x in points_of(case, radius, 12, rng):
        hidden, scores = arguments_at(case, x, proof, rng)
        step = [Fraction(a) - Fraction(b) for a, b in zip(x.tolist(), query.centre.tolist(), strict=True)]
        q = [max(step[i], Fraction(0)) for i in region.rises] + [max(-step[i], Fraction(0)) for i in region.drops]
        for layer, arguments in zip(proof.layers, hidden, strict=True):
            lines = layer.anchored
            assert lines is not None
            for place, neuron in enumerate(layer.kept[lines.places].tolist()):
                t, unit = arguments[neuron], Fraction(1 << lines.spare, 1 << STEP)
                low, anchor, high = (int(part[place]) * unit for part in (lines.low, lines.anchor, lines.high))
                assert low <= anchor <= high
                assert low <= t <= high
                grown = sum(int(g) * each for g, each in zip(lines.growth[place].tolist(), q, strict=True))
                assert t <= anchor + Fraction(int(lines.excess[place]), 1 << STEP) + grown / (1 << lines.fine)
        for leaf in range(count):
            rows = [
                sum(int(c) * z for c, z in zip(row, scores, strict=True)) for row in goal.matrix.tolist()
            ]  # fmt: skip
            truth = -sum(int(w) * row for w, row in zip(weights[leaf].tolist(), rows, strict=True))
            assert Fraction(int(value[leaf]), den) <= truth


def made_up_layer(rng: np.random.Generator, coarse: int) -> tuple[Layer, list[tuple[Fraction, ...]], list[Any]]:
    """A layer of open ReLUs whose bounds and growths have many digits; (low, top, high) and growths as they are."""
    count, steps = int(rng.integers(1, 9)), 5
    low, high = (rng.integers(1, 1 << coarse, count).astype(object) for _ in range(2))
    tops = np.array(
        [int(rng.integers(-int(a), int(b) + 1)) * 3 + 1 for a, b in zip(low, high, strict=True)], dtype=object
    )
    layer = Layer(np.arange(count), np.zeros(count, dtype=bool), -low, high, STEP)
    costs = rng.integers(0, 1 << 40, (count, steps)).astype(object) * (rng.random((count, steps)) < 0.7)
    costs = costs >> rng.integers(0, 40, (count, 1)).astype(object)
    shift, den = np.array([int(rng.integers(0, 5)) for _ in range(count)], dtype=object), 3 << 45
    lines = checker.Anchored.of(layer, (tops, 3 << STEP), [checker.shortened(costs, shift, den)])
    assert all(int(one) << lines.spare <= -int(a) for one, a in zip(lines.low, low, strict=True))
    assert all(int(one) << lines.spare >= int(b) for one, b in zip(lines.high, high, strict=True))
    ends = [
        (Fraction(-int(a), 1 << STEP), Fraction(int(t), 3 << STEP), Fraction(int(b), 1 << STEP))
        for a, t, b in zip(low, tops, high, strict=True)
    ]
    growths = [[Fraction(int(c) << int(s), den) for c in row] for row, s in zip(costs, shift, strict=True)]
    return dataclasses.replace(layer, anchored=lines), ends, growths


@pytest.mark.parametrize("coarse", [3, 25, 40])
@pytest.mark.parametrize("shared", [False, True])
def test_a_rule_holds_at_every_argument_exactly(coarse: int, shared: bool) -> None:
    """μ relu(t) − ν t is at least the share less what is paid, wherever t is within its bounds and its growth."""
    rng = np.random.default_rng([coarse, shared])
    for _ in range(60):
        layer, ends, growths = made_up_layer(rng, coarse)
        count = len(ends)
        mu = rng.integers(-(1 << 45), 1 << 45, (3, count)).astype(object) // (1 << rng.integers(0, 44, (3, 1)))
        slopes, none = rng.integers(0, 257, (3, count)), np.zeros((3, count), dtype=bool)
        leaves = checker.LinedLeaves(none, none, slopes, np.zeros_like(slopes), 0) if shared else None
        den = int(rng.choice([1, 1 << 30, 5 << 20]))
        nu, below, (share, under), (paid, unit) = layer.on_anchored(mu, den, leaves)
        assert np.all(paid >= 0)
        for _ in range(6):
            q = [Fraction(int(rng.integers(0, 1 << 20)), 1 << int(rng.integers(15, 50))) for _ in range(5)]
            tried = []
            for (low, top, high), growth in zip(ends, growths, strict=True):
                grown = max(low, min(high, top + sum(g * each for g, each in zip(growth, q, strict=True))))
                tried.append([min(max(t, low), grown) for t in (low, grown, Fraction(0), top, (low + grown) / 2)])
            for row in range(3):
                value = sum(
                    min(Fraction(int(m), den) * max(t, Fraction(0)) - Fraction(int(n), below) * t for t in each)
                    for m, n, each in zip(mu[row], nu[row], tried, strict=True)
                )
                taken = sum(Fraction(int(p), unit) * each for p, each in zip(paid[row], q, strict=True))
                assert value >= Fraction(int(share[row]), under) - taken


def test_what_grows_little_is_not_forgotten_beside_what_grows_much() -> None:
    far = np.array([2000], dtype=object), np.array([3], dtype=object)
    growth, fine = checker.in_common([(np.array([[7.0, 0.0]]), each) for each in far])
    assert fine == 3
    assert growth.tolist() == [[1.0, 0.0], [7.0, 0.0]]


def test_knapsacks_over_steps_are_no_less_than_any_step() -> None:
    rng = np.random.default_rng(0)
    centre, lo, hi = rng.integers(0, 9, 12) / 8, np.zeros(12), np.ones(12)
    for radius in (2.0**-10, 0.3, 2.0, 50.0):
        region = Region(checker.CheckedQuery("l1", 0, None, 0.0, centre, lo, hi), radius)
        costs = rng.integers(-(2**40), 2**40, (5, region.steps)).astype(object)
        costs[0] = 0
        most, den = region.most(costs, np.zeros(5, dtype=object), 8)
        ball = L1(centre, lo, hi, radius * (1 - 2.0**-40))
        for x in ball.minimiser(rng.normal(size=(30, 12))):
            q = [Fraction(max(x[i] - centre[i], 0.0)) for i in region.rises]
            q += [Fraction(max(centre[i] - x[i], 0.0)) for i in region.drops]
            for row, top in zip(costs.tolist(), most.tolist(), strict=True):
                assert sum(c * s for c, s in zip(row, q, strict=True)) / 8 <= Fraction(top, den)


@pytest.fixture
def anchored_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few ReLUs are unstable."""
    monkeypatch.setattr(anchored_proof, "LP_RELUS", -1)


@pytest.fixture
def made(anchored_everywhere: None, make_case: Callable[..., Any]) -> list[tuple[Any, float, bytes]]:
    """(case, radius, certificate) at about the largest radius that anchored lines exclude, for float32 too."""
    found = []
    for seed in range(6):
        case = make_case(seed, SMALL, Norm.L1, seed % 2 == 0)
        for share in (0.9, 0.7, 0.5, 0.3):
            radius = share * min(case.truth, 1.0)
            certificate = case.certified(radius, case.point, radius)
            if taken_apart(certificate.content).header["anchored"]:
                assert certificate.result.lower == certificate.result.float32 == radius
                assert certificate.leaves == len(case.asked.goals)
                found.append((case, radius, certificate.content))
                break
    assert len(found) >= 4
    return found


def test_forgeries_are_refused(made: list[tuple[Any, float, bytes]]) -> None:
    opened = 0
    for case, _, content in made:
        parts = taken_apart(content, case.content)
        states = parts.states()
        opened += sum(int((column == 2).sum()) for column in states)
        for name, value in (
            ("radius", (1.01 * case.truth).hex()),
            ("norm", "linf"),
            ("norm", "l2"),
            ("schema", checker.PROPERTY_SCHEMA),
            ("radius", "inf"),
        ):
            forged = taken_apart(content)
            forged.header[name] = value
            if name == "radius":
                forged.header["witness"], forged.header["float32"] = False, "0x0p+0"
                del forged.floats[-int(case.model.dtype.itemsize) * case.asked.ball.centre.size :]
            refused(forged.content(), case)
        for wrong in (257, -1, 1 << 40):
            forged = taken_apart(content)
            forged.numbers[parts.leaf.start + 2 + parts.rows] = wrong
            refused(forged.content(), case)
        # Bounds anew would say what is known: each node that waits would hold growths of its own.
        anew = [number for column in states for number in [*[2] * int((column == 2).sum()), 0]]
        forged = taken_apart(content)
        forged.numbers = np.insert(parts.numbers, parts.leaf.start, [checker.BOUNDS, *anew])
        with pytest.raises(InvalidError, match="bounds anew"):
            checker.checked(forged.content(), case.content)
        # An open neuron has neither sign.
        for sign in (0, 1):
            forged = taken_apart(content)
            if (states[0] == 2).any():
                forged.numbers[int(np.flatnonzero(states[0] == 2)[0])] = sign
                refused(forged.content(), case)
    assert opened > 9


def refused(content: bytes, case: Any) -> None:
    with pytest.raises(InvalidError):
        checker.checked(content, case.content)


def test_shares_are_of_use(made: list[tuple[Any, float, bytes]]) -> None:
    """Some leaf closes by its shares only; where shares do not close it either, it is no leaf."""
    needed = 0
    for case, _, content in made:
        parts = taken_apart(content, case.content)
        shares = slice(parts.leaf.start + 2 + parts.rows, parts.leaf.stop)
        parts.numbers[shares] = 256 - parts.numbers[shares]
        try:
            checker.checked(parts.content(), case.content)
        except InvalidError:
            needed += 1
    assert needed


def test_where_anchored_lines_do_not_do_trees_do(anchored_everywhere: None, make_case: Callable[..., Any]) -> None:
    for seed in range(3):
        case = make_case(seed, SMALL, Norm.L1, True)
        radius = 0.999 * case.truth
        assert case.certified(radius).result.lower == radius


def test_they_are_about_balls_in_l1_alone(make_case: Callable[..., Any]) -> None:
    case = make_case(0, SMALL, Norm.LINF, True)
    net = checker.read_network(case.content, case.model.path.parent)
    with pytest.raises(InvalidError, match="outside of a ball in L1"):
        Proof(net, ball_proof.checked_query(case.asked), 0.1, STEP, anchored=True)
