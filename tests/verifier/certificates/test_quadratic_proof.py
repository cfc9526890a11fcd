"""Quadratic evidence: what the checker makes of it holds at every point, whatever floats say; forgeries are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from encoders.formulations.to_stages import to_stages
from tests.verifier.certificates.parts import case_proof, know_all, taken_apart
from tests.verifier.certificates.test_anchored_proof import arguments_at, established
from tests.verifier.certificates.test_mutations import refused
from verifier.bounds import quadratic_rows
from verifier.certificates import (
    ball_proof,
    bound_proof,
    builder,
    checker,
    property_builder,
    quadratic_proof,
    squared_cases,
)
from verifier.certificates.checker import InvalidError, Proof, QuadraticEvidence
from verifier.certificates.claimed_bounds import ClaimingProof, known_ends
from verifier.certificates.format import STEP, evidence_integers, varints
from verifier.certificates.quadratic_proof import QuadraticProposals
from verifier.problem.budget import Budget
from verifier.problem.norms.l2 import L2
from verifier.problem.query import Norm
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.root_bounds import root_bounds

SIZES, SMALL = (5, 7, 6, 5, 3), (3, 5, 4, 3)


@pytest.fixture
def squared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees by lines are given up at once."""
    monkeypatch.setattr(bound_proof, "small_lps", lambda root: False)
    for module in (builder, squared_cases):
        monkeypatch.setattr(module, "FEW", 0)
        monkeypatch.setattr(module, "LP_RELUS", 0)


def drawn(rng: np.random.Generator, codes: np.ndarray, inputs: int, opened: int) -> QuadraticEvidence:
    """Any multipliers, with κ now and then too large for a matrix that is positive definite."""
    own, shared, fine = rng.integers(0, 12, 3)
    inverse = rng.integers(1, 1 << rng.integers(2, 12), inputs)
    kappa, pi = (rng.integers(0, 1 << rng.integers(1, 12), opened) for _ in range(2))
    t = rng.integers(1, 1 << rng.integers(1, 10), codes.size)
    lines = rng.integers(0, 1 << rng.integers(1, 10), (3, codes.size, opened))
    return QuadraticEvidence(codes, int(fine), int(shared), int(own), inverse, kappa, pi, t, lines)


def with_ball(rng: np.random.Generator, proof: Proof, given: QuadraticEvidence) -> QuadraticEvidence:
    """In L2 with any ρ that is allowed, or, now and then, one beyond all of these."""
    if proof.query.norm != "l2":
        return given
    given = dataclasses.replace(given, ball=int(rng.integers(0, checker.FINEST + 1)))
    most = proof.quadratic(proof.layers).most_rho(given)
    return dataclasses.replace(given, rho=int(rng.choice([0, most // 2, most, most, most, most + 1])))


def vertices(case: Any, radius: float, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    ball = case.asked.ball
    if ball.norm is Norm.L2:
        corners = L2(ball.centre, ball.lo, ball.hi, radius).minimiser(rng.normal(size=(2 * count, ball.centre.size)))
        found = [ball.centre + (x - ball.centre) * (1 - 2.0**-40) for x in corners]
        assert all(L2.distance_exact(x, ball.centre) <= radius for x in found)
        return [ball.centre, *found]
    low, high = np.maximum(ball.lo, ball.centre - radius), np.minimum(ball.hi, ball.centre + radius)
    found = [np.where(rng.random(low.size) < 0.5, low, high) for _ in range(count)]
    between = (0.5 * a + 0.5 * b for a, b in pairwise(found))
    return [ball.centre, *found, *between]


@pytest.mark.parametrize(("seed", "norm"), [(0, Norm.LINF), (1, Norm.LINF), (1, Norm.L2), (2, Norm.L2)])
@pytest.mark.parametrize("float32", [False, True])
@pytest.mark.parametrize("wrong", [0.0, 1e-3])
def test_bounds_hold_at_every_point(
    make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int, float32: bool, wrong: float, norm: Norm
) -> None:
    """wrong: how far off the factor and the point of the tangent are, which floats propose."""
    if wrong:
        inner, noise = np.linalg.cholesky, np.random.default_rng(seed)
        monkeypatch.setattr(np.linalg, "cholesky", lambda m: inner(m) * (1 + wrong * noise.normal(size=m.shape)))
        inverse = np.linalg.inv
        monkeypatch.setattr(np.linalg, "inv", lambda m: inverse(m) * (1 + 10 * wrong * noise.normal(size=m.shape)))
    case, rng, radius = make_case(seed, SIZES, norm, False), np.random.default_rng(seed), 0.25
    radius *= 1 if norm is Norm.LINF else 2
    net = checker.read_network(case.content, case.model.path.parent)
    proof = Proof(net, ball_proof.checked_query(case.asked), radius, STEP, radius if float32 else 0.0)
    established(proof)
    points = [arguments_at(case, x, proof, rng) for x in vertices(case, radius, 8, rng)]
    count = 0
    for place in (1, 2, 3):
        layers, size = proof.layers[:place], (*(n for _, n in net.layers), 3)[place]
        opened = sum(int((~layer.active).sum()) for layer in layers)
        for _ in range(8):
            codes = rng.integers(0, 2 * size if place < 3 else 6, 4)
            evidence = with_ball(rng, proof, drawn(rng, codes, 5, opened))
            try:
                if place < 3:
                    value, den = proof.quadratic_ends(layers, evidence)
                else:
                    value, den = proof.quadratic_rows(layers, evidence, checker.coded_goal(net, evidence, 0.125))
            except InvalidError:  # its matrix is not positive definite, or ρ too large
                continue
            assert evidence.rho <= proof.quadratic(layers).most_rho(evidence)
            count += 1
            for row, code in enumerate(codes.tolist()):
                for hidden, scores in points:
                    if place < 3:
                        truth = hidden[place][code >> 1] * (-1 if code & 1 else 1)
                    else:
                        target, other = code // 2, code % 2 + (code % 2 >= code // 2)
                        truth = scores[other] - scores[target] + Fraction(0.125)
                    assert Fraction(int(value[row]), den) <= truth
    assert count > 2


Forms = list[tuple[list[Fraction], list[Fraction], Fraction]]
"""Of x, of open ReLUs before, and a constant."""


def forms_of(case: Any, layers: list[checker.Layer]) -> list[Forms]:
    """The arguments of each layer, and the scores, as exact affine maps of x and of what open ReLUs give."""
    inputs, found, opened = 5, list[Forms](), 0
    values: Forms = [([Fraction(i == k) for k in range(inputs)], [], Fraction(0)) for i in range(inputs)]
    for number, (weight, bias) in enumerate(case.net.layers):
        made: Forms = []
        for row, offset in zip(weight.tolist(), bias.tolist(), strict=True):
            pairs = [(Fraction(w), value) for w, value in zip(row, values, strict=True)]
            x = [sum(w * v[0][i] for w, v in pairs) for i in range(inputs)]
            h = [sum(w * (v[1] + [Fraction(0)] * opened)[j] for w, v in pairs) for j in range(opened)]
            made.append((x, h, Fraction(offset) + sum(w * v[2] for w, v in pairs)))
        found.append(made)
        if number < len(layers):
            values, layer = [([Fraction(0)] * inputs, [], Fraction(0))] * len(made), layers[number]
            for place, neuron in enumerate(layer.kept.tolist()):
                values[neuron] = made[neuron]
                if not layer.active[place]:
                    values[neuron] = [Fraction(0)] * inputs, [Fraction(0)] * opened + [Fraction(1)], Fraction(0)
                    opened += 1
    return found


class Bracketed:
    """The function of z that quadratic evidence bounds, for one row of it, by its formula."""

    def __init__(self, proof: Proof, layers: list[checker.Layer], given: QuadraticEvidence, row: int) -> None:
        region, step = proof.worlds[0][0], layers[0].step
        (low, high), unit = region.ends, region.unit
        self.low, self.width, self.centre = (
            [Fraction(int(v), unit) for v in part] for part in (low, high - low, region.centre)
        )
        self.radius = Fraction(region.radius, unit)
        self.rho = Fraction(given.rho, 1 << given.ball) / self.radius**2
        scale, own = Fraction(1, 1 << given.shared), Fraction(1, 1 << given.own)
        self.tau = [
            Fraction(1 << given.fine, int(v)) - self.rho * w**2 for v, w in zip(given.inverse, self.width, strict=True)
        ]
        assert min(self.tau) >= 0
        self.kappa, self.pi = ([int(v) * scale for v in part] for part in (given.kappa, given.pi))
        self.t = int(given.t[row]) * own
        self.lines = [[int(v) * own for v in part[row]] for part in given.lines]
        ends = [(layer.low[~layer.active], layer.high[~layer.active]) for layer in layers]
        self.least, self.most = ([Fraction(int(v), 1 << step) for part in ends for v in part[side]] for side in (0, 1))

    def at(self, form: Any, arguments: Forms, xi: list[Any], h: list[Any]) -> Any:
        """At ξ and h, in the numbers that these are."""
        x = [low + width * each for low, width, each in zip(self.low, self.width, xi, strict=True)]

        def valued(each: Any) -> Any:
            given = [*each[0], *each[1]]
            return sum((a * b for a, b in zip(given, [*x, *h[: len(each[1])]], strict=True)), each[2])

        value = valued(form) - self.t * sum(a * b * (1 - b) for a, b in zip(self.tau, xi, strict=True))
        left = self.radius**2 - sum((a - b) ** 2 for a, b in zip(x, self.centre, strict=True))
        value -= self.t * self.rho * left
        for j, each in enumerate(h):
            y, u, low = valued(arguments[j]), self.most[j], self.least[j]
            lam, mu, sigma = (part[j] for part in self.lines)
            slope = Fraction(-((-u * (1 << 24)) // (u - low)), 1 << 24)
            value -= self.t * (self.pi[j] * each * (u - each) - self.kappa[j] * each * (each - y))
            value -= lam * each + mu * (each - y) + sigma * (slope * (y - low) - each)
        return value


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("step", "lying"), [(6, False), (STEP, False), (STEP, True)])
@pytest.mark.parametrize(("seed", "norm"), [(0, Norm.LINF), (1, Norm.L2)])
def test_values_are_just_below_the_least_of_the_formula(
    make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int, step: int, lying: bool, norm: Norm
) -> None:
    """Of multipliers that an ascent finds, whose least value over all ξ and 0 ≤ h ≤ u floats find. lying: the matrix is
    not positive definite, and yet there is a factor."""
    monkeypatch.setattr(quadratic_proof, "AWAY", 1.1)
    case, radius = make_case(seed, SIZES, norm, False), 0.25 if norm is Norm.LINF else 0.5
    proof = Proof(checker.read_network(case.content), ball_proof.checked_query(case.asked), radius, STEP)
    established(proof, step)
    forms, layers = forms_of(case, proof.layers), proof.layers[:2]
    arguments = [
        made[neuron]
        for made, layer in zip(forms, layers, strict=False)
        for neuron in layer.kept[~layer.active].tolist()
    ]
    starts, ends = (0, 7, 13), np.repeat([[-1.0], [0.0]], 18, axis=1)
    for start, layer in zip(starts, layers, strict=False):
        ends[0, start + layer.kept], ends[1, start + layer.kept] = np.ldexp(
            np.array([layer.low, np.where(layer.active, layer.low + 1, layer.high)], dtype=float), -step
        )
    stages = to_stages(case.model.graph)
    squares = QuadraticProposals(proof, stages, case.asked.ball.with_radius(radius), Budget())
    ((given, _),) = squares.ends(layers, *ends, np.arange(5))
    assert (given.rho > 0) == (norm is Norm.L2)
    if lying:
        factor = np.linalg.cholesky
        monkeypatch.setattr(np.linalg, "cholesky", lambda m: factor(m + 2.0 * np.abs(m).sum() * np.eye(len(m))))
        given = dataclasses.replace(given, kappa=4 * given.kappa)
    value, den = proof.quadratic_ends(layers, given)
    gaps = []
    for row, code in enumerate(given.codes.tolist()):
        sign = -1 if code & 1 else 1
        x, h, constant = forms[2][code >> 1]
        form = [sign * v for v in x], [sign * v for v in h], sign * constant
        bound = Bracketed(proof, layers, given, row)
        bounds = [(-5.0, 5.0)] * 5 + [(0.0, float(u)) for u in bound.most]
        plain = float_forms(form), [float_forms(each) for each in arguments]
        found = minimize(
            lambda z, bound=bound, plain=plain: float(bound.at(*plain, z[:5].tolist(), z[5:].tolist())),
            np.array([0.5] * 5 + [0.5 * end for _, end in bounds[5:]]),
            bounds=bounds,
            method="L-BFGS-B",
        )
        z = [Fraction(v) for v in found.x.tolist()]
        h = [min(v, u) for v, u in zip(z[5:], bound.most, strict=True)]
        gaps.append(bound.at(form, arguments, z[:5], h) - Fraction(int(value[row]), den))
    assert min(gaps) >= 0
    assert max(gaps) < 0.1 or lying


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("halvings", [quadratic_proof.HALVINGS, 0])
def test_multipliers_far_from_each_other_keep_a_matrix_definite(
    make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, halvings: int
) -> None:
    """One π beyond all others, and a ReLU with neither κ nor π; without any try nothing is proposed."""
    case, radius = make_case(1, SIZES, Norm.LINF, False), 0.25
    asked = checker.read_network(case.content), ball_proof.checked_query(case.asked), radius, STEP
    proof = ClaimingProof(*asked, budget=Budget())
    ball, stages, climbed = case.asked.ball.with_radius(radius).finite, to_stages(case.model.graph), []

    def found(*given: Any) -> Any:
        shared, own = quadratic_rows.climbed(*given)
        shared.pi[0] = 2.0**20 * shared.kappa.max()
        shared.kappa[-1] = shared.pi[-1] = 0.0
        climbed.append(shared)
        return shared, own

    monkeypatch.setattr(quadratic_proof, "climbed", found)
    monkeypatch.setattr(quadratic_proof, "HALVINGS", halvings)
    ends = hidden_bounds(stages, root_bounds(case.model.graph, ball, Budget()))
    proof.claimed(ends)
    lower, upper = known_ends(proof, ends, proof.layers)
    layers, squares = proof.layers[:2], QuadraticProposals(proof, stages, ball, Budget())
    made = [given for given, _ in squares.ends(layers, lower, upper, np.arange(5))]
    assert len(made) == bool(halvings)
    for given in made:
        assert given.pi[-1] == 1
        np.testing.assert_allclose(np.ldexp(given.kappa, -given.shared)[:-1], climbed[0].kappa[:-1], rtol=0.01)


def float_forms(form: Any) -> Any:
    return [float(v) for v in form[0]], [float(v) for v in form[1]], float(form[2])


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
@pytest.mark.parametrize("seed", range(2))
def test_what_an_ascent_finds_is_nearly_what_the_engine_proves(
    make_case: Callable[..., Any], squared: None, seed: int, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, at nine tenths of the minimum: evidence for ends and goals, a tree for what is left."""
    case = make_case(seed, SMALL, norm, False)
    if not 0 < case.truth < np.inf:
        pytest.skip("the input is adversarial itself")
    evidence, least = list[Any](), checker.QuadraticBounds.least
    monkeypatch.setattr(checker.QuadraticBounds, "least", lambda *given: evidence.append(given) or least(*given))
    for float32 in (0.0, 0.5 * case.truth):
        made = case.certified(0.9 * case.truth, case.point, float32)
        assert evidence
        evidence.clear()
        assert (made.result.lower, made.result.float32) == (0.9 * case.truth, 0.9 * case.truth if float32 else 0.0)


def test_mutations_are_refused_or_say_something_true(
    make_case: Callable[..., Any], squared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, count, tried = np.random.default_rng(0), 0, 0
    for seed in range(4):
        monkeypatch.setattr(builder, "by_bounds", lambda _, lined=seed > 1: lined)
        case = make_case(seed, SMALL, (Norm.LINF, Norm.L2)[seed % 2], seed in (0, 3))
        if not 0 < case.truth < np.inf:
            continue
        content = case.certified(0.95 * case.truth).content
        assert not refused(case, content)
        for _ in range(30):
            parts = taken_apart(content)
            if rng.random() < 0.2:
                parts.header["radius"] = (1.06 * case.truth).hex()
            place = rng.integers(parts.numbers.size)
            value = int(parts.numbers[place])
            parts.numbers[place] = rng.choice(
                [-value, value + 1, value - 1, 4 * value, value // 2, 0, value ^ (1 << 20)]
            )
            tried += 1
            count += refused(case, parts.content())
    assert tried >= 60
    assert count > tried // 5


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("kappa", -1, "below 0"),
        ("pi", -1, "below 0"),
        ("inverse", 0, "below 0"),
        ("t", 0, "below 0"),
        ("lines", -1, "below 0"),
        ("kappa", 1 << 20, "positive definite"),
        ("codes", -1, "not there"),
        ("codes", 1 << 20, "not there"),
        ("rho", 1, "of a box"),
    ],
)
def test_fields_out_of_range_are_refused(make_case: Callable[..., Any], name: str, value: int, reason: str) -> None:
    case = make_case(1, SIZES, Norm.LINF, False)
    proof = Proof(checker.read_network(case.content), ball_proof.checked_query(case.asked), 0.25, STEP)
    established(proof)
    layers = proof.layers[:1]
    opened = int((~layers[0].active).sum())
    rows, ones = np.ones((3, 2, opened), dtype=np.int64), np.ones(opened, dtype=np.int64)
    sound = QuadraticEvidence(
        np.arange(2), 0, 8, 0, np.ones(5, dtype=np.int64), ones, ones, np.ones(2, dtype=np.int64), rows
    )
    proof.quadratic_ends(layers, sound)
    changed: Any = np.array(getattr(sound, name))
    changed.flat[-1] = value
    changed = changed if changed.ndim else int(changed)
    with pytest.raises(InvalidError, match=reason):
        proof.quadratic_ends(layers, dataclasses.replace(sound, **{name: changed}))


@pytest.mark.parametrize(("radius", "step"), [(0.25, 0), (0.25, 30), (2.0**-300, 60), (2.0**300, 60)])
def test_multipliers_of_a_ball_are_those_that_leave_no_tau_below_0(
    make_case: Callable[..., Any], radius: float, step: int
) -> None:
    """However large the numbers are."""
    case = make_case(1, SIZES, Norm.L2, False)
    proof = Proof(checker.read_network(case.content), ball_proof.checked_query(case.asked), radius, STEP)
    ends = np.full(7, 1 << STEP)
    proof.add(checker.Layer(np.arange(7), np.zeros(7, dtype=bool), -ends, ends, STEP))
    squares, none, large = proof.quadratic(proof.layers), np.zeros(7, dtype=np.int64), np.full((3, 2, 7), 1 << 61)
    given = QuadraticEvidence(np.arange(2), step, step, 0, np.full(5, 9), none, none + 1, large[0, :, 0], large, step)
    share = Fraction(int(max(squares.width)), squares.unit) / Fraction(radius)
    tau, most = Fraction(1 << step, 9), squares.most_rho(given)
    assert Fraction(most, 1 << step) * share**2 <= tau < Fraction(most + 1, 1 << step) * share**2
    proof.quadratic_ends(proof.layers, dataclasses.replace(given, rho=most))
    for rho in (most + 1, most + (1 << 61), -1, -(1 << 61)):
        with pytest.raises(InvalidError, match="multiplier of a ball"):
            proof.quadratic_ends(proof.layers, dataclasses.replace(given, rho=rho))


def test_evidence_of_a_ball_proves_no_other(make_case: Callable[..., Any], squared: None) -> None:
    tried = 0
    for seed in range(2):
        for norm, other in ((Norm.LINF, "l2"), (Norm.L2, "linf")):
            case = make_case(seed, SMALL, norm, False)
            if not 0 < case.truth < np.inf:
                continue
            parts = taken_apart(case.certified(0.95 * case.truth).content)
            changes: list[dict[str, Any]] = [
                {"norm": other},
                {"norm": "l1"},
                {"radius": "inf"},
                {"radius": (1.06 * case.truth).hex()},
                {"anchored": True},
            ]
            tried += 1
            for change in changes:
                assert refused(case, dataclasses.replace(parts, header=parts.header | change).content())
            # Another centre: within the old ball what is said may be true.
            x = np.frombuffer(parts.floats[:12], "<f4") + np.float32(case.truth / 16)
            moved = bytearray(np.clip(x, 0, 1).astype("<f4").tobytes()) + parts.floats[12:]
            refused(case, dataclasses.replace(parts, floats=moved).content())
    assert tried >= 2


def test_too_many_rows_are_refused_before_they_are_made(make_case: Callable[..., Any]) -> None:
    case = make_case(1, SIZES, Norm.LINF, False)
    proof = Proof(checker.read_network(case.content), ball_proof.checked_query(case.asked), 0.25, STEP)
    established(proof)
    opened, before = checker.opened(proof.layers[:1]), proof.work
    rows = checker.MOST_FORMS // (5 + opened) + 1
    ones = np.ones(opened, dtype=np.int64)
    lines = np.broadcast_to(np.ones(1, dtype=np.int64), (3, rows, opened))
    many = np.zeros(rows, dtype=np.int64)
    given = QuadraticEvidence(many, 0, 8, 0, np.ones(5, dtype=np.int64), ones, ones, many + 1, lines)
    with pytest.raises(InvalidError, match="too many"):
        proof.quadratic_ends(proof.layers[:1], given)
    with pytest.raises(InvalidError, match="too many"):
        proof.quadratic_rows(proof.layers[:1], given, checker.coded_goal(proof.net, given, 0.0))
    assert proof.work == before


def test_evidence_is_read_as_it_is_written(make_case: Callable[..., Any]) -> None:
    """What is evaluated counts a step, however small it is."""
    one = np.array([1, 0, 8, 0, 0, *[1] * 5, 1, 1, 1, 1, 1, 1])
    for ball in (False, True):
        one = np.insert(one, 4, [7, 9]) if ball else one
        numbers = checker.Numbers(memoryview(varints(np.array([*one, 0]))))
        given = numbers.quadratic(5, 1, ball=ball)
        assert given is not None
        assert (given.ball, given.rho, given.pi.tolist()) == ((7, 9, [1]) if ball else (0, 0, [1]))
        np.testing.assert_array_equal(evidence_integers(given, ball), one)
        assert numbers.quadratic(5, 1, ball=ball) is None
    one[4] = checker.FINEST + 1
    with pytest.raises(InvalidError, match="malformed"):
        checker.Numbers(memoryview(varints(one))).quadratic(5, 1, ball=True)
    case = make_case(1, SIZES, Norm.LINF, False)
    proof = Proof(checker.read_network(case.content), ball_proof.checked_query(case.asked), 0.25, STEP)
    established(proof)
    opened, before = checker.opened(proof.layers[:1]), proof.work
    given = drawn(np.random.default_rng(0), np.arange(2), 5, opened)
    proof.quadratic_ends(proof.layers[:1], dataclasses.replace(given, kappa=np.zeros(opened, dtype=np.int64)))
    assert proof.work - before >= checker.STEP_WORK


def test_too_many_rows_of_a_case_are_refused_before_they_are_made(
    make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(5, (3, 6, 5, 3), Norm.LINF, False)
    ends = "\n".join(f"(assert (>= X_{i} 0.0))\n(assert (<= X_{i} 1.0))" for i in range(3))
    (asked, _) = checker.property_cases(
        checker.PropertyText(TEXT.format(ends=ends, first="100.0", second="100.0").encode())
    )
    proof = case_proof(checker.read_network(case.content), asked, STEP, float32=True)
    know_all(proof)
    opened, rows = checker.opened(proof.rooted), 40
    shared = [rows, 0, 8, 0, *[0] * rows, *[1] * (3 + 2 * opened + rows + 3 * rows * opened)]
    numbers = checker.Numbers(memoryview(varints(np.array([checker.QUADRATIC, *shared]))))
    monkeypatch.setattr(checker, "MOST_FORMS", 3 * rows)
    monkeypatch.setattr(checker.CheckedGoal, "only", lambda goal, rows: pytest.fail("made"))
    with pytest.raises(InvalidError, match="too many rows"):
        proof.refute(proof.goal, numbers)


def test_other_regions_are_refused(make_case: Callable[..., Any]) -> None:
    for norm, float32 in ((Norm.L1, 0.0), (Norm.L2, 0.125), (Norm.LINF, 0.125)):
        case = make_case(1, SIZES, norm, False)
        proof = Proof(checker.read_network(case.content), ball_proof.checked_query(case.asked), 0.25, STEP, float32)
        with pytest.raises(InvalidError, match="quadratic bounds"):
            checker.QuadraticBounds(proof, STEP)


TEXT = """(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const X_2 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(declare-const Y_2 Real)
{ends}
(assert (or (and (>= Y_0 {first})) (and (>= Y_1 {second}) (<= Y_0 100.0))))
"""


@pytest.mark.parametrize("float32", [False, True])
def test_properties(
    make_case: Callable[..., Any], squared: None, float32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cases of one box; spliced onto a text that some point satisfies the same numbers are refused."""
    case, rng = make_case(5, (3, 6, 5, 3), Norm.LINF, False), np.random.default_rng(5)
    read, least = list[Any](), checker.QuadraticBounds.least
    monkeypatch.setattr(checker.QuadraticBounds, "least", lambda *given: read.append(given) or least(*given))
    low, high = np.full(3, 0.25), np.full(3, 0.75)
    net = checker.read_network(case.content)
    points = rng.choice([0.25, 0.5, 0.75], (200, 3))
    scores = np.array([[float(v) for v in _scores(net, x)] for x in points])
    most = scores.max(axis=0)
    ends = "\n".join(f"(assert (>= X_{i} {low[i]}))\n(assert (<= X_{i} {high[i]}))" for i in range(3))
    text = TEXT.format(ends=ends, first=repr(float(most[0]) + 0.2), second=repr(float(most[1]) + 0.2))
    made = property_builder.property_certified(case.model, text.encode(), Budget(), worlds=(float32,))
    parts = checker.parse(made.content)
    assert isinstance(parts, checker.PropertyCertificate)
    assert read
    assert made.result.float32 == float32
    false = TEXT.format(ends=ends, first=repr(float(most[0]) - 0.01), second=repr(float(most[1]) + 0.2))
    other = dataclasses.replace(parts, text=false.encode())
    with pytest.raises(InvalidError):
        checker.property_checked(other, case.content, None)
    # Where the checker reads no such forms, there are trees alone.
    monkeypatch.setattr(squared_cases, "MOST_FORMS", 0)
    read.clear()
    property_builder.property_certified(case.model, text.encode(), Budget(), worlds=(float32,))
    assert not read


def _scores(net: checker.CheckedNetwork, x: np.ndarray) -> list[Fraction]:
    values, den = net.forward(*checker.exact(x.tolist()))
    return [Fraction(int(value), den) for value in values]
