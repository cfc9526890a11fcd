"""Node evaluation in the LP tree: bounds of its ReLUs, its LP, the safe evaluation, the ReLU to split at.

Two ways to the same end: with numpy and HiGHS for any network, here, and as one kernel for small ones
(`compiled_node`). What the kernel's simplex gives up on is evaluated the other way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Dual, Lagrangian, tightened
from verifier.problem.budget import Budget
from verifier.solvers.branching import DUAL, BranchingRule, split_at, widest
from verifier.solvers.node_constants import COSTLY
from verifier.solvers.tree.clipping import Clipping, box_of, has_boxes, shrunk
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.primal_heuristics import GradientDescent, StartHeuristic
from verifier.solvers.tree.relaxation import Relaxation, priced
from verifier.solvers.tree.tightening import Narrowed, NumpyNarrowing


@dataclass(frozen=True)
class NodeSettings:
    """What is done at a node; the defaults are what PERFORMANCE.md's ablations chose."""

    child_bounds: bool = True
    """CROWN for the children, of the ReLUs whose relaxations cost the bound most; then the same multipliers again."""
    half_space: bool = True
    """CROWN within the half-space that the node's multipliers leave to points that reach the goal."""
    reduced_costs: bool = True
    """Tighten bounds of ReLU arguments by what the node's dual leaves; what `child_bounds` does ends with it anyway."""
    branching: BranchingRule = DUAL
    """One of `branching.RULES`."""
    descend_every: int = 10
    """Gradient descents from every so-many-th node's relaxed point; 0 for none."""


@dataclass(frozen=True, eq=False)
class NodeResult:
    """An evaluated node. `closed`: nothing of it reaches the goal within the radius; `key`: nothing within that.

    float32: of a closed node, the radius within which no evaluation that is charged reaches the goal: less than the
    tree's where only the real network is excluded.

    lower, upper: its bounds, tightened. place: the ReLU to split at, −1 when none is open. point: the relaxed point,
    with the goal's smallest row at it and `up`, whether the ReLU to split at is active there. basis: where its
    children's LPs start. multipliers: (λ, μ, ν) that the LP proposed, where it did; bound: theirs of the goal's rows,
    where it closes the node and is known. box (2, n): what is left of the node's, where it has one.
    """

    closed: bool
    key: float = 0.0
    lower: Any = None
    upper: Any = None
    place: int = -1
    point: Array | None = None
    margin: float = -math.inf
    up: bool = False
    basis: Any = None
    multipliers: tuple[Array, Array, Array] | None = None
    box: Array | None = None
    bound: float = -math.inf
    float32: float = math.inf


@dataclass(frozen=True, eq=False)
class PlungeJournal:
    """What became of the nodes of a plunge, in the order in which they were taken from its stack: `split` and `first`
    as in the kernel's `Journal`; numbers: multipliers as trees keep them, and bases, by the node's `row`."""

    split: list[int]
    first: list[bool]
    row: list[int]
    numbers: npt.NDArray[np.int16]
    bases: tuple[npt.NDArray[np.int16], npt.NDArray[np.int8]]


@dataclass(frozen=True, eq=False)
class PlungeResult:
    """A plunge below a node: `nodes` evaluated, and the `rest` of them that are open, the next one to go on with last.

    float32: as that of `NodeResult`, of all nodes that closed. point: reaches the goal, of the last of the rest.
    handed: the last of the rest is to be evaluated by itself.
    """

    nodes: int
    rest: list[TreeNode]
    float32: float = math.inf
    point: Array | None = None
    handed: bool = False
    journal: PlungeJournal | None = None


@dataclass(frozen=True, eq=False)
class GrownResult:
    """A part of a tree for a proof, nothing tightened: `tokens` in preorder, 0 for a leaf and 1 + j for a split at ReLU
    j, the side ≤ 0 first. Of each leaf: bounds lower and upper, multipliers μ and ν (leaves, relu_count), row weights
    (leaves, m) and what these prove, `values` (leaves,), −inf where nothing closes it.

    rest: bounds and basis of the nodes that are left, the next one last.
    """

    tokens: list[int]
    lower: Array
    upper: Array
    weights: Array
    mu: Array
    nu: Array
    values: Array
    rest: list[tuple[Array, Array, Any]]


class NodeEvaluator(Protocol):
    """Evaluates nodes at the radius that it was told last; `lp` is its relaxation, at the same radius. `descent`: from
    relaxed points."""

    @property
    def lp(self) -> Relaxation: ...
    @property
    def descent(self) -> StartHeuristic: ...
    @property
    def kept(self) -> npt.NDArray[np.integer]:
        """The ReLUs of the LP whose bases it gives; none where it gives none."""

    def set_radius(self, radius: float) -> None: ...
    def evaluate(self, lower: Array, upper: Array, basis: Any, budget: Budget, box: Array | None = None) -> NodeResult:
        """A node, with the box (2, n) that its parent left it, if any."""

    def proposed(self, lower: Array, upper: Array, weights: Array, nu: Array) -> NodeResult:
        """Evaluate a node by these multipliers, without an LP; tighten its bounds where it stays open."""

    def plunge(
        self, node: TreeNode, lower: Array, upper: Array, number: int, most: int, inherit: bool, budget: Budget
    ) -> PlungeResult | None:
        """Evaluate at most `most` nodes, depth-first, from this one with its bounds (relu_count,); None: one by one.
        A `known` node is followed as the earlier tree goes.

        number: how many were evaluated before. inherit: children of a refused node are refused too."""

    def grow(self, nodes: Sequence[tuple[Array, Array, Any]], most: int, budget: Budget) -> GrownResult | None:
        """Evaluate at most `most` nodes below these, the last one first; None: the next one by itself."""


class NumpyEvaluator:
    """Evaluates with numpy and HiGHS, one node at a time."""

    def __init__(self, lagrangian: Lagrangian, goal: GoalAscent, lp: NodeLp, settings: NodeSettings) -> None:
        self.lp, self._lagrangian, self._goal, self._settings = lp, lagrangian, goal, settings
        self.descent = GradientDescent(goal)
        self._narrowing = self._narrows(lagrangian, COSTLY)
        self._radius = lagrangian.ball.radius
        self._clipping = Clipping(lagrangian) if settings.child_bounds and has_boxes(lagrangian.ball) else None

    def set_radius(self, radius: float) -> None:
        self._radius = radius
        self.lp.set_radius(radius)

    def evaluate(self, lower: Array, upper: Array, basis: Any, budget: Budget, box: Array | None = None) -> NodeResult:
        settings, radius = self._settings, self._radius
        if self._clipping is not None:
            contracted = self._clipping.contracted(box_of(self._lagrangian.ball, radius, box), lower, upper)
            if contracted is None:
                return NodeResult(True)
            box, lower, upper = contracted
        solved, dual = priced(self.lp, self._lagrangian, radius, lower, upper, budget, basis)
        if dual is None:
            return NodeResult(False, 0.0, lower, upper, widest(lower, upper))
        value = dual.value(radius)
        key = dual.radius(radius)
        if value > 0 or key >= radius > 0:
            return NodeResult(True, multipliers=(solved.weights, dual.mu, dual.nu), bound=value)
        real = dual.real_value(radius)
        if real > 0:
            return NodeResult(True, float32=key, multipliers=(solved.weights, dual.mu, dual.nu), bound=real)
        point, margin, off = None, -math.inf, np.full(lower.size, np.inf)
        if solved.optimum is not None:
            point, off = solved.point, solved.violation
            margin = self._goal.margin(point)
        narrowing = self._narrowing
        if self._clipping is not None and box is not None:
            before, box = box, self._clipping.cut(box, dual)
            if box is None:
                return NodeResult(True)
            costly = 0.0 if shrunk(box, before) else COSTLY
            own = self._clipping.within(box)
            narrowing, radius = self._narrows(own, costly), own.ball.radius
            dual = own.evaluate(solved.weights, dual.nu, lower, upper)
        narrowed = self._narrowed(narrowing, dual, solved.weights, radius, lower, upper)
        if narrowed is None:
            return NodeResult(True)
        # What a box excludes is no radius about the input, unless it is everything.
        key = key if self._clipping is not None else max(key, narrowed.key)
        lower, upper, shares = narrowed.lower, narrowed.upper, narrowed.shares
        place = split_at(settings.branching, shares, off, lower, upper)
        up = place >= 0 and point is not None and bool(self._goal.pattern(point)[place])
        return NodeResult(
            False,
            key,
            lower,
            upper,
            place,
            point,
            margin,
            up,
            self.lp.basis(),
            (solved.weights, dual.mu, dual.nu),
            box,
        )

    def proposed(self, lower: Array, upper: Array, weights: Array, nu: Array) -> NodeResult:
        radius = self._radius
        dual = self._lagrangian.evaluate(weights, nu, lower, upper)
        value, key = dual.value(radius), dual.radius(radius)
        if value > 0 or key >= radius > 0:
            return NodeResult(True)
        if dual.real_value(radius) > 0:
            return NodeResult(True, float32=key)
        narrowed = self._narrowed(self._narrowing, dual, weights, radius, lower, upper)
        if narrowed is None:
            return NodeResult(True)
        return NodeResult(False, max(key, narrowed.key), narrowed.lower, narrowed.upper)

    def _narrows(self, lagrangian: Lagrangian, costly: float) -> NumpyNarrowing:
        return NumpyNarrowing(lagrangian.stages, lagrangian, half_space=self._settings.half_space, costly=costly)

    def _narrowed(
        self, narrowing: NumpyNarrowing, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array
    ) -> Narrowed | None:
        """What the multipliers of a node that they leave open say of its bounds; None: nothing of it is left."""
        if self._settings.reduced_costs:
            lower, upper = tightened(dual, dual.value(radius), lower, upper)
            if np.any(lower > upper):
                return None
        if not self._settings.child_bounds:
            return Narrowed(0.0, lower, upper, dual.shares)
        return narrowing.narrow(dual, weights, radius, lower, upper)

    @property
    def kept(self) -> npt.NDArray[np.integer]:
        return np.zeros(0, dtype=np.int64)

    def plunge(
        self, node: TreeNode, lower: Array, upper: Array, number: int, most: int, inherit: bool, budget: Budget
    ) -> PlungeResult | None:
        del node, lower, upper, number, most, inherit, budget
        return None

    def grow(self, nodes: Sequence[tuple[Array, Array, Any]], most: int, budget: Budget) -> GrownResult | None:
        del nodes, most, budget
        return None
