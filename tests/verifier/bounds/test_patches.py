"""Bounds by receptive fields: never above what points attain in exact arithmetic, above lines, near the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import Block, Stages, to_stages
from encoders.network.graph import Array
from verifier.bounds import patches as module
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.patch_cases import PatchLines
from verifier.bounds.patches import PatchBound, patch_bounds, patches
from verifier.bounds.relu_lines import lower_slope
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm
from verifier.solvers.branch_and_bound import hidden_bounds


@pytest.fixture
def norm() -> Norm:
    """Patches are bounded over boxes."""
    return Norm.LINF


@pytest.fixture
def made(conv_net: Callable[[int], Any]) -> Callable[[int], tuple[Stages, Ball, PatchLines, Array]]:
    """A net of two convolutions, a ball most of whose ReLUs are open, and a row over its second layer."""

    def make(seed: int) -> tuple[Stages, Ball, PatchLines, Array]:
        net, rng = conv_net(seed), np.random.default_rng(seed)
        ball = Ball(Norm.LINF, rng.uniform(0.2, 0.8, net.lo.size), 0.3, net.lo, net.hi)
        stages = to_stages(net.graph)
        lower, upper = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
        row = rng.normal(size=stages.stages[1].size)
        return stages, ball, PatchLines(lower, upper, lower_slope(lower, upper)), row

    return make


def exact(stages: Stages, bound: PatchBound, x: Array) -> Fraction:
    """row · h − pull · x at a point, as a rational."""
    values = [Fraction(entry) for entry in x.tolist()]
    point = values
    for number in (0, 1):
        stage = stages.stages[number]
        matrix = stage.blocks[number].matrix.toarray().tolist()
        sums = [
            sum((Fraction(w) * v for w, v in zip(weights, values, strict=True) if w), Fraction(constant))
            for weights, constant in zip(matrix, stage.constant.tolist(), strict=True)
        ]
        values = [max(total, Fraction(0)) for total in sums]
    return sum((Fraction(w) * v for w, v in zip(bound.row.tolist(), values, strict=True)), Fraction(0)) - sum(
        (Fraction(w) * v for w, v in zip(bound.pull.tolist(), point, strict=True)), Fraction(0)
    )


def attained(stages: Stages, bound: PatchBound, ball: Ball, rng: np.random.Generator) -> Array:
    """The point that a descent from many corners finds best."""
    low, high = ball.interval
    points = np.where(rng.random((256, low.size)) < 0.5, low, high)
    first, second = (stages.stages[number].blocks[number].matrix.toarray() for number in (0, 1))
    one, two = (stages.stages[number].constant for number in (0, 1))
    best, least = points[0], np.inf
    for step in range(60):
        below = points @ first.T + one
        above = np.maximum(below, 0.0) @ second.T + two
        values = np.maximum(above, 0.0) @ bound.row - points @ bound.pull
        if values.min() < least:
            best, least = points[int(values.argmin())].copy(), float(values.min())
        slope = ((bound.row * (above > 0)) @ second * (below > 0)) @ first - bound.pull
        points = np.clip(points - (high - low) * 0.9**step * np.sign(slope), low, high)
    return best


@pytest.mark.parametrize("cases", [1, 40, 4000])
def test_never_above_what_a_point_attains_in_exact_arithmetic(made: Callable[[int], Any], cases: int) -> None:
    found = 0
    for seed in range(4):
        stages, ball, relus, row = made(seed)
        rng = np.random.default_rng(seed)
        for bound in patch_bounds(stages, ball, patches(stages), row, relus, Budget(), cases):
            found += 1
            assert set(np.flatnonzero(bound.row)) <= set(np.flatnonzero(row))
            assert Fraction(bound.value) <= exact(stages, bound, attained(stages, bound, ball, rng))
            for _ in range(2):
                assert Fraction(bound.value) <= exact(stages, bound, rng.uniform(*ball.interval))
    assert found >= 2


def test_near_what_points_attain_where_all_cases_are_looked_at(
    made: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trees: list[Any] = []
    begin = module.PatchCases.__init__

    def noted(self: Any, network: Any) -> None:
        begin(self, network)
        trees.append(self)

    monkeypatch.setattr(module.PatchCases, "__init__", noted)
    lacks, gains = list[float](), list[float]()
    for seed in range(3):
        stages, ball, relus, row = made(seed)
        rng = np.random.default_rng(seed)
        for bound in patch_bounds(stages, ball, patches(stages), row, relus, Budget(), 4000):
            by_lines = next(tree.first for tree in trees if np.all(np.isin(tree.network.pull, bound.pull)))
            lack = float(exact(stages, bound, attained(stages, bound, ball, rng))) - bound.value
            lacks.append(lack)
            gains.append(bound.value - by_lines)
    assert min(gains) > 0.0
    assert sum(lacks) < 0.25 * sum(gains)


def test_every_evaluation_in_single_precision_is_included(made: Callable[[int], Any]) -> None:
    stages, ball, relus, row = made(1)
    charged = replace(stages, unit=2.0**-24)
    real = patch_bounds(stages, ball, patches(stages), row, relus, Budget(), 200)
    found = patch_bounds(charged, ball, patches(charged), row, relus, Budget(), 200)
    assert found
    for one, other in zip(found, real, strict=True):
        assert one.value < other.value
        assert one.value > other.value - 1e-3


def test_multipliers_of_noise_prove_less_and_nothing_wrong(
    made: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, ball, relus, row = made(2)
    rng = np.random.default_rng(2)
    honest = {b.pull.tobytes(): b.value for b in patch_bounds(stages, ball, patches(stages), row, relus, Budget(), 100)}
    multipliers = module.PatchCases.multipliers

    def noisy(self: Any, cases: slice) -> tuple[Array, Array, Array]:
        phases, alpha, beta = multipliers(self, cases)
        return phases, rng.uniform(-1, 2, alpha.shape), beta + rng.normal(size=beta.shape)

    monkeypatch.setattr(module.PatchCases, "multipliers", noisy)
    for bound in patch_bounds(stages, ball, patches(stages), row, relus, Budget(), 100):
        assert bound.value < honest[bound.pull.tobytes()]
        assert Fraction(bound.value) <= exact(stages, bound, attained(stages, bound, ball, rng))


def test_dense_nets_and_single_layers_have_no_patches(truth: Any) -> None:
    rng = np.random.default_rng(0)
    dense = [(rng.normal(size=(m, n)), rng.normal(size=m)) for n, m in ((4, 6), (6, 5), (5, 3))]
    assert not patches(to_stages(truth.of_layers(*dense).graph))
    assert not patches(to_stages(truth.of_layers(dense[0], (rng.normal(size=(3, 6)), np.zeros(3))).graph))


def test_what_rounding_has_cancelled_belongs_to_a_receptive_field(made: Callable[[int], Any]) -> None:
    stages, *_ = made(0)
    second = stages.stages[1]
    sizes = abs(second.blocks[1].matrix).tolil()
    rows = patches(stages)[0].rows
    sizes[rows, 53] = 1e-3
    lossy = replace(second, blocks={1: Block(second.blocks[1].matrix, sizes.tocsr())})
    found = patches(replace(stages, stages=(stages.stages[0], lossy, *stages.stages[2:])))
    assert 53 in found[0].columns
    assert set(found[0].inputs) > set(patches(stages)[0].inputs)


def test_rows_that_share_nothing_have_none(made: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stages, *_ = made(0)
    assert len(patches(stages)) == 6
    looked: list[int] = []
    read = module._read
    monkeypatch.setattr(module, "_read", lambda matrix, row: looked.append(row) or read(matrix, row))
    monkeypatch.setattr(module, "MOST", 4)
    assert not patches(stages)
    assert max(looked) == 16


def test_the_budget_is_looked_at(made: Callable[[int], Any]) -> None:
    stages, ball, relus, row = made(0)
    with pytest.raises(OutOfTimeError):
        patch_bounds(stages, ball, patches(stages), row, relus, Budget(0.0))


def test_fields_that_read_no_input_are_left_out(truth: Any, conv_net: Callable[[int], Any]) -> None:
    """Rounding alone leaves their signs open."""
    rng = np.random.default_rng(0)
    (first, offset), (second, constant), *rest = ((w.copy(), b.copy()) for w, b in conv_net(0).layers)
    dead = np.arange(54) % 3 == 2
    first[dead], offset[dead] = 0.0, 1.0
    second[np.ix_(np.arange(24) % 4 > 1, ~dead)] = 0.0
    constant[np.arange(24) % 4 > 1] = -second[np.arange(24) % 4 > 1].sum(axis=1)
    net = truth.of_layers((first, offset), (second, constant), *rest)
    ball, stages = Ball(Norm.LINF, rng.uniform(0.2, 0.8, 40), 0.3, net.lo, net.hi), to_stages(net.graph)
    lower, upper = hidden_bounds(stages, linear_bounds(net.graph, ball, Budget()))
    relus = PatchLines(lower - 1e-6, upper + 1e-6, lower_slope(lower, upper))
    fields = patches(stages)
    assert len(fields) == 6
    assert all(field.inputs.size == 10 for field in fields)
    assert patch_bounds(stages, ball, fields, rng.normal(size=24), relus, Budget(), 500)
