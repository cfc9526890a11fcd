"""The project's own decider: branch and bound over ReLU phases, every pruned node proved with rounding included."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.memory import UNLIMITED, Memory
from verifier.problem.phase_tree import PhaseTree
from verifier.problem.query import Query
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.solvers.goal_rows import deciding_rows, only
from verifier.solvers.process import Decider
from verifier.solvers.tree.lp_tree import NUMPY_FIRST
from verifier.solvers.tree.protocol import Tree, TreeRoot
from verifier.solvers.tree.table import TREES, TreeKind

AUTO = "auto"
"""The engine that chooses one for each root."""


@dataclass(frozen=True)
class BranchAndBound(Decider):
    """Decides queries by one search tree.

    engine: the name of one of `kinds`, or `auto`: the first of them that suits the root. restart: who follows an
    incumbent bounds the root anew when the radius has fallen below this share of the root's; 0 for never. inner_balls:
    who follows an incumbent searches smaller balls beside a tree that does not close.
    """

    engine: str = AUTO
    kinds: tuple[TreeKind, ...] = TREES
    restart: float = 0.98
    inner_balls: bool = True

    def __post_init__(self) -> None:
        if self.engine != AUTO:
            self._named(self.engine, AUTO)

    def having(self, name: str, **changed: Any) -> BranchAndBound:
        """With these settings of the trees of this name. Raises ValueError where there are none."""
        found = self._named(name)
        other = replace(found, settings=replace(found.settings, **changed))
        return replace(self, kinds=tuple(other if kind is found else kind for kind in self.kinds))

    def _named(self, name: str, *more: str) -> TreeKind:
        """Raises ValueError, which lists the names that there are."""
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise ValueError(f"engine {name!r} is none of {', '.join([*(kind.name for kind in self.kinds), *more])}")

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
        return self.having("lp", numpy_first=NUMPY_FIRST)

    def nodes_alone(self, engine: str) -> float:
        """Nodes that a target's tree of this engine has before inner balls; infinite for what is no tree."""
        return next((kind.alone for kind in self.kinds if kind.make.engine == engine), math.inf)

    def tree(
        self,
        query: Query,
        stages: Stages,
        bounds: NodeBounds,
        *,
        floor: float,
        slack: float,
        tolerance: float,
        earlier: PhaseTree | None = None,
        memory: Memory = UNLIMITED,
    ) -> Tree:
        """The tree of a query; nothing within `floor` is known to reach the goal. See `TreeRoot`.

        Raises ValueError when the region is unbounded or the bounds are not proved.
        """
        lower, upper = hidden_bounds(stages, bounds)
        ball = query.region.finite
        rows = deciding_rows(stages, ball, query.goal, lower, upper)
        goal = only(query.goal, rows)
        root = TreeRoot(stages, ball, goal, lower, upper, floor, slack, tolerance, rows, earlier, memory, query.graph)
        auto = self.engine == AUTO
        kind = next(kind for kind in self.kinds if kind.suits(root)) if auto else self._named(self.engine)
        return kind.make(root, kind.settings)

    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict:
        """Violated, Holds (evidence proved) or Unknown when the budget ends or only unsplittable nodes are left."""
        if not query.region.bounded:
            return Unknown("the region is unbounded, and a tree searches a bounded one")
        if bounds.empty and bounds.proved:
            return Holds(Evidence.PROVED)
        try:
            stages = to_stages(query.graph, look=budget.check)
            tree = self.tree(query, stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7, memory=budget.memory)
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


def with_hidden(stages: Stages, bounds: NodeBounds, lower: Array, upper: Array) -> NodeBounds:
    """The bounds, those of ReLU arguments cut down to lower, upper (relu_count,), proved ones."""
    low, high = list(bounds.lower), list(bounds.upper)
    for node, begin, end in zip(stages.nodes[:-1], stages.starts[:-1], stages.starts[1:], strict=True):
        low[node] = np.maximum(low[node], lower[begin:end])
        high[node] = np.minimum(high[node], upper[begin:end])
    return NodeBounds(tuple(low), tuple(high), proved=bounds.proved)
