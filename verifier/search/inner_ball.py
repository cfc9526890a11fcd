"""A tree on a smaller ball beside one that does not close: it raises the lower end that an open bracket ends with.

A tree's least open radius says little while many nodes are open: their relaxations are those of the whole ball. On a
smaller ball they are tighter, and the same work may exclude all of it, or find a point far nearer than the incumbent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from verifier.solvers.tree.protocol import Tree

SHARE, CROWDED_SHARE = 0.2, 1.0
"""Nodes of inner balls for each of the tree itself after that: of one that closes nodes, of one that hardly does."""

CROWDED = 0.75
"""Open nodes for each that a tree has had from which on it hardly closes any."""

FIRST = 0.25
"""The nodes of an inner ball at first, as a share of those that its kind of tree has before any."""

NARROW = 0.05
"""Of the radius: when success and failure are that near to each other, inner balls are given twice as many nodes, and
go on from there in steps that begin with what lies between."""

ROOT = 64
"""Nodes that bounding a root counts as."""

HIGH = 0.9
"""The share of the radius from which a lower end is left to the tree itself."""


@dataclass(eq=False)
class InnerBall:
    """One target's inner balls, one at a time, by bisection between what is proved and where the last one was given up.
    With more nodes that one goes on, and others after it lie outwards from there: trees grow exponentially with the
    radius.

    nodes: of all of them; patience: what one may spend, as a multiple of the first; failed: the least radius at which
    one was given up with that; rested: the last one that was given up.
    """

    tree: Tree | None = None
    nodes: int = 0
    patience: float = 1.0
    failed: float = math.inf
    rested: Tree | None = None
    _step: float = field(default=math.inf, init=False)
    _spent: int = field(default=0, init=False)
    _most: float = field(default=math.inf, init=False)

    def due(self, spare: float, outer: Tree, lower: float, radius: float) -> bool:
        """Is it its turn, where the target's tree, `outer`, has had so many nodes more than trees have alone, and the
        target is excluded within `lower` of `radius`?"""
        share = CROWDED_SHARE if outer.open_nodes > CROWDED * outer.nodes else SHARE
        return spare >= 0 and self.nodes <= share * spare and math.isfinite(radius) and lower < HIGH * radius

    def aim(self, lower: float, radius: float) -> float:
        """Where the next tree decides: that of `rested` where it goes on."""
        high = min(self.failed, radius)
        if high - lower <= NARROW * radius:
            self.failed = math.inf
            self.patience *= 2.0
            if high > lower:
                self._step = high - lower
                return high
            self._step, high = NARROW * radius, radius
        return min(lower + self._step, 0.5 * (lower + high))

    def begin(self, tree: Tree, alone: float) -> None:
        """Search the ball of this tree next; alone: the nodes that such trees have before inner balls."""
        self.nodes += 0 if tree is self.rested else ROOT
        self._spent = tree.nodes
        self.tree, self.rested, self._most = tree, None, self.patience * FIRST * alone

    def explored(self, nodes: int) -> None:
        """Its tree has had so many nodes more: is it finished, or given up?"""
        tree = self.tree
        assert tree is not None
        self.nodes += nodes
        self._spent += nodes
        if not tree.open_nodes:
            self.tree = None
            self._step *= 2.0
        elif tree.stuck or self._spent >= self._most:
            self.rested = None if tree.stuck else tree
            self.tree, self.failed, self._step = None, tree.radius, math.inf
