"""Networks of every shape, regions of every kind, and the exact check that bounds contain what they are to contain."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_values
from encoders.network.graph import Array, Graph, GraphBuilder
from encoders.network.linear_maps import Conv, Dense, Scale, identity, readonly, select
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_beta_crown import FIRST_SHARE, Ascending, BatchedBound, Proposed, Start
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm, distance_exact
from verifier.solvers.branch_and_bound import hidden_bounds

INWARDS = (1.0, 1.0 - 2.0**-52, 1.0 - 2.0**-40, 0.5, 0.0)
"""A sampled point that rounding puts outside the ball is pulled towards the centre by these factors."""


def dense(rng: np.random.Generator, scale: float = 1.0) -> Graph:
    builder, last = GraphBuilder(4), 0
    for n, m in ((4, 6), (6, 5), (5, 3)):
        source = builder.relu(last) if last else last
        last = builder.affine([(Dense(readonly(scale * rng.normal(size=(m, n)))), source)], scale * rng.normal(size=m))
    return builder.graph(last)


def conv(rng: np.random.Generator) -> Graph:
    builder = GraphBuilder(9)
    first = Conv(readonly(rng.normal(size=(2, 1, 2, 2))), (3, 3), (1, 1), (1, 1), (1, 0, 0, 1))
    hidden = builder.relu(builder.affine([(first, 0)], rng.normal(size=first.out_size)))
    picked = builder.affine([(select([*range(0, 18, 2), -1, 3], 18), hidden)])
    second = builder.relu(builder.affine([(Dense(readonly(rng.normal(size=(4, 11)))), picked)], rng.normal(size=4)))
    return builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(3, 4)))), second)]))


def residual(rng: np.random.Generator) -> Graph:
    """Skips, a source that occurs twice, a ReLU of the input, divisors."""
    builder = GraphBuilder(4)
    thirds = Scale(readonly(rng.normal(size=4)), readonly([3.0, -7.0, 0.1, 11.0]))
    first = builder.relu(builder.affine([(Dense(readonly(rng.normal(size=(4, 4)))), 0), (thirds, 0)], np.full(4, 0.1)))
    bent = builder.relu(0)
    joined = builder.affine([(identity(4), first), (identity(4, -0.3), first), (thirds, bent)], rng.normal(size=4))
    last = builder.relu(builder.affine([(Dense(readonly(rng.normal(size=(4, 4)))), joined), (identity(4), first)]))
    return builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(2, 4)))), last), (select([1, 3], 4), bent)]))


def cancelling(rng: np.random.Generator) -> Graph:
    """10¹⁶·x + 1 − 10¹⁶·x: the float sum loses the 1, or doubles it, depending on the order."""
    builder = GraphBuilder(3)
    sign = np.array([[1e16, 1.0, -1e16], [1e16, 1.0, 0.0], [-1e16, 1.0, 1e16]])
    first = builder.relu(builder.affine([(Dense(readonly(sign)), 0)], [1.0, 1.0, -0.5]))
    order = Dense(readonly([[1.0, -1.0, 1e16], [1e16, -1e16, 3.0]]))
    second = builder.relu(builder.affine([(order, first), (select([0, 1], 3), 0)], rng.normal(size=2)))
    return builder.graph(builder.affine([(Dense(readonly([[1.0, -1e16], [0.3, 0.1]])), second)], [0.0, 1e16]))


NETS: dict[str, Callable[[np.random.Generator], Graph]] = {
    "dense": dense,
    "huge": lambda rng: dense(rng, 1e30),
    "tiny": lambda rng: dense(rng, 1e-30),
    "conv": conv,
    "residual": residual,
    "cancelling": cancelling,
}


SHAPES = ("dense", "conv", "residual")
"""The nets on which float32 bounds are near those of real numbers."""

BATCH = 11


class Below:
    """A net, a ball with room, a goal of several rows, and nodes below their root."""

    def __init__(self, net: str, norm: Norm, seed: int = 3, rows: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.graph = NETS[net](rng)
        self.stages = to_stages(self.graph)
        size = self.stages.input_size
        centre = rng.random(size)
        centre[0] = 0.0
        radius = {Norm.LINF: 0.3, Norm.L1: 1.1, Norm.L2: 0.6}[norm]
        self.ball = Ball(norm, centre, radius, np.zeros(size), np.ones(size))
        self.ends = hidden_bounds(self.stages, linear_bounds(self.graph, self.ball, Budget()))
        outputs = self.stages.output.constant.size
        self.goal = Halfspaces(rng.normal(size=(rows, outputs)), rng.normal(size=rows))
        self.bound = BatchedBound(self.stages, self.ball, self.goal, *self.ends)
        self.lagrangian = Lagrangian(self.stages, self.ball, self.goal, *self.ends)

    def nodes(self, seed: int = 0) -> tuple[Array, Array, Start]:
        """Bounds (relu_count, BATCH), some open ReLUs fixed in all columns but the first, and any multipliers."""
        rng, count = np.random.default_rng(seed), self.bound.open.size
        lower, upper = (np.repeat(end[:, np.newaxis], BATCH, axis=1) for end in self.ends)
        chosen = (lower < 0) & (upper > 0) & (rng.random(lower.shape) < 0.4)
        chosen[:, 0] = False
        active = rng.random(lower.shape) < 0.5
        lower[chosen & active] = 0.0
        upper[chosen & ~active] = 0.0
        weights = rng.dirichlet(np.ones(len(self.goal.offset)), BATCH).T.astype(np.float32)
        alpha, beta = rng.random((count, BATCH)), 0.1 * rng.normal(size=(count, BATCH))
        alpha[:, 1] = np.nan
        start = Start(alpha.astype(np.float32), beta.astype(np.float32), weights, np.full(BATCH, FIRST_SHARE))
        return lower, upper, start

    def by(self, engines: Sequence[Ascending], steps: int, seed: int = 0) -> list[Proposed]:
        """What engines propose for the same nodes."""
        lower, upper, start = self.nodes(seed)
        own = self.bound.undecided
        return [engine.optimise(lower[own], upper[own], start, steps, Budget()) for engine in engines]


def drawn(ball: Ball) -> Array:
    """Points of the ball."""
    rng = np.random.default_rng(5)
    steps = rng.normal(size=(400, ball.centre.size))
    lengths = np.array([ball.geometry.length(step) for step in steps])
    steps *= (ball.radius * rng.random(400) / lengths)[:, np.newaxis]
    return np.asarray(np.clip(ball.centre + steps, ball.lo, ball.hi))


def ball(kind: str, norm: Norm, size: int, rng: np.random.Generator) -> Ball:
    centre = rng.random(size)
    lo, hi = np.zeros(size), np.ones(size)
    match kind:
        case "clipping box":
            centre[0], centre[-1] = 0.0, 1.0
            return Ball(norm, centre, 0.3, lo, hi)
        case "one pixel fixed":
            lo[1] = hi[1] = centre[1]
            return Ball(norm, centre, 0.4, lo, hi)
        case "point":
            return Ball(norm, centre, 0.0, lo, hi)
        case "nearly a point":
            return Ball(norm, centre, 1e-9, lo, hi)
        case "no box":
            return Ball(norm, 10 * centre - 5, 0.7, lo - np.inf, hi + np.inf)
        case "whole box":
            return Ball(norm, centre, math.inf, lo, hi)
    raise ValueError(kind)


REGIONS = ("clipping box", "one pixel fixed", "point", "nearly a point", "no box", "whole box")


def inside(region: Ball, x: Array) -> Array:
    """x pulled inwards until it lies in the region exactly."""
    for factor in INWARDS:
        pulled = np.clip(region.centre + factor * (x - region.centre), region.lo, region.hi)
        if math.isinf(region.radius) or distance_exact(region.norm, pulled, region.centre) <= region.radius:
            return pulled
    raise AssertionError("the centre itself is outside")


def samples(region: Ball, rng: np.random.Generator, graph: Graph) -> Iterator[Array]:
    """The centre, vertices of the region in random directions, points between, and ones that first layers point to."""
    size = region.centre.size
    yield np.clip(region.centre, region.lo, region.hi)
    rows = rng.normal(size=(6, size))
    rows[3:] *= rng.random((3, size)) < 0.5
    first = graph.nodes[1]
    if hasattr(first, "terms"):
        weights = first.terms[0].map.rows().toarray()[:3]
        rows = np.vstack([rows, weights, -weights])
    corners = region.geometry.minimiser(rows)
    for corner in corners:
        yield inside(region, corner)
    yield inside(region, corners[:4].mean(axis=0))


def assert_contains(graph: Graph, bounds: NodeBounds, points: Iterator[Array]) -> int:
    """Each node's exact value at each point lies within the float bounds, as fractions; the count of points."""
    count = 0
    for count, point in enumerate(points, start=1):  # noqa: B007
        for value, lower, upper in zip(exact_values(graph, point), bounds.lower, bounds.upper, strict=True):
            for entry, low, high in zip(value.fractions(), lower.tolist(), upper.tolist(), strict=True):
                assert math.isinf(low) or Fraction(low) <= entry
                assert math.isinf(high) or entry <= Fraction(high)
                assert low < math.inf
                assert high > -math.inf
    return count


class Setting:
    """One network over one region; `points` are drawn from the region, exactly inside it."""

    def __init__(self, net: str, kind: str, norm: Norm) -> None:
        self.rng = np.random.default_rng([list(NETS).index(net), REGIONS.index(kind), list(Norm).index(norm)])
        self.name, self.kind = net, kind
        self.graph = NETS[net](self.rng)
        self.region = ball(kind, norm, self.graph.input_size, self.rng)

    @property
    def points(self) -> list[Array]:
        return list(samples(self.region, self.rng, self.graph))

    def contains(self, bounds: NodeBounds) -> None:
        points = self.points
        assert assert_contains(self.graph, bounds, iter(points)) == len(points) >= 8


@pytest.fixture(params=NETS)
def net_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=REGIONS)
def region_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(Norm), ids=str)
def norm(request: pytest.FixtureRequest) -> Norm:
    chosen: Norm = request.param
    return chosen


@pytest.fixture
def setting(net_name: str, region_kind: str, norm: Norm) -> Setting:
    return Setting(net_name, region_kind, norm)


@pytest.fixture(scope="session")
def make_setting() -> Callable[[str, str, Norm], Setting]:
    return Setting
