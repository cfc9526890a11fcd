"""Every norm × every method of its class, on small random balls against rational arithmetic and points inside."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.network.graph import Array
from verifier.problem.norms.geometry import Geometry
from verifier.problem.norms.table import GEOMETRIES
from verifier.problem.query import Ball, Norm, distance_exact

ROUNDING = Fraction(1, 10**12)
"""Relative to Σ |g_i|·(|x_i| + radius): float64 sums of a few products."""

SINGLE = 1e-5
"""The same for float32."""

CLOSE = Fraction(1, 2**100)
"""Relative: of roots that are irrational."""


def root(square: Fraction) -> Fraction:
    """√square to 150 bits or more, rounded down; exact where it is a number of 150 binary places."""
    return Fraction(math.isqrt((square.numerator << 4400) // square.denominator), 1 << 2200)


LENGTHS: dict[Norm, Callable[[list[Fraction]], Fraction]] = {
    Norm.LINF: lambda gaps: max(gaps, default=Fraction(0)),
    Norm.L1: lambda gaps: sum(gaps, Fraction(0)),
    Norm.L2: lambda gaps: root(sum((gap * gap for gap in gaps), Fraction(0))),
}
"""The norms by definition."""


def filled(moves: Sequence[tuple[Fraction, Fraction]], radius: Fraction) -> Fraction:
    """The most that slopes are worth when their moves add up to the radius."""
    total, left = Fraction(0), radius
    for steep, room in sorted(moves, reverse=True):
        used = min(room, left)
        total, left = total + steep * used, left - used
    return total


def rounded(moves: Sequence[tuple[Fraction, Fraction]], radius: Fraction) -> Fraction:
    """The most that slopes are worth when the squares of their moves add up to the radius's: entries whose slope would
    have them move farthest beyond their room stop there, one after the other."""
    free, total, left = [move for move in moves if move[0]], Fraction(0), radius * radius
    while free:
        squares = sum((steep * steep for steep, _ in free), Fraction(0))
        steep, room = min(free, key=lambda move: move[1] / move[0])
        if room * room * squares >= steep * steep * left:
            return total + root(left * squares)
        total, left = total + steep * room, left - room * room
        free.remove((steep, room))
    return total


FALLS: dict[Norm, Callable[[Sequence[tuple[Fraction, Fraction]], Fraction], Fraction]] = {
    Norm.LINF: lambda moves, radius: sum((steep * min(room, radius) for steep, room in moves), Fraction(0)),
    Norm.L1: filled,
    Norm.L2: rounded,
}
"""S(r) of (slope, room) pairs, in rational arithmetic."""


def fractions(values: Array) -> list[Fraction]:
    return [Fraction(value) for value in values.tolist()]


def product(row: Array, x: Sequence[Fraction]) -> Fraction:
    return sum((Fraction(a) * b for a, b in zip(row.tolist(), x, strict=True)), Fraction(0))


class Case:
    """A ball of one norm, linear forms, points that lie in it exactly, and the truth about them."""

    def __init__(self, norm: Norm, seed: int) -> None:
        self.norm, self.rng = norm, np.random.default_rng(seed)
        rng, size = self.rng, int(self.rng.integers(1, 7))
        centre = rng.choice([0.0, 0.25, 1.0, rng.random()], size)
        wide = rng.choice([1.0, 1e3], size)
        ends = centre - wide * rng.random(size) * rng.integers(0, 2, size), centre + wide * rng.random(size)
        self.radius = float(rng.choice([1e-9, 0.1, 0.7, 2.5]))
        self.ball = Ball(norm, centre, self.radius, *ends)
        self.geometry = self.ball.geometry
        self.rows = rng.normal(size=(5, size)) * rng.integers(0, 2, (5, size))
        self.rows[0] = np.round(self.rows[0])  # ties

    def length(self, x: Sequence[Fraction]) -> Fraction:
        centre = fractions(self.ball.centre)
        return LENGTHS[self.norm]([abs(a - b) for a, b in zip(x, centre, strict=True)])

    def fall(self, row: Array, radius: float | None = None) -> Fraction:
        ball = self.ball
        rooms = [
            abs(Fraction(lo if slope > 0 else hi) - Fraction(centre))
            for slope, centre, lo, hi in zip(row, ball.centre, ball.lo, ball.hi, strict=True)
        ]
        return FALLS[self.norm](
            [(abs(slope), room) for slope, room in zip(fractions(row), rooms, strict=True)],
            Fraction(self.radius if radius is None else radius),
        )

    def least(self, row: Array) -> Fraction:
        return product(row, fractions(self.ball.centre)) - self.fall(row)

    def slack(self, row: Array) -> Fraction:
        reach = np.abs(self.ball.centre) + np.maximum(self.radius, 1.0)
        return ROUNDING * (Fraction(float(np.abs(row) @ reach)) + Fraction(1, 10**9))

    def points(self) -> list[list[Fraction]]:
        """Steps in random directions as far as the ball and the box let them."""
        rng, ball, found = self.rng, self.ball, []
        centre, radius = fractions(ball.centre), Fraction(self.radius)
        for _ in range(20):
            step = fractions(rng.normal(size=ball.centre.size) * rng.integers(0, 2, ball.centre.size))
            length = LENGTHS[self.norm]([abs(part) for part in step])
            factor = radius / length if length else Fraction(0)
            ends = zip(centre, step, fractions(ball.lo), fractions(ball.hi), strict=True)
            found.append([min(max(at + factor * part, lo), hi) for at, part, lo, hi in ends])
        return found

    def assert_within(self, x: Array, slack: float = 0.0) -> None:
        ball, room = self.ball, slack + 1e-15 * float(1.0 + np.abs(self.ball.centre).max())
        assert np.all((x >= ball.lo - slack) & (x <= ball.hi + slack))
        assert self.length(fractions(x)) <= Fraction(self.radius) + x.size * Fraction(room)


def check_room(case: Case) -> None:
    ball, room = case.ball, case.geometry.room
    for found, ends, starts in ((room.down, ball.centre, ball.lo), (room.up, ball.hi, ball.centre)):
        for width, end, start in zip(found.tolist(), ends.tolist(), starts.tolist(), strict=True):
            exact = Fraction(end) - Fraction(start)
            assert exact <= Fraction(width) <= exact * (1 + ROUNDING)
    row = case.rows[1]
    np.testing.assert_array_equal(room.at(row)[row > 0], room.down[row > 0])
    np.testing.assert_array_equal(room.at(row)[row < 0], room.up[row < 0])


def check_box(case: Case, lower: Array, upper: Array, radius: float) -> None:
    ball = case.ball
    for at, lo, hi, low, high in zip(*map(fractions, (ball.centre, ball.lo, ball.hi, lower, upper)), strict=True):
        first, last = max(lo, at - Fraction(radius)), min(hi, at + Fraction(radius))
        assert low <= first
        assert last <= high
        assert high - low <= last - first + ROUNDING * (1 + abs(at))


def check_interval(case: Case) -> None:
    check_box(case, *case.geometry.interval, case.radius)
    whole = case.ball.with_radius(math.inf)
    assert whole.interval == (whole.lo, whole.hi)


def check_interval_at(case: Case) -> None:
    check_box(case, *case.geometry.interval_at(0.3), 0.3)


def check_is_box(case: Case) -> None:
    """A box's corners are in the ball."""
    assert case.ball.with_radius(math.inf).geometry.is_box
    lower, upper = case.geometry.interval
    farthest = np.where(upper - case.ball.centre > case.ball.centre - lower, upper, lower)
    inside = case.length(fractions(farthest)) <= Fraction(case.radius) + ROUNDING
    assert inside or not case.geometry.is_box
    if np.count_nonzero(farthest - case.ball.centre) > 1 and case.radius > 1e-3:
        assert inside == case.geometry.is_box or case.radius >= case.ball.reach


def check_split_moves(case: Case) -> None:
    """Σ (p + m) ≤ r where it says so, else bounds: the two describe the same set as the norm."""
    if not case.geometry.has_flat_sides:
        with pytest.raises(InputError, match="have no flat sides"):
            _ = case.geometry.split_moves
        return
    for x in case.points():
        moves = [abs(a - b) for a, b in zip(x, fractions(case.ball.centre), strict=True)]
        assert case.length(x) == (sum(moves, Fraction(0)) if case.geometry.split_moves else max(moves))


def check_left(case: Case) -> None:
    """Points of a box are no farther from its nearest point to the centre than that."""
    ball, rng = case.ball, np.random.default_rng(0)
    for corner in rng.uniform(ball.lo, ball.hi, (5, ball.centre.size)):
        low, high = np.minimum(corner, 0.5 * (corner + ball.hi)), 0.5 * (corner + ball.hi)
        nearest = np.clip(ball.centre, low, high)
        for x in rng.uniform(low, high, (5, ball.centre.size)):
            radius = float(np.nextafter(float(case.length(fractions(x))), np.inf))
            steps = [a - b for a, b in zip(fractions(x), fractions(nearest), strict=True)]
            farthest = [b + step for b, step in zip(fractions(ball.centre), steps, strict=True)]
            assert case.length(farthest) <= Fraction(case.geometry.left(radius, nearest - ball.centre))


def check_reach(case: Case) -> None:
    ball = case.ball
    corners = itertools.product(*zip(fractions(ball.lo), fractions(ball.hi), strict=True))
    farthest = max(case.length(corner) for corner in corners)
    assert farthest <= Fraction(ball.reach) <= farthest * (1 + 10 * ROUNDING) + Fraction(1, 10**300)


def check_length(case: Case) -> None:
    points = case.ball.centre + case.rows
    exact = [float(case.length(fractions(point))) for point in points]
    assert case.ball.length(points) == pytest.approx(exact, rel=1e-14)
    assert float(case.ball.length(points[0])) == pytest.approx(exact[0], rel=1e-14)


def check_longest(case: Case) -> None:
    room = np.abs(case.rows[1])
    exact = LENGTHS[case.norm](fractions(room))
    assert abs(Fraction(case.geometry.longest(room)) - exact) <= exact / 2**51
    assert case.geometry.longest(np.append(room, np.inf)) == math.inf


def check_distance_exact(case: Case) -> None:
    for row in case.rows:
        x = case.ball.centre + row
        exact, found = case.length(fractions(x)), distance_exact(case.norm, x, case.ball.centre)
        assert exact <= found <= exact * (1 + CLOSE)
        assert found == exact or case.norm is Norm.L2


def check_directions(case: Case) -> None:
    found = case.geometry.directions(np.random.default_rng(1), (400, 3))
    assert found.shape == (400, 3)
    assert case.geometry.length(found) == pytest.approx(1.0)
    assert np.all(np.abs(np.mean(found > 0, axis=0) - 0.5) < 0.1)
    np.testing.assert_array_equal(found, case.geometry.directions(np.random.default_rng(1), (400, 3)))


def check_dual_norm(case: Case) -> None:
    size = case.ball.centre.size
    free = Case(case.norm, 0)
    free.ball = Ball(case.norm, np.zeros(size), 1.0, np.full(size, -2.0), np.full(size, 2.0))
    for row, found in zip(case.rows, case.geometry.dual_norm(case.rows).tolist(), strict=True):
        exact = free.fall(row, 1.0)
        assert abs(Fraction(found) - exact) <= ROUNDING * exact


def check_minimum(case: Case) -> None:
    for row, found in zip(case.rows, case.geometry.minimum(case.rows).tolist(), strict=True):
        exact = case.least(row)
        assert exact - case.slack(row) <= Fraction(found) <= exact
        assert all(Fraction(found) <= product(row, x) for x in case.points())


def check_minimiser(case: Case) -> None:
    for row, point in zip(case.rows, case.geometry.minimiser(case.rows), strict=True):
        case.assert_within(point)
        assert product(row, fractions(point)) <= case.least(row) + case.slack(row)


def check_sizes(case: Case) -> None:
    magnitudes = np.abs(case.rows)
    for row, found in zip(magnitudes, case.geometry.sizes(magnitudes).tolist(), strict=True):
        for x in case.points():
            assert product(row, [abs(part) for part in x]) <= Fraction(found) + case.slack(row)


def check_falls(case: Case) -> None:
    for row, found in zip(case.rows, case.geometry.falls(case.rows, case.radius).tolist(), strict=True):
        assert abs(Fraction(found) - case.fall(row)) <= case.slack(row)


def check_fall(case: Case) -> None:
    for row in case.rows:
        for radius in (0.0, 0.3, case.radius):
            assert abs(Fraction(case.geometry.fall(row, radius)) - case.fall(row, radius)) <= case.slack(row)


def check_excluded(case: Case) -> None:
    for row in case.rows:
        for share in (0.0, 0.4, 1.0, 1.5):
            amount = share * float(case.fall(row))
            found = case.geometry.excluded(row, amount, case.radius)
            assert 0.0 <= found <= case.radius
            assert case.fall(row, found) <= Fraction(amount) + case.slack(row)
            assert found == case.radius or case.fall(row, found) >= Fraction(amount) - case.slack(row)
        assert case.geometry.excluded(row, -1e-300, case.radius) == 0.0
        for overflown in (math.nan, math.inf):
            assert case.geometry.excluded(row, overflown, case.radius) == 0.0


def check_excluded_each(case: Case) -> None:
    """Rows beside others, with amounts of their own, as alone."""
    shares = np.resize([0.4, 0.0, 1.0, -1.0, 1.5, np.nan], len(case.rows))
    amounts = shares * case.geometry.falls(case.rows, case.radius)
    found = case.geometry.excluded_each(case.rows, amounts, case.radius)
    for row, amount, radius in zip(case.rows, amounts.tolist(), found.tolist(), strict=True):
        assert radius == pytest.approx(case.geometry.excluded(row, amount, case.radius), rel=1e-12)


def check_gains(case: Case) -> None:
    """An entry that joins adds no more than its gain at the prices of the others."""
    for row in case.rows:
        for place in range(row.size):
            present = np.arange(row.size) != place
            gains = case.geometry.gains(row, case.radius, present)
            assert np.all(gains >= 0)
            added = case.fall(row) - case.fall(np.where(present, row, 0.0))
            assert added <= Fraction(float(gains[place])) + case.slack(row)
            assert Fraction(float(gains[place])) <= case.fall(np.where(present, 0.0, row)) + case.slack(row)
        assert np.all(case.geometry.gains(row, case.radius, np.ones(row.size, dtype=bool))[row == 0] == 0)


def check_steps(case: Case) -> None:
    for row, step in zip(case.rows, case.geometry.steps(case.rows, case.radius), strict=True):
        case.assert_within(case.ball.centre + step, 1e-12)
        assert abs(-product(row, fractions(step)) - case.fall(row)) <= case.slack(row)


def check_farthest(case: Case) -> None:
    for row in case.rows:
        x = case.geometry.farthest(row, case.radius)
        case.assert_within(x)
        assert product(row, fractions(x)) <= case.least(row) + case.slack(row)


def check_ascent_share(case: Case) -> None:
    shares = [case.geometry.ascent_share(step, 12) for step in range(12)]
    assert all(1.0 > first > second > 0.0 for first, second in itertools.pairwise(shares))


def check_ascended(case: Case) -> None:
    """Steps stay in the ball, do not fall, and many of them reach the point where the form is largest."""
    for row in case.rows:
        x = case.ball.centre
        for step in range(300):
            share = case.geometry.ascent_share(step, 300)
            moved = case.geometry.ascended(x, row, case.radius, share)
            assert row @ moved >= row @ x - float(case.slack(row))
            x = moved
        case.assert_within(x, 1e-12)
        best = case.least(-row)
        assert -product(row, fractions(x)) - best <= case.slack(row) + Fraction(1, 10**4) * case.fall(-row)


def check_least_of_batch(case: Case) -> None:
    points, values = case.geometry.least_of_batch(case.rows.T.astype(np.float32))
    for row, point, value in zip(case.rows, points.T.astype(np.float64), values.tolist(), strict=True):
        near = SINGLE * float(1.0 + np.abs(case.ball.centre).max())
        case.assert_within(point, near)
        slack = near * float(np.abs(row).sum()) + 1e-9
        assert value == pytest.approx(float(case.least(row)), abs=slack)
        assert row @ point == pytest.approx(float(case.least(row)), abs=slack)


def check_box_minimum(case: Case) -> None:
    lower, upper = case.geometry.interval
    for row, found in zip(case.rows, case.geometry.box_minimum(case.rows).tolist(), strict=True):
        exact = product(row, fractions(np.where(row > 0, lower, upper)))
        assert exact - case.slack(row) <= Fraction(found) <= exact


def check_box_minimiser(case: Case) -> None:
    lower, upper = case.geometry.interval
    found = case.geometry.box_minimiser(case.rows)
    np.testing.assert_array_equal(found[case.rows > 0], np.broadcast_to(lower, found.shape)[case.rows > 0])
    np.testing.assert_array_equal(found[case.rows < 0], np.broadcast_to(upper, found.shape)[case.rows < 0])


def check_box_sizes(case: Case) -> None:
    magnitudes, farthest = np.abs(case.rows), np.maximum(*np.abs(case.geometry.interval))
    exact = [product(row, fractions(farthest)) for row in magnitudes]
    assert case.geometry.box_sizes(magnitudes) == pytest.approx([float(size) for size in exact], rel=1e-14)


CHECKS: dict[str, Callable[[Case], None]] = {
    name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")
}
del CHECKS["box"]  # a helper

UNCHECKED = {"has_flat_sides", "has_kernels", "is_euclidean"}
"""What the tests of the kernels and of the trees are about."""


def test_each_norm_has_one_class() -> None:
    assert set(GEOMETRIES) == set(LENGTHS) == set(FALLS) == set(Norm)
    assert all(kind.norm is norm for norm, kind in GEOMETRIES.items())


def test_no_method_is_left_out() -> None:
    assert {name for name in vars(Geometry) if not name.startswith("_")} == CHECKS.keys() | UNCHECKED


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("norm", Norm)
def test_methods_are_true(norm: Norm, name: str) -> None:
    for seed in range(25):
        CHECKS[name](Case(norm, seed))
