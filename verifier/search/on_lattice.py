"""Questions about the inputs that can occur: the search over all points of the box first, then over whole numbers.

What holds of all points holds of those of a lattice, rounded up to the distances that these can have; a witness of the
search is rounded. Where that leaves the bracket open the inputs are split.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from encoders.errors import SolverError
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.rounding import REAL
from verifier.problem.verdict import Bracket, Evidence, Holds, Search, Semantics, Status, Unknown, Violated
from verifier.search.float32 import for_float32_too
from verifier.search.incumbent import REPORT
from verifier.search.lattice_tree import LatticeTree
from verifier.search.methods import Minimiser
from verifier.search.state import Problem
from verifier.solvers.process import Decider
from verifier.solvers.tree.protocol import TreeMaker

FIRST_SHARE = 2.0
"""Of a time limit, the part of it that the search over all points has: half."""


def brackets_on_lattice(problem: Problem, minimise: Minimiser, decider: Decider, budget: Budget) -> Iterator[Bracket]:
    """Brackets over the points of the problem's lattice; the last is final. minimise: over all points of the box."""
    points = problem.points
    assert points is not None
    for bracket in minimise(problem, decider, budget.share(FIRST_SHARE)):
        told = points.told(bracket)
        if not bracket.final:
            yield told
    if told.status is not Status.BRACKETED or budget.ended:
        yield replace(told, reason=budget.reason if budget.ended and told.status is Status.BRACKETED else told.reason)
        return
    yield from _split(problem, bracket, decider.trees, budget)


def _split(problem: Problem, before: Bracket, trees: TreeMaker | None, budget: Budget) -> Iterator[Bracket]:
    """Brackets of the search over whole numbers, which goes on from a bracket over all points."""
    points = problem.points
    assert points is not None
    assert trees is not None
    tree, reason = None, ""
    try:
        # A float32 end of 0: charged bounds would keep everything open. Of float32 alone there is no other end.
        if before.float32 or problem.semantics is Semantics.FLOAT32:
            problem = for_float32_too(problem, budget)
        tree = LatticeTree(problem, trees, (before.lower, before.float32 or 0.0), budget)
        reported = time.monotonic()
        with single_threaded_blas(), budget.within_memory():
            for _ in tree.run():
                if time.monotonic() - reported > REPORT:
                    reported = time.monotonic()
                    yield points.told(_now(problem, before, tree, budget), before.lower)
        reason = tree.reason
    except (OutOfTimeError, SolverError) as error:
        reason = str(error)
    last = before if tree is None else _now(problem, before, tree, budget)
    yield replace(points.told(replace(last, reason=reason, final=True), before.lower), seconds=budget.spent)


def _now(problem: Problem, before: Bracket, tree: LatticeTree, budget: Budget) -> Bracket:
    """What the tree has proved by now, as a bracket."""
    lower, float32 = tree.lower, before.float32
    if problem.arithmetic is not REAL:
        float32 = min(tree.float32, lower)
        lower = float32 if problem.semantics is Semantics.FLOAT32 else lower
    search = tree.search
    if before.search is not None:
        nodes, seconds = before.search.nodes + search.nodes, before.search.seconds + search.seconds
        search = Search(search.engine, nodes, search.open_nodes, seconds)
    return replace(before, lower=lower, float32=float32, search=search, seconds=budget.spent, final=False)


def check_on_lattice(
    problem: Problem, trees: TreeMaker, radius: float, budget: Budget, *, charged: bool
) -> tuple[Holds | Violated | Unknown, bool, Search]:
    """Does a point of the lattice within `radius` reach a goal? Whether "holds" does in float32 too, and the cost.

    charged: bounds are to hold for float32 as far as that can be proved.
    """
    points = problem.points
    assert points is not None
    asked, reason = problem, ""
    if charged:
        asked = for_float32_too(problem, budget, radius)
    tree = LatticeTree(asked, trees, (0.0, 0.0), budget, within=radius)
    try:
        with single_threaded_blas(), budget.within_memory():
            for _ in tree.run():
                pass
        reason = tree.reason
    except (OutOfTimeError, SolverError) as error:
        reason = str(error)
    within = asked.points.lattice.radius_within(radius) if asked.points is not None else radius
    float32 = asked.arithmetic is not REAL and tree.float32 >= within
    if points.witness is not None and points.upper <= radius:
        return Violated(points.witness.point.astype(float)), False, tree.search
    proved = float32 if problem.semantics is Semantics.FLOAT32 else tree.lower >= within
    return (Holds(Evidence.PROVED) if proved else Unknown(reason)), float32 and proved, tree.search
