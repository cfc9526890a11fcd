"""The triangle relaxation for the compiled simplex: `NodeLp`'s interface where the network is small.

The rows and columns are those of `lp_layout`; triangles are kept apart, all moves are there from the beginning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.lagrangian import Dual
from verifier.problem.budget import Budget
from verifier.solvers.kernels import simplex
from verifier.solvers.kernels.round_steps import relaxed_point
from verifier.solvers.kernels.simplex_program import INFEASIBLE, Program
from verifier.solvers.node_constants import PIVOTS, SPARE_STEPS
from verifier.solvers.tree.lp_layout import Layout
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relaxation import Solved

FAR = 1e4
"""A dual value, in logits, above which an LP counts as having no solution: rays end there."""


def program(layout: Layout) -> Program:
    """The arrays of a relaxation, at its layout's radius."""
    kept, goals = layout.kept.size, len(layout.goal.offset)
    inputs = -layout.inputs
    used, rows = np.flatnonzero(np.any(inputs != 0, axis=0)), np.flatnonzero(np.any(inputs != 0, axis=1))
    hidden = np.zeros((kept + goals + layout.split, kept))
    hidden[: kept + goals] = -layout.hidden.toarray()
    hidden[:kept] += np.eye(kept)
    blank = np.zeros(0)
    steps, first = np.zeros((0, inputs.shape[1])), 0
    moves = np.ascontiguousarray(inputs[np.ix_(rows, used)])
    if layout.round:
        known = layout.first_steps()
        first = len(known)
        steps = np.zeros((first + SPARE_STEPS, inputs.shape[1]))
        steps[:first] = known
        moves = np.ascontiguousarray(inputs[rows] @ steps.T)
    made = Program(
        relus=kept,
        goals=goals,
        split=int(layout.split),
        moves=moves,
        entries=np.ascontiguousarray(moves.T),
        rows=np.array(rows, dtype=np.int64),
        hidden=hidden,
        transposed=np.ascontiguousarray(hidden.T),
        constants=blank,
        room=blank,
        kept=np.array(layout.kept, dtype=np.int64),
        used=np.array(used, dtype=np.int64),
        base=np.array(layout.base),
        steps=steps,
        filled=np.full(2, first),
    )
    return at_radius(made, layout)


def at_radius(made: Program, layout: Layout) -> Program:
    """The same program on the ball that the layout has now."""
    ball, used = layout.ball, made.used
    if not layout.split:
        room = np.concatenate([layout.widths[used], np.zeros(used.size)])
        return made._replace(constants=np.array(layout.constants), room=room, base=np.array(layout.base))
    if layout.round:
        shares = np.where(np.arange(len(made.steps)) < made.filled[0], ball.radius, 0.0)
        room = np.concatenate([shares, np.zeros(shares.size)])
        return made._replace(constants=np.append(layout.constants, ball.radius), room=room)
    sides = np.concatenate([(ball.hi - ball.centre)[used], (ball.centre - ball.lo)[used]])
    room = np.clip(sides, 0.0, ball.radius)
    return made._replace(constants=np.append(layout.constants, ball.radius), room=room, base=np.array(layout.base))


class DenseLp:
    """One LP over the root's bounds (relu_count,), as `NodeLp`; its bases are pairs of arrays.

    Where the simplex gives up, a `NodeLp` with all moves solves instead.
    """

    def __init__(self, root: TreeRoot) -> None:
        self._root = root
        self._layout = Layout(root.stages, root.ball, root.goal, root.lower, root.upper)
        self.program = program(self._layout)
        self._relus = root.stages.relu_count
        self.solved = self.pivots = 0
        self._basis = self.first_basis()

    def first_basis(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """A basis that any node may start from."""
        made, root = self.program, self._layout
        basic = np.zeros(made.constants.size, dtype=np.int64)
        key = np.zeros(made.kept.size, dtype=np.int64)
        simplex.crash(made, root.lower[made.kept], root.upper[made.kept], basic, key)
        return basic, key

    def basis(self) -> Any:
        """The current basis, to be given back to `solve`."""
        return self._basis[0].copy(), self._basis[1].copy()

    def set_radius(self, radius: float) -> None:
        """Move the ball's surface; the bounds of the ReLUs stay, so that it may only shrink below the root's."""
        if radius != self._layout.ball.radius:
            self._layout.set_radius(radius)
            self.program = at_radius(self.program, self._layout)

    def price(self, dual: Dual, radius: float) -> bool:
        """Every move is there from the beginning."""
        del dual, radius
        return False

    def solve(self, lower: Array, upper: Array, budget: Budget, basis: Any = None) -> Solved:
        """Move to a node's bounds and solve from `basis`, or from where the last solve ended."""
        budget.check()
        made = self.program
        if basis is not None:
            self._basis = basis[0].copy(), basis[1].copy()
        multipliers = np.zeros(made.constants.size)
        moved, off = np.zeros(made.moves.shape[1]), np.zeros(made.kept.size)
        state, value, pivots = simplex.solve(
            made,
            lower[made.kept],
            upper[made.kept],
            *self._basis,
            PIVOTS * made.constants.size,
            FAR,
            multipliers,
            moved,
            off,
        )
        self.solved += 1
        self.pivots += pivots
        if state in (simplex.STOPPED, simplex.TIED):
            self._basis = self.first_basis()
            moves = [(entry, sign) for entry in range(made.base.size) for sign in (1, -1)]
            other = NodeLp(replace(self._root, tolerance=INFEASIBLE), moves)
            other.set_radius(self._layout.ball.radius)
            return other.solve(lower, upper, budget)
        kept = made.kept.size
        weights = np.maximum(multipliers[kept : kept + made.goals], 0.0)
        nu = np.zeros(self._relus)
        nu[made.kept] = multipliers[:kept]
        if state == simplex.EXCLUDED:
            return Solved(True, weights, nu, None, moved, off)
        violation = np.zeros(self._relus)
        violation[made.kept] = off
        ball = self._layout.ball
        x = np.empty(made.base.size)
        relaxed_point(made, np.array([ball.lo, ball.hi]), moved, x)
        return Solved(True, weights, nu, value, x, violation)
