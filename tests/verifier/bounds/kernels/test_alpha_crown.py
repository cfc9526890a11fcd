"""Bounds of ReLU arguments by blocks of rows: exact values lie within, and they are as tight as numpy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Conv, Dense, readonly
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import Effort, linear_bounds
from verifier.bounds.kernels.alpha_crown import LANES, climb
from verifier.bounds.kernels.block_bounds import BlockBounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm
from verifier.problem.rounding import FLOAT32, REAL, Arithmetic

TIGHT = 1.01
"""Widths in all against numpy's: the same steps in float32, and charges that are counted by stages."""


def by_blocks(
    graph: Graph, region: Ball, budget: Budget, effort: Effort | None = None, arithmetic: Arithmetic = REAL
) -> NodeBounds:
    stages = to_stages(graph, arithmetic.unit, arithmetic.floors(graph))
    return linear_bounds(graph, region, budget, effort, arithmetic, BlockBounds(stages, region))


def mixed(rng: np.random.Generator) -> Graph:
    """A convolution of two channels and two dense layers, with more rows than a block has."""
    builder = GraphBuilder(36)
    first = Conv(readonly(rng.normal(size=(4, 1, 3, 3))), (6, 6), (1, 1), (1, 1), (0, 0, 0, 0))
    last = builder.relu(builder.affine([(first, 0)], 0.1 * rng.normal(size=first.out_size)))
    for n, m in ((first.out_size, 3 * LANES), (3 * LANES, LANES + 3)):
        weight = rng.normal(size=(m, n)) / np.sqrt(n)
        last = builder.relu(builder.affine([(Dense(readonly(weight)), last)], 0.1 * rng.normal(size=m)))
    return builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(2, LANES + 3)))), last)], np.zeros(2)))


def width(graph: Graph, bounds: NodeBounds) -> float:
    arguments = [graph.nodes[index].sources[0] for index in graph.relus()]
    return sum(float((bounds.upper[index] - bounds.lower[index]).sum()) for index in arguments)


def test_every_exact_value_is_inside(setting: Any) -> None:
    for effort in (Effort(neuron_iterations=0), Effort(neuron_iterations=4)):
        bounds = by_blocks(setting.graph, setting.region, Budget(), effort)
        assert bounds.proved
        setting.contains(bounds)


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_as_tight_as_numpy(norm: Norm, make_setting: Callable[[str, str, Norm], Any]) -> None:
    rng = np.random.default_rng(5)
    graph = mixed(rng)
    radius = {Norm.LINF: 0.05, Norm.L2: 0.2, Norm.L1: 0.5}[norm]
    region = Ball(norm, rng.random(36), radius, np.zeros(36), np.ones(36))
    none = width(graph, linear_bounds(graph, region, Budget(0.0)))
    for iterations in (0, 6):
        effort = Effort(neuron_iterations=iterations)
        wanted = width(graph, linear_bounds(graph, region, Budget(), effort))
        assert width(graph, by_blocks(graph, region, Budget(), effort)) <= TIGHT * wanted < none
    for name in ("dense", "conv", "residual"):
        setting = make_setting(name, "clipping box", norm)
        wanted = width(setting.graph, linear_bounds(setting.graph, setting.region, Budget()))
        assert width(setting.graph, by_blocks(setting.graph, setting.region, Budget())) <= TIGHT * wanted


def test_samples_of_a_larger_net_are_inside() -> None:
    rng = np.random.default_rng(6)
    graph = mixed(rng)
    region = Ball(Norm.LINF, rng.random(36), 0.1, np.zeros(36), np.ones(36))
    stages, bounds = to_stages(graph), by_blocks(graph, region, Budget())
    arguments, _ = stages.values(region.geometry.minimiser(rng.normal(size=(200, 36))))
    lower, upper = (np.concatenate([ends[node] for node in stages.nodes[:-1]]) for ends in (bounds.lower, bounds.upper))
    assert np.all((lower <= arguments) & (arguments <= upper))
    assert np.any((lower < 0) & (upper > 0) & (arguments > 0))


def test_charges_for_float32_widen() -> None:
    rng = np.random.default_rng(7)
    graph, centre = mixed(rng), rng.random(36)
    region = Ball(Norm.LINF, centre, 0.0, centre, centre)
    real, rounded = (by_blocks(graph, region, Budget(), None, kind) for kind in (REAL, FLOAT32))
    for node in (graph.nodes[index].sources[0] for index in graph.relus()):
        assert np.all(rounded.upper[node] - rounded.lower[node] > 2.0**-24 * (real.magnitude(node)))
        assert np.all((rounded.lower[node] < real.lower[node]) & (real.upper[node] < rounded.upper[node]))


def test_what_the_time_leaves_is_proved(make_setting: Callable[[str, str, Norm], Any]) -> None:
    setting = make_setting("conv", "clipping box", Norm.L1)
    bounds = by_blocks(setting.graph, setting.region, Budget(0.0))
    plain = linear_bounds(setting.graph, setting.region, Budget(0.0))
    for found, wanted in zip((*bounds.lower, *bounds.upper), (*plain.lower, *plain.upper), strict=True):
        assert np.array_equal(found, wanted)


def test_slopes_that_are_no_numbers_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever float32 proposes, the pass in float64 is what is believed."""

    def spoilt(*arguments: Any) -> None:
        climb(*arguments)
        arguments[-3][:] = np.nan

    rng = np.random.default_rng(8)
    graph = mixed(rng)
    region = Ball(Norm.LINF, rng.random(36), 0.1, np.zeros(36), np.ones(36))
    monkeypatch.setattr("verifier.bounds.kernels.block_bounds.climb", spoilt)
    spoilt_bounds = by_blocks(graph, region, Budget())
    monkeypatch.undo()
    default = by_blocks(graph, region, Budget(), Effort(neuron_iterations=0))
    assert width(graph, spoilt_bounds) <= TIGHT * width(graph, default)
    assert not any(np.isnan(end).any() for end in (*spoilt_bounds.lower, *spoilt_bounds.upper))
