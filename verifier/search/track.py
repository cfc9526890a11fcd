"""A target of a search by trees: the state whose incumbent it follows, its tree, and what that has cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from encoders.network.graph import Array
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.search.inner_ball import InnerBall
from verifier.search.quadratic_steps import QuadraticSteps
from verifier.search.state import SearchState, TargetState
from verifier.solvers.tree.protocol import Tree
from verifier.solvers.tree.threads import Threads


@dataclass(eq=False)
class Track:
    """A target, the state whose incumbent it follows, its tree, and what that has cost.

    `lower` is what trees have proved. It orders the work; other proofs, which may come at any time, do not, so that one
    thread without a time limit always does the same. `float32`: what of it holds for every evaluation that is charged.
    """

    state: SearchState
    target: TargetState
    tree: Tree | None = None
    lower: float = 0.0
    float32: float = 0.0
    nodes: int = 0
    open_nodes: int = 0
    seconds: float = 0.0
    barren: set[bytes] = field(default_factory=set)
    """Activation patterns of points that reach the goal and gave no witness nearer enough: not tried again."""
    inner: InnerBall = field(default_factory=InnerBall)
    squares: QuadraticSteps = field(default_factory=QuadraticSteps)

    @property
    def own(self) -> int:
        """Nodes of its trees without those of inner balls."""
        return self.nodes - self.inner.nodes

    @contextmanager
    def clocked(self) -> Iterator[None]:
        """Count the time spent inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class Slice:
    """What exploring a tree for a while has found and cost."""

    tree: Tree
    found: Array | None
    nodes: int
    seconds: float


def explored(tree: Tree, budget: Budget, threads: Threads) -> Slice:
    """One slice, which the end of the budget shortens: the caller looks at it too."""
    start, before, found = time.perf_counter(), tree.nodes, None
    with suppress(OutOfTimeError):
        found = tree.explore(budget, threads)
    return Slice(tree, found, tree.nodes - before, time.perf_counter() - start)
