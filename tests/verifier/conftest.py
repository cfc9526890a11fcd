"""A random network over a ball with a goal, as the modules of the search tree take it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, outputs
from encoders.network.node_bounds import NodeBounds
from tests.verifier.packs import lonely_python
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.lagrangian import Lagrangian
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm, Query, Targeted, disjuncts, distance_exact
from verifier.solvers.branch_and_bound import hidden_bounds

INWARDS = (1.0, 1.0 - 2.0**-52, 1.0 - 2.0**-40)
"""A sampled point that rounding puts outside the ball is pulled towards the centre by these factors."""


@dataclass(frozen=True, eq=False)
class Root:
    """A net, a centre in eighths inside its box, and a goal."""

    net: Any
    query: Query

    @property
    def ball(self) -> Ball:
        return self.query.region

    @property
    def goal(self) -> Halfspaces:
        return self.query.goal

    @cached_property
    def stages(self) -> Stages:
        return to_stages(self.net.graph)

    @cached_property
    def bounds(self) -> NodeBounds:
        return linear_bounds(self.net.graph, self.ball, Budget())

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """Proved bounds of all ReLU arguments."""
        return hidden_bounds(self.stages, self.bounds)

    @cached_property
    def lagrangian(self) -> Lagrangian:
        return Lagrangian(self.stages, self.ball, self.goal, *self.ends)

    @property
    def nearest(self) -> float:
        """The distance to the goal by enumeration, in the whole box."""
        return float(self.net.nearest(self.ball.norm, self.ball.centre, self.goal))

    def within(self, radius: float) -> Root:
        """The same question in another ball."""
        return Root(self.net, Query(self.query.graph, self.ball.with_radius(radius), self.goal))

    def points(self, seed: int, count: int = 12) -> list[Array]:
        """Points exactly inside the ball: the centre, inner ones, ones on the surface and in corners of the box."""
        rng, ball = np.random.default_rng(seed), self.ball
        found = [np.array(ball.centre)]
        for place in range(count):
            step = rng.normal(size=ball.centre.size) * (rng.random(ball.centre.size) < 0.7)
            if place % 2:
                step = np.sign(step)
            length = ball.geometry.length(step)
            reach = ball.radius * (1.0 if place % 3 else rng.random())
            x = ball.centre + step * (reach / length if length else 0.0)
            found += [p for p in (self._pulled(x, factor) for factor in INWARDS) if self.holds(p)][:1]
        return found

    def _pulled(self, x: Array, factor: float) -> Array:
        return np.clip(self.ball.centre + factor * (x - self.ball.centre), self.ball.lo, self.ball.hi)

    def holds(self, x: Array, slack: float = 0.0) -> bool:
        """Is x inside the box, and inside the ball but for `slack`, in exact arithmetic?"""
        ball = self.ball
        inside = bool(np.all(x >= ball.lo) and np.all(x <= ball.hi))
        return inside and distance_exact(ball.norm, x, ball.centre) <= ball.radius + slack


@dataclass
class Clock:
    """A time.monotonic() that moves when it is told to."""

    now: float = 1000.0

    def tick(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that budgets read in this test."""
    made = Clock()
    monkeypatch.setattr("time.monotonic", lambda: made.now)
    return made


EVIL = "<img src=x onerror=alert(1)>"
"""What the names of inputs and requirements may hold."""


@pytest.fixture(scope="session")
def evidence_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of three digits with hostile names: two robust ones and one that falls; one requirement fails."""
    folder = tmp_path_factory.mktemp("evidence")
    images = folder / "images"
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as shipped:
        inputs = shipped["x"][:3]
    images.mkdir()
    for place, x in enumerate(inputs):
        pixels = np.round(255 * x.reshape(8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{place}{EVIL}.png")
    (folder / "gate.toml").write_text(
        f"""models = ["digits"]\ndata = "images"\n
        [[require]]\nname = "kept"\nmin_distortion = 0.005\n
        [[require]]\nname = "broken {EVIL}"\ncertified_accuracy = 1.0\nradius = 0.06\n
        [[require]]\nname = "mean"\nmean = 0.004\n""",
        encoding="utf-8",
    )
    assert main(["gate", str(folder / "gate.toml"), "--jobs", "1", "--evidence", str(folder / "pack")]) == 1
    return folder / "pack"


@pytest.fixture(scope="session")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has numpy alone."""
    return lonely_python(tmp_path_factory.mktemp("lonely") / "environment")


RootMaker = Callable[..., Root]


@pytest.fixture(scope="session")
def make_root(truth: Any) -> RootMaker:
    """make_root(seed, sizes, norm, rows=0, radius=None): a random net and goal.

    rows=0: the goal is the runner-up of the centre; else it has so many random rows. radius=None: drawn from 0.05 to
    half the reach.
    """
    known: dict[tuple[int, tuple[int, ...]], Any] = {}

    def make(seed: int, sizes: tuple[int, ...], norm: Norm, rows: int = 0, radius: float | None = None) -> Root:
        net = known.setdefault((seed, sizes), truth.net(seed, sizes))
        rng = np.random.default_rng([seed, rows])
        centre = rng.integers(0, 9, sizes[0]) / 8
        goal = (
            disjuncts(Targeted(int(np.argsort(outputs(net.graph, centre)[0])[-2])), sizes[-1])[0][1]
            if rows == 0
            else Halfspaces(rng.integers(-4, 5, (rows, sizes[-1])) / 4, rng.integers(-8, 5, rows) / 4)
        )
        ball = Ball(norm, centre, math.inf, net.lo, net.hi)
        drawn = 0.05 + rng.random() * (0.5 * ball.reach - 0.05)
        return Root(net, Query(net.graph, ball.with_radius(drawn if radius is None else radius), goal))

    return make


@pytest.fixture(scope="session")
def conv_net(truth: Any) -> Callable[..., Any]:
    """A random network of two convolutions in one dimension and two dense layers: 40 inputs, 54 and 24 ReLUs, 6 places
    of the second layer that read 10 inputs each, and 3 outputs."""

    def windows(rng: np.random.Generator, size: int, width: int, stride: int, channels: int) -> Array:
        weights = rng.normal(size=(channels, width)) / np.sqrt(width)
        begins = range(0, size - width + 1, stride)
        found = np.zeros((len(begins) * channels, size))
        for place, begin in enumerate(begins):
            found[place * channels : (place + 1) * channels, begin : begin + width] = weights
        return found

    def make(seed: int, classes: int = 3) -> Any:
        rng = np.random.default_rng(seed)
        first = windows(rng, 40, 6, 2, 3)
        second = windows(rng, 54, 9, 9, 4)
        dense = [rng.normal(size=(m, n)) / np.sqrt(n) for n, m in ((24, 5), (5, classes))]
        layers = [first, second, *dense]
        return truth.of_layers(*((weight, 0.1 * rng.normal(size=len(weight))) for weight in layers))

    return make
