"""The exact distance against all differences as rationals."""

from fractions import Fraction

import numpy as np
import pytest

from verifier.problem.query import Ball, Norm, distance_exact

SEEDS = range(40)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_distance_is_that_of_all_differences(norm: Norm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 1, 50) * rng.choice([1e-9, 1.0, 1e9])
    # Many entries a radius away, as at a corner of a ball: the largest differences are apart by rounding alone.
    x = centre + rng.choice([-1.0, 0.0, 1.0], 50) * rng.choice([1e-3, 0.1, 1.0])
    x = np.where(rng.random(50) < 0.3, np.nextafter(x, rng.choice([-np.inf, np.inf], 50)), x)
    gaps = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x.tolist(), centre.tolist(), strict=True)]
    assert distance_exact(norm, x, centre) == (max(gaps) if norm is Norm.LINF else sum(gaps))


def test_differences_beyond_the_largest_float_are_compared() -> None:
    x, centre = [1.7e308, 1.6e308, 0.0], [-1.6e308, -1.7e308, 1.0]
    assert distance_exact(Norm.LINF, x, centre) == Fraction(1.7e308) + Fraction(1.6e308)


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
def test_nothing_moved_is_no_distance(norm: Norm) -> None:
    assert distance_exact(norm, [], []) == distance_exact(norm, [0.5, 1.0], [0.5, 1.0]) == 0


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.parametrize(("entry", "error"), [(float("nan"), ValueError), (float("inf"), OverflowError)])
def test_what_is_no_number_has_no_distance(norm: Norm, entry: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        distance_exact(norm, [0.5, entry, 0.2], [0.5, 0.5, 0.9])


def test_a_box_is_a_region_without_an_input() -> None:
    region = Ball.of_box([-1.0, 2.0, -1e300], [3.0, 2.0, 1e300])
    np.testing.assert_array_equal(region.centre, [1.0, 2.0, 0.0])
    finite = region.finite
    assert all(np.array_equal(end, found) for end, found in zip(region.interval, finite.interval, strict=True))
    assert region.reach >= 1e300


def test_the_middle_of_a_box_with_an_open_end_lies_in_it() -> None:
    region = Ball.of_box([-np.inf, 5.0, -np.inf], [-7.0, np.inf, np.inf])
    np.testing.assert_array_equal(region.centre, [-7.0, 5.0, 0.0])
    assert not region.bounded
