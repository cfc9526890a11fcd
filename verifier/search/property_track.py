"""What a search for a property's counterexamples works on: boxes, and for each case there its goal and its tree."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, Graph
from encoders.network.node_bounds import NodeBounds
from encoders.passes.merged import MERGED, merged
from verifier.bounds.alpha_crown import Effort, goal_upper
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces, Query
from verifier.problem.rounding import REAL, Arithmetic
from verifier.problem.verdict import Semantics
from verifier.runtime.model import Model
from verifier.runtime.property_judge import GoalInBox, InwardBox
from verifier.search.property_attack import (
    FIRST_POINTS,
    MOST_POINTS,
    SHORT,
    Ascent,
    Sampler,
    points_of_a_round,
)
from verifier.solvers.branch_and_bound import hidden_bounds, with_hidden
from verifier.solvers.quadratic_root import PARTS, quadratic_ends, quadratic_goals, suits
from verifier.solvers.root_bounds import root_bounds
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.protocol import Explorable, TreeMaker

QUICK = Effort(goal_iterations=0)
"""What a case's linear bound may cost before its tree is begun."""

LASTING = 128
"""Nodes of a bound tree after which quadratic bounds are asked, which take a second or two for all cases of a box."""

TOLERANCE = 1e-7
"""Of the trees' LPs, as a decider's that is asked once."""


def endless(ball: Ball) -> int | None:
    """The first entry of a box without two ends, or whose ends are farther apart than a float64 says; None: none is."""
    with np.errstate(over="ignore"):
        wide = np.flatnonzero(~np.isfinite(ball.hi - ball.lo))
    return int(wide[0]) if wide.size else None


NEARBY = 1.0
"""How far points are looked for beyond the one end of an entry, or on either side of 0: inputs are often such."""


def nearby(ball: Ball) -> Ball:
    """A part of a box that has ends: NEARBY stands for one that is missing, or for two that are too far apart."""
    lo, hi = ball.interval
    with np.errstate(over="ignore", invalid="ignore"):
        wide = ~np.isfinite(hi - lo)
    below, above = np.isfinite(lo), np.isfinite(hi)
    low = np.where(below & ~above, lo, np.where(above & ~below, hi - NEARBY, -NEARBY))
    high = np.where(below & ~above, lo + NEARBY, np.where(above & ~below, hi, NEARBY))
    return Ball.of_box(np.where(wide, low, lo), np.where(wide, high, hi))


def whole_box(ball: Ball) -> Ball:
    """The box as a ball of a finite radius, within which trees decide: beyond its farthest corner."""
    return ball.with_radius(float(np.nextafter(ball.reach, np.inf)))


@dataclass(eq=False)
class SearchedBox:
    """What all cases over one graph share in one box.

    graph: the model's, or the same with its inputs behind its outputs.
    both: counts what is proved over the reals alone too, where `arithmetic` charges for float32?
    """

    model: Model
    graph: Graph
    ball: Ball
    box: InwardBox
    arithmetic: Arithmetic
    both: bool
    budget: Budget
    sampler: Sampler
    most_points: int = FIRST_POINTS
    """Of the next round."""

    @cached_property
    def bounds(self) -> NodeBounds:
        """Proved bounds of every node. Raises OutOfTimeError."""
        found = root_bounds(self.graph, self.ball, self.budget, self.arithmetic, lambda: self.stages)
        self.budget.check()
        return found

    @cached_property
    def squared(self) -> tuple[Array, Array] | None:
        """Quadratic bounds of all ReLU arguments, in place of `bounds` from then on; None where they do not suit, or
        take longer than their part of the time: no other case asks again. Raises OutOfTimeError."""
        ends = hidden_bounds(self.stages, self.bounds)
        if not suits(self.ball, *ends):
            return None
        try:
            ends = quadratic_ends(self.stages, self.ball, *ends, self.budget.share(PARTS))
        except OutOfTimeError:
            self.budget.check()
            return None
        vars(self)["bounds"] = with_hidden(self.stages, self.bounds, *ends)
        return ends

    @cached_property
    def stages(self) -> Stages:
        """The network as trees work on it. Raises OutOfTimeError."""
        floors = self.arithmetic.floors(self.graph)
        return replace(to_stages(self.graph, self.arithmetic.unit, floors, self.budget.check), both=self.both)

    def sampled(self) -> tuple[Array, Array]:
        """The next round's random points (count, n), and the graph's outputs there, as ONNX Runtime computes them."""
        begun, points = time.monotonic(), self.sampler.draw(points_of_a_round(self.graph, self.most_points))
        values = self.model.values(points)
        if time.monotonic() - begun < SHORT:
            self.most_points = min(MOST_POINTS, 2 * self.most_points)
        return points, values if self.graph.output_size == values.shape[1] else np.hstack([values, points])

    def real(self) -> SearchedBox:
        """The same without charges for float32."""
        return replace(self, arithmetic=REAL, both=False)

    def merged(self) -> SearchedBox:
        """The same over the reals with neurons merged that are multiples of each other; itself where few are. Raises
        OutOfTimeError."""
        graph = self.graph if self.graph.smooth else merged(self.graph, self.budget.check, MERGED)
        return self if graph is self.graph else replace(self.real(), graph=graph)


@dataclass(eq=False)
class PropertyTrack:
    """One case: its goal, and its tree once it has one. stuck: nothing can be done about it any more. squared: have
    quadratic bounds been asked?"""

    box: SearchedBox
    goal: Halfspaces
    tree: Explorable | None = None
    nodes: int = 0
    closed: bool = False
    stuck: bool = False
    squared: bool = False

    @cached_property
    def ascent(self) -> Ascent:
        """What steps uphill climb. Raises OutOfTimeError."""
        return GoalAscent(self.box.stages, self.box.ball, self.goal)

    @property
    def sought(self) -> GoalInBox:
        """Where its counterexamples are looked for."""
        return GoalInBox(self.box.box, self.box.ball, self.box.graph, self.goal)

    @property
    def query(self) -> Query:
        return Query(self.box.graph, self.box.ball, self.goal)

    @property
    def charged(self) -> bool:
        """Do its bounds hold for every float32 evaluation as well?"""
        return self.box.arithmetic is not REAL

    @staticmethod
    def all_as_in_file(tracks: Sequence[PropertyTrack], semantics: Semantics) -> bool:
        """Do all go on in the graph of the file? Where many neurons are multiples of each other, a search that is not
        about float32 alone goes on with them merged, over the reals. Raises OutOfTimeError."""
        found = True
        for group in by_box([one for one in tracks if one.open]) if semantics is not Semantics.FLOAT32 else ():
            box = group[0].box.merged()
            if box is group[0].box:
                continue
            found = False
            for track in group:
                track.box = box
                vars(track).pop("ascent", None)  # it was made of the other graph
        return found

    @property
    def open(self) -> bool:
        return not (self.closed or self.stuck or self.box.box.torn)

    def pruned(self) -> bool:
        """Do linear bounds say that nothing reaches the goal? Raises OutOfTimeError."""
        box = self.box
        return goal_upper(box.graph, box.ball, box.bounds, self.goal, box.budget, QUICK, box.arithmetic) < 0

    def excluded_by_squares(self) -> bool:
        """Do quadratic bounds of the box say that nothing reaches the goal, in any evaluation that is charged? They are
        asked once, of a tree that lasts; it begins anew within their ends where they do not. Raises OutOfTimeError."""
        if self.squared or not isinstance(self.tree, BoundTree) or self.tree.nodes < LASTING:
            return False
        self.squared = True
        box = self.box
        with suppress(OutOfTimeError):
            if box.squared is None:
                return False
            goal, budget = [self.goal], box.budget.share(PARTS)
            (found,) = quadratic_goals(box.stages, box.ball, *box.squared, goal, budget)
            if found.charged > 0.0:
                return True
            self.tree = None
        box.budget.check()
        return False

    def charged_tree(self, tree: Explorable) -> Explorable | None:
        """The tree that goes on with what `tree` has closed over the reals alone; None where that is not kept."""
        return tree if tree.charge() else None

    def uncharged(self) -> bool:
        """Begin anew over the reals alone, since charges for float32 may be what keeps the tree open; False where there
        are none, or it is about float32 alone."""
        if self.box.both:
            self.box, self.tree = self.box.real(), None
            return True
        return False

    def rooted(self, maker: TreeMaker) -> Explorable:
        """Its tree, made where there is none yet."""
        if self.tree is None:
            box = self.box
            self.tree = maker.tree(
                self.query, box.stages, box.bounds, floor=0.0, slack=0.0, tolerance=TOLERANCE, memory=box.budget.memory
            )
        return self.tree


def by_box(tracks: Sequence[PropertyTrack]) -> list[list[PropertyTrack]]:
    """The tracks in each box, which share its points and bounds."""
    boxes: dict[int, list[PropertyTrack]] = {}
    for track in tracks:
        boxes.setdefault(id(track.box), []).append(track)
    return list(boxes.values())
