"""The best whole numbers within a radius for a linear form, against the enumeration of all."""

from __future__ import annotations

import itertools

import numpy as np

from verifier import Columns, attack, load
from verifier.problem.inputs.lattice import lattice_of
from verifier.problem.query import Norm
from verifier.search.lattice_ascent import LatticeAscent


def test_no_whole_numbers_within_the_radius_are_much_better() -> None:
    """Worse than the best by no more than a step of the entry that pulls most; the best itself in 54 cases."""
    rng, best = np.random.default_rng(0), 0
    for _ in range(100):
        x = rng.integers(0, 9, 4) / 8
        lattice = lattice_of(Columns(grid=8), x, np.zeros(4), np.ones(4), np.dtype(np.float32), Norm.L2)
        gradient, amount = rng.standard_normal(4), int(rng.integers(1, 40))
        found = LatticeAscent(lattice).best(gradient, np.sqrt(amount) / 8) - lattice.at
        assert found @ found <= amount
        assert np.all((lattice.first <= found + lattice.at) & (found + lattice.at <= lattice.last))
        ranges = [range(a, b + 1) for a, b in zip(lattice.first - lattice.at, lattice.last - lattice.at, strict=True)]
        every = np.array(list(itertools.product(*ranges)))
        most = float((every[(every * every).sum(axis=1) <= amount] @ gradient).max())
        assert gradient @ found >= most - np.abs(gradient).max()
        best += bool(np.isclose(gradient @ found, most))
    assert best >= 40


def test_what_the_gradient_does_not_pull_stays_where_it_is() -> None:
    x = np.array([1.0, 0.0, 1.0, 0.0])
    columns = Columns(integer=(0, 3), one_hot=((1, 2),))
    lattice = lattice_of(columns, x, np.full(4, -3.0), np.full(4, 3.0), np.dtype(np.float32), Norm.L2)
    ascent = LatticeAscent(lattice)
    assert ascent.best(np.zeros(4), 2.0).tolist() == [1, 0, 1, 0]
    assert ascent.best(np.array([0.0, 9.0, -9.0, 1.0]), 2.0).tolist() == [1, 0, 1, 2]


def test_an_attack_on_few_levels_of_grey_finds_a_point_near_the_real_one() -> None:
    """Of fourths rounding leaves no step of an image that L2 spreads over hundreds of pixels."""
    model = load("mnist_n_decayed")
    rng = np.random.default_rng(3)
    x = (rng.integers(0, 5, 784) * (rng.random(784) < 0.2) / 4).astype(np.float32)
    found, real = attack(model, x, norm="l2", columns=Columns(grid=4)), attack(model, x, norm="l2")
    assert found.witness is not None
    assert np.all(found.witness.point * 4 == np.rint(found.witness.point * 4))
    assert found.upper < 4.0 * real.upper
