"""The project's own decider: branch and bound over ReLU phases, every pruned node proved with rounding included."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Query
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.solvers.goal_rows import deciding_rows, only
from verifier.solvers.process import Decider
from verifier.solvers.tree.bound_tree import BoundSettings, BoundTree
from verifier.solvers.tree.lp_tree import NUMPY_FIRST, LpTree, TreeSettings
from verifier.solvers.tree.protocol import Tree

ENGINES: dict[str, tuple[type[Any], str]] = {"lp": (LpTree, "settings"), "bound": (BoundTree, "bound")}
"""Each engine's tree, and the field of `BranchAndBound` with its settings."""

LP_RELUS = 80
"""Unstable ReLUs up to which `auto` takes the LP tree: beyond, LPs take too long (PERFORMANCE.md, sizes)."""


@dataclass(frozen=True)
class BranchAndBound(Decider):
    """Decides queries by one search tree; `settings` are those of LP trees, `bound` those of bound trees.

    engine: `lp`, `bound`, or `auto`, which goes by the number of unstable ReLUs at the root and by the norm. restart:
    who follows an incumbent bounds the root anew when the radius has fallen below this share of the root's; 0 for
    never. inner_balls: who follows an incumbent searches smaller balls beside a tree that does not close.
    """

    settings: TreeSettings = field(default_factory=TreeSettings)
    bound: BoundSettings = field(default_factory=BoundSettings)
    engine: str = "auto"
    restart: float = 0.98
    inner_balls: bool = True

    def __post_init__(self) -> None:
        if self.engine not in (*ENGINES, "auto"):
            raise ValueError(f"engine {self.engine!r} is none of {', '.join(ENGINES)}, auto")

    @property
    def name(self) -> str:
        return "tree"

    @property
    def evidence(self) -> Evidence:
        return Evidence.PROVED

    @property
    def trees(self) -> BranchAndBound:
        return self

    def asked_once(self) -> BranchAndBound:
        """With trees that load compiled kernels only where they last."""
        return replace(self, settings=replace(self.settings, numpy_first=NUMPY_FIRST))

    def tree(
        self, query: Query, stages: Stages, bounds: NodeBounds, *, floor: float, slack: float, tolerance: float
    ) -> Tree:
        """The tree of a query; nothing within `floor` is known to reach the goal. See `LpTree`.

        Raises ValueError when the region is unbounded or the bounds are not proved.
        """
        lower, upper = hidden_bounds(stages, bounds)
        ball = query.region.finite
        goal = only(query.goal, deciding_rows(stages, ball, query.goal, lower, upper))
        kind, settings = ENGINES[self._engine(ball, lower, upper)]
        tree: Tree = kind(
            stages,
            ball,
            goal,
            lower,
            upper,
            floor=floor,
            slack=slack,
            settings=getattr(self, settings),
            tolerance=tolerance,
        )
        return tree

    def _engine(self, ball: Ball, lower: Array, upper: Array) -> str:
        if self.engine != "auto":
            return self.engine
        few = np.count_nonzero((lower < 0) & (upper > 0)) <= LP_RELUS
        return "lp" if few and ball.geometry.has_flat_sides else "bound"

    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict:
        """Violated, Holds (evidence proved) or Unknown when the budget ends or only unsplittable nodes are left."""
        if not query.region.bounded:
            return Unknown("the region is unbounded, and a tree searches a bounded one")
        if bounds.empty and bounds.proved:
            return Holds(Evidence.PROVED)
        try:
            stages = to_stages(query.graph, look=budget.check)
            tree = self.tree(query, stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7)
            while tree.open_nodes and not tree.stuck:
                found = tree.explore(budget)
                if found is not None:
                    return Violated(found)
        except OutOfTimeError as error:
            return Unknown(str(error))
        return Unknown("rounding leaves cases open that no split decides") if tree.stuck else Holds(Evidence.PROVED)


def hidden_bounds(stages: Stages, bounds: NodeBounds) -> tuple[Array, Array]:
    """The bounds of all ReLU arguments as two vectors (relu_count,). Raises ValueError unless they are proved."""
    if not bounds.proved:
        raise ValueError("a proof needs proved bounds; these rest on a solver's tolerance")
    nothing = np.zeros(0)
    return (
        np.concatenate([nothing, *(bounds.lower[node] for node in stages.nodes[:-1])]),
        np.concatenate([nothing, *(bounds.upper[node] for node in stages.nodes[:-1])]),
    )
