"""Node evaluation by compiled kernels, one at a time or plunging, for networks small enough for a dense inverse."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.kernels.lagrangian import descend
from verifier.bounds.kernels.network import CompiledNetwork, network
from verifier.bounds.lagrangian import Dual, Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.phase_tree import PhaseTree
from verifier.solvers.kernels.node import (
    CLOSED,
    CUTOFF,
    FAILED,
    Found,
    NodeState,
    Rules,
    Shared,
    evaluate_node,
    narrow,
)
from verifier.solvers.kernels.plunge import FOUND, HANDED, EarlierTree, Extent, Journal, Stack, plunge, stack_of
from verifier.solvers.kernels.proof_tree import Grown, grow
from verifier.solvers.node_constants import COSTLY, FOLLOWED, SPLIT_BY_DUAL, STEPS
from verifier.solvers.tree.carried_basis import known_tree
from verifier.solvers.tree.clipping import box_of, has_boxes
from verifier.solvers.tree.dense_lp import DenseLp
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.growth import UNKNOWN, in_steps
from verifier.solvers.tree.node import (
    GrownResult,
    NodeResult,
    NodeSettings,
    NumpyEvaluator,
    PlungeJournal,
    PlungeResult,
)
from verifier.solvers.tree.primal_heuristics import GradientDescent
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.tightening import Narrowed

AT_ONCE = 0.05
"""Seconds that one call of a kernel may take, about: a budget that ends, or Ctrl-C, is seen only between calls."""


SPARE = 0.05
"""Share of the goal's margin at the input by which LPs exclude a node whose multipliers are to be kept: margins of a
network that is trained on move by as much. Barely excluded, half of the leaves close again, so four in five."""


class CompiledNarrowing:
    """`NumpyNarrowing` by the kernel."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian) -> None:
        self._network = network(stages, lagrangian)
        self._rules = Rules(True, False, True, False, SPLIT_BY_DUAL, 0, COSTLY, FOLLOWED)

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        low, high, shares = lower.copy(), upper.copy(), dual.shares.copy()
        key = narrow(
            self._network,
            radius,
            self._rules,
            COSTLY,
            np.array(weights, dtype=np.float64),
            dual.nu.copy(),
            dual.mu.copy(),
            dual.row.copy(),
            shares,
            dual.constant,
            dual.value(radius),
            low,
            high,
        )
        return None if key >= radius > 0.0 or key == math.inf else Narrowed(key, low, high, shares)


class CompiledDescent:
    """`GradientDescent` by the kernel; `ends`: the box (2, n)."""

    name = GradientDescent.name

    def __init__(self, net: CompiledNetwork, ends: Array) -> None:
        self._network, self._ends = net, ends

    def search(self, x: Array, radius: float) -> tuple[Array, float]:
        best = np.empty_like(x)
        return best, descend(self._network, self._ends, x.copy(), radius, STEPS, best)


class CompiledEvaluator:
    """Evaluates with one kernel; `other` makes the evaluator that takes over where the kernel's simplex gives up.

    earlier: the tree that known nodes are of, about the root's rows of the goal.
    """

    def __init__(
        self,
        root: TreeRoot,
        lagrangian: Lagrangian,
        settings: NodeSettings,
        other: Callable[[], NumpyEvaluator],
        earlier: PhaseTree | None = None,
    ) -> None:
        self.lp, self._other = DenseLp(root), other
        self._ball = lagrangian.ball
        self._boxed = lagrangian.ball.centre.size if settings.child_bounds and has_boxes(lagrangian.ball) else 0
        self._rules = Rules(
            settings.child_bounds,
            self._boxed > 0,
            settings.half_space,
            settings.reduced_costs,
            settings.branching.code,
            settings.descend_every,
            COSTLY,
            FOLLOWED,
        )
        self._network = network(root.stages, lagrangian)
        self._radius = lagrangian.ball.radius
        self._first = self.lp.first_basis()
        self._ends = np.array([lagrangian.ball.lo, lagrangian.ball.hi])
        self.descent = CompiledDescent(self._network, self._ends)
        self._lowest = CUTOFF if root.earlier is None else max(CUTOFF, SPARE * abs(_margin(root)))
        self._cutoff = np.array([self._lowest])
        self._fallback: NumpyEvaluator | None = None
        self._stack: Stack | None = None
        self._earlier, self._rows, self._writes = earlier, root.goal_rows, root.earlier is not None
        self._known: EarlierTree | None = None
        self._pivots = 1
        """Those that fit into AT_ONCE, as the last plunge took them."""

    def set_radius(self, radius: float) -> None:
        self._radius = radius
        self.lp.set_radius(radius)
        if self._fallback is not None:
            self._fallback.set_radius(radius)

    def evaluate(self, lower: Array, upper: Array, basis: Any, budget: Budget, box: Array | None = None) -> NodeResult:
        budget.check()
        given = self._first if basis is None else basis
        basic, key = given[0].astype(np.int64), given[1].astype(np.int64)
        low, high = lower.copy(), upper.copy()
        own = self._box(box)
        node = NodeState(low, high, basic, key, own)
        found = Found(
            np.empty(self._network.around.centre.size),
            np.empty(lower.size),
            np.zeros(self.lp.program.goals),
            np.zeros(lower.size),
            np.zeros(lower.size),
        )
        shared = Shared(self._ends, self._cutoff, self._lowest, np.zeros(1, dtype=np.int64))
        state, radius, margin, place = evaluate_node(
            self._network, self.lp.program, self._radius, self._rules, shared, node, found
        )
        proposed = found.weights, found.mu, found.nu
        if state == CLOSED:
            last = basic.astype(np.int16), key.astype(np.int8)
            return NodeResult(True, float32=radius, bound=margin, multipliers=proposed, basis=last)
        if state == FAILED:
            return replace(self._by_other().evaluate(lower, upper, None, budget, box), basis=None)
        known = margin > -math.inf
        up = known and place >= 0 and bool(found.arguments[place] > 0)
        last = basic.astype(np.int16), key.astype(np.int8)
        return NodeResult(
            False,
            radius,
            low,
            high,
            place,
            found.point if known else None,
            margin,
            up,
            last,
            proposed,
            box=own if self._boxed else None,
        )

    def _box(self, box: Array | None) -> Array:
        return box_of(self._ball, self._radius, box) if self._boxed else np.zeros((2, 0))

    def _by_other(self) -> NumpyEvaluator:
        if self._fallback is None:
            self._fallback = self._other()
            self._fallback.set_radius(self._radius)
        return self._fallback

    def proposed(self, lower: Array, upper: Array, weights: Array, nu: Array) -> NodeResult:
        return self._by_other().proposed(lower, upper, weights, nu)

    @property
    def kept(self) -> npt.NDArray[np.integer]:
        return self.lp.program.kept

    def plunge(
        self, node: TreeNode, lower: Array, upper: Array, number: int, most: int, inherit: bool, budget: Budget
    ) -> PlungeResult:
        budget.check()
        basic, key = self._first if node.start is None else node.start
        stack = self._stack
        if stack is None or len(stack.ends) < most + 2:
            goals = self.lp.program.goals
            stack = self._stack = stack_of(
                most + 2, lower.size, basic.size, key.size, goals, self._boxed, wanted=self._writes
            )
        stack.lower[0], stack.upper[0], stack.basic[0], stack.key[0] = lower, upper, basic, key
        stack.boxes[0] = self._box(node.box)
        stack.ends[0], stack.refused[0] = node.key, node.refused
        stack.known[0] = node.known if self._earlier is not None else UNKNOWN
        if self._known is None:
            self._known = known_tree(self._earlier, self.lp.program, self._rows, lower.size)
        point, spent = np.empty(self._network.around.centre.size), np.zeros(1, dtype=np.int64)
        shared, start = Shared(self._ends, self._cutoff, self._lowest, spent), time.perf_counter()
        extent = Extent(most, self._pivots, number, inherit)
        state, depth, nodes, float32 = plunge(
            self._network, self.lp.program, self._radius, self._rules, shared, stack, self._known, extent, point
        )
        self._pivots = max(1, int(AT_ONCE * spent[0] / (time.perf_counter() - start)))
        rest = [
            TreeNode(
                float(stack.ends[row]),
                stack.lower[row].copy(),
                stack.upper[row].copy(),
                (stack.basic[row].astype(np.int16), stack.key[row].astype(np.int8)),
                bool(stack.refused[row]),
                known=int(stack.known[row]),
                box=stack.boxes[row].copy() if self._boxed else None,
            )
            for row in range(depth)
        ]
        journal = self._journal(stack.journal, nodes) if self._writes else None
        return PlungeResult(nodes, rest, float32, point if state == FOUND else None, state == HANDED, journal)

    def _journal(self, journal: Journal, nodes: int) -> PlungeJournal:
        length = int(journal.length[0])
        split, first, row = (part[:length].tolist() for part in (journal.split, journal.first, journal.row))
        numbers = in_steps(journal.weights[:nodes], journal.nu[:nodes])
        bases = journal.basic[:nodes].astype(np.int16), journal.key[:nodes].astype(np.int8)
        return PlungeJournal(split, first, row, numbers, bases)

    def grow(self, nodes: Sequence[tuple[Array, Array, Any]], most: int, budget: Budget) -> GrownResult | None:
        budget.check()
        basic, key = self._first
        relus, room = nodes[0][0].size, (most // 2 + len(nodes), nodes[0][0].size)
        stack = stack_of(
            len(nodes) + relus + 2, relus, basic.size, key.size, self.lp.program.goals, self._boxed, wanted=False
        )
        for row, (lower, upper, basis) in enumerate(nodes):
            stack.lower[row], stack.upper[row] = lower, upper
            stack.basic[row], stack.key[row] = self._first if basis is None else basis
        lower, upper, mu, nu = (np.zeros(room) for _ in range(4))
        weights, values = np.zeros((room[0], self.lp.program.goals)), np.zeros(room[0])
        grown = Grown(np.zeros(most, dtype=np.int64), lower, upper, weights, mu, nu, values)
        shared = Shared(self._ends, self._cutoff, CUTOFF, np.zeros(1, dtype=np.int64))
        _, depth, tokens, leaves = grow(
            self._network,
            self.lp.program,
            self._radius,
            self._rules._replace(clips=False),
            shared,
            stack,
            len(nodes),
            grown,
        )
        if not tokens:
            return None
        rest = [
            (
                stack.lower[row].copy(),
                stack.upper[row].copy(),
                (stack.basic[row].astype(np.int16), stack.key[row].astype(np.int8)),
            )
            for row in range(depth)
        ]
        return GrownResult(
            grown.tokens[:tokens].tolist(),
            lower[:leaves],
            upper[:leaves],
            weights[:leaves],
            mu[:leaves],
            nu[:leaves],
            values[:leaves],
            rest,
        )


def _margin(root: TreeRoot) -> float:
    """The goal's smallest row at the ball's centre."""
    return float(root.goal.margin(root.stages.values(root.ball.centre[np.newaxis])[1])[0])
