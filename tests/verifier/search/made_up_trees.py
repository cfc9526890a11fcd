"""Search trees that are made up: no network, no bounds, a truth that is written down.

A tree of a target whose nearest point lies at d raises its lower end by a step an exploration, up to d, and gives
points between d and its radius.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array, GraphBuilder
from encoders.network.linear_maps import identity
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.problem.verdict import Witness
from verifier.search.scheduler import TreeSearch
from verifier.search.state import Problem, SearchState
from verifier.solvers.tree.threads import Threads

PRECISION = 1e-3

NODES = 5
"""Nodes of one exploration."""

WAIT = 10.0
"""Seconds after which a thread that is to meet another one gives up."""


@dataclass
class Target:
    """What is true of a target, and how its trees behave.

    distance: of its nearest point. step: what an exploration raises the lower end by; on balls with a root beyond
    `hard`, or within `idle`, none does. stuck: where the lower end stays. finds: explorations before a tree's first
    point. crowded: does it hardly close any node?
    """

    distance: float = math.inf
    step: float = 0.1
    stuck: float = math.inf
    hard: float = math.inf
    idle: float = 0.0
    finds: int = 0
    crowded: bool = False


class Tree:
    """A made-up tree; what it is asked is noted in the world's log."""

    engine = "made-up tree"

    def __init__(self, world: World, number: int, radius: float, floor: float) -> None:
        self.world, self.number, self.target = world, number, world.targets[number]
        self.root_radius = self.radius = radius
        self.nodes, self.explorations = 0, 0
        self.key, self.refused = floor, False

    @property
    def lower_end(self) -> float:
        return min(self.key, self.radius)

    @property
    def float32_end(self) -> float:
        return 0.5 * self.lower_end

    @property
    def open_nodes(self) -> int:
        return 0 if self.key >= self.radius else max(3, self.nodes * self.target.crowded)

    @property
    def stuck(self) -> bool:
        dry = self.refused and self.key >= self.target.distance
        return self.open_nodes > 0 and (self.key >= self.target.stuck or dry)

    @property
    def follows(self) -> bool:
        return False

    def grown(self) -> None:
        """It is not written down."""

    def cut(self, radius: float) -> None:
        self.radius = min(self.radius, radius)

    def explore(self, budget: Budget, threads: Threads) -> Array | None:
        budget.check()
        self.world.looked(self, threads)
        self.nodes += NODES
        self.explorations += 1
        target = self.target
        if target.idle < self.root_radius <= target.hard:
            self.key = max(self.key, min(self.key + target.step, target.distance, target.stuck))
        if target.distance >= self.radius or self.refused or self.explorations <= target.finds:
            return None
        return self.world.point(self.number, 0.5 * (target.distance + self.radius))

    def refuse(self) -> None:
        self.refused = True
        self.world.log.append(("refuse", self.number, self.radius))

    def pattern(self, x: Array) -> Array:
        return np.array([self.number])

    def draw(self, x: Array, radius: float, budget: Budget) -> Array:
        return x

    def polish(self, x: Array, budget: Budget) -> tuple[Array, float]:
        return x, float(abs(x[0]))


@dataclass
class World:
    """The targets by number; whose points the judge does not take; what trees were asked.

    ends: explorations after which the budget ends.
    """

    targets: dict[int, Target]
    refused: frozenset[int] = frozenset()
    reach: float = 1.0
    ends: float = math.inf
    restart: float = 0.98
    inner_balls: bool = False
    alone: float = 2 * NODES
    log: list[tuple[str, int, float]] = field(default_factory=list)
    made: list[Tree] = field(default_factory=list)
    meets: threading.Barrier | None = None
    handed: list[tuple[int, int, str]] = field(default_factory=list)
    """At each exploration: its target, the threads that it was given, and the name of its own."""

    def __post_init__(self) -> None:
        self.budget = Budget()
        self.known: dict[float, int] = {}

    def nodes_alone(self, engine: str) -> float:
        return self.alone if engine == Tree.engine else math.inf

    def tree(self, query: Any, stages: Any, bounds: Any, *, floor: float, **_: Any) -> Tree:
        number, radius = int(query.goal.offset[0]), query.region.radius
        assert floor <= radius
        self.log.append(("root", number, radius))
        self.made.append(Tree(self, number, radius, floor))
        return self.made[-1]

    def looked(self, tree: Tree, threads: Threads) -> None:
        self.log.append(("explore", tree.number, tree.radius))
        self.handed.append((tree.number, threads.count, threading.current_thread().name))
        if self.meets is not None:
            self.meets.wait(WAIT)
        if len(self.of("explore")) >= self.ends:
            self.budget.cancel()

    def of(self, kind: str) -> list[tuple[int, float]]:
        return [(number, radius) for what, number, radius in self.log if what == kind]

    def point(self, number: int, distance: float) -> Array:
        self.known[distance] = number
        return np.array([distance])

    @property
    def goals(self) -> list[tuple[int, Halfspaces]]:
        """Each target with what stands for its goal."""
        return [(number, Halfspaces(np.ones((1, 1)), np.array([float(number)]))) for number in self.targets]

    def states(self, *, each: bool = False, threads: int = 1) -> list[SearchState]:
        """One state for all targets, or one for each."""
        parts = [(goal,) for goal in self.goals] if each else [tuple(self.goals)]
        return [SearchState(self.problem(part, threads), self.budget) for part in parts]

    def problem(self, goals: tuple[tuple[int, Halfspaces], ...], threads: int) -> Problem:
        builder, ends, judge = GraphBuilder(1), np.array([self.reach]), Judge(self, {number for number, _ in goals})
        return Problem(
            graph=builder.graph(builder.affine([(identity(1), 0)])),
            ball=Ball(Norm.LINF, np.zeros(1), math.inf, -ends, ends),
            disjuncts=goals,
            judge=cast(Any, judge),
            attack=lambda _: [],
            attack_name="none",
            precision=PRECISION,
            target=None,
            threads=threads,
        )


@dataclass
class Judge:
    """Takes points of these targets, unless the world refuses them; `asked`: their distances."""

    world: World
    targets: set[int]
    asked: list[float] = field(default_factory=list)
    grid: float = 0.0
    dtype: np.dtype[np.float32] = field(default_factory=lambda: np.dtype(np.float32))
    runtime: Any = field(default_factory=lambda: SimpleNamespace(rounds=False))

    def witness(self, point: Array, budget: Budget) -> Witness | None:
        distance = float(point[0])
        number = self.world.known[distance]
        self.asked.append(distance)
        fits = number in self.targets and number not in self.world.refused
        return Witness(point, distance, number, 0.0, 0.0, number) if fits else None

    def secured(self, point: Array, slack: float, budget: Budget) -> Witness | None:
        return self.witness(point, budget)

    def polished(self, found: Witness, slack: float, budget: Budget) -> Witness:
        return found


class Bounds:
    """In place of linear bounds: those that exclude a target's goal within `excluded` of the input."""

    def __init__(self, excluded: dict[int, float], stages: Stages) -> None:
        self.excluded, self.stages = excluded, stages

    def at(self, radius: float) -> None: ...

    def squares(self, radius: float) -> bool:
        return True

    def near(self, radius: float, share: float) -> None: ...

    def exclude(self, goal: Halfspaces, radius: float, *_: Any) -> bool:
        return radius <= self.excluded.get(int(goal.offset[0]), 0.0)


def searched(
    world: World,
    *,
    each: bool = False,
    threads: int = 1,
    within: float | None = None,
    excluded: dict[int, float] | None = None,
) -> tuple[TreeSearch, list[SearchState]]:
    states = world.states(each=each, threads=threads)
    search = TreeSearch(states, world, within)
    bounds: Any = Bounds(excluded or {}, search.bounds.stages)
    search.bounds = bounds
    return search, states
