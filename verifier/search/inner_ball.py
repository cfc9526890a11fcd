"""A tree on a smaller ball beside one that does not close: it raises the lower end that an open bracket ends with.

A tree's least open radius says little while many nodes are open: their relaxations are those of the whole ball. On a
smaller ball they are tighter, and the same work may exclude all of it, or find a point far nearer than the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from verifier.solvers.tree.protocol import Tree

SHARE, CROWDED_SHARE = 0.25, 16.0
"""Nodes of inner balls for each of the target's own trees after that: beside one that closes nodes, and beside one that
hardly does, which grows exponentially before it says anything. Whatever these are, either goes on."""

CROWDED = 0.75
"""Open nodes for each that a tree has had from which on it hardly closes any; told of a tree that has had as many nodes
as an inner ball at first, and kept for the next one, whose ball is hardly smaller."""

FIRST = 0.12
"""The nodes of an inner ball at first, and those of a tree that hardly closes any before an early one, as a share of
those that its kind of tree has before inner balls."""

NARROW = 0.05
"""Of the radius: when success and failure are that near to each other, inner balls are given twice as many nodes, and
go on from there in steps that begin with what lies between. With k times the nodes 1/√k of it: some percent of the
radius take four times as many."""

ROOT = 64
"""Nodes that bounding a root counts as."""

WORTH = 0.02
"""Of the radius: how much farther out another target has to be to be followed."""

HIGH = 0.9
"""The share of the radius from which a lower end is left to the tree itself."""


@dataclass(eq=False)
class InnerBall:
    """One target's inner balls, one at a time, by bisection between what is proved and where the last one was given up.
    With more nodes that one goes on, and others after it lie outwards from there: trees grow exponentially with the
    radius.

    nodes: of all of them; roots: how many were bounded; patience: what one may spend, as a multiple of the first;
    failed: the least radius at which one was given up with that; dry: at which one was stuck, which more nodes do not
    mend; rested: the last one that was given up; proved: the largest radius of one that closed; crowded: does the
    target's own tree hardly close any node?
    """

    tree: Tree | None = None
    nodes: int = 0
    roots: int = 0
    patience: float = 1.0
    failed: float = math.inf
    dry: float = math.inf
    rested: Tree | None = None
    proved: float = 0.0
    crowded: bool = False
    _step: float = field(default=math.inf, init=False)
    _spent: int = field(default=0, init=False)
    _most: float = field(default=math.inf, init=False)

    @property
    def cost(self) -> int:
        """Their nodes, with those that roots count as."""
        return self.nodes + ROOT * self.roots

    def due(self, own: int, alone: float, outer: Tree, lower: float, radius: float, *, early: bool = False) -> bool:
        """Is it its turn, where the target's own trees have had so many nodes, the last of them is `outer`, trees like
        that have `alone`, and it is excluded within `lower` of `radius`? early: sooner, where that one hardly closes
        any node."""
        if outer.nodes >= FIRST * alone:
            self.crowded = outer.open_nodes > CROWDED * outer.nodes
        share, spare = (
            CROWDED_SHARE if self.crowded else SHARE,
            own - (FIRST if self.crowded and early else 1.0) * alone,
        )
        if spare < 0 or self.cost > share * spare or math.isinf(radius):
            return False
        return lower < HIGH * radius and not lower < self.dry <= lower + NARROW * radius

    def aim(self, lower: float, radius: float, others: Iterable[float] = ()) -> float:
        """Where the next tree decides: that of `rested` where it goes on; no farther out than the next target's inner
        balls have come: others, what these `proved`."""
        end = min(self.dry, radius) if self.dry > lower else radius
        high, narrow = min(self.failed, end), NARROW / math.sqrt(self.patience) * radius
        if high - lower <= narrow:
            self.failed = math.inf
            self.patience *= 2.0
            if high > lower:
                self._step = high - lower
                return high
            self._step, high = narrow, end
        nearest = min((other for other in others if other > lower + WORTH * radius), default=math.inf)
        return min(lower + self._step, 0.5 * (lower + high), nearest)

    def begin(self, tree: Tree, alone: float) -> None:
        """Search the ball of this tree next; alone: the nodes that such trees have before inner balls."""
        self.roots += tree is not self.rested
        self._spent = tree.nodes
        self.tree, self.rested, self._most = tree, None, self.patience * FIRST * alone

    def explored(self, nodes: int) -> None:
        """Its tree has had so many nodes more: is it finished, or given up?"""
        tree = self.tree
        assert tree is not None
        self.nodes += nodes
        self._spent += nodes
        if not tree.open_nodes:
            self.tree, self.proved = None, max(self.proved, tree.radius)
            self._step *= 2.0
        elif tree.stuck or self._spent >= self._most:
            if tree.stuck:
                self.dry = tree.radius
            self.rested = None if tree.stuck else tree
            self.tree, self.failed, self._step = None, tree.radius, math.inf
