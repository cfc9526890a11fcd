"""A tree on a smaller ball beside one that does not close: it raises the lower end that an open bracket ends with.

A tree's least open radius says little while many nodes are open: their relaxations are those of the whole ball. On a
smaller ball they are tighter, and the same work may exclude all of it, or find a point far nearer than the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from verifier.solvers.tree.protocol import Tree

SHARE, CROWDED_SHARE = 0.25, 16.0
"""Nodes of inner balls for each of the target's own trees after that: beside one that closes nodes, and beside one that
hardly does, which grows exponentially before it says anything. Whatever these are, either goes on."""

CROWDED = 0.75
"""Open nodes for each that a tree has had from which on it hardly closes any; told of a tree that has had as many nodes
as an inner ball at first, and kept for the next one, whose ball is hardly smaller."""

FIRST, CROWDED_FIRST = 0.12, 2.0
"""The nodes of an inner ball at first, and of one beside a tree that hardly closes any, as a share of those that its
kind of tree has before inner balls; the lesser share also of the nodes of such a tree before an early one."""

NARROW = 0.05
"""Of the radius: when success and failure are that near to each other, inner balls are given twice as many nodes, and
go on from there in steps that begin with what lies between. With k times the nodes 1/√k of it: some percent of the
radius take four times as many."""

ROOT = 64
"""Nodes that bounding a root counts as."""

WORTH = 0.02
"""Of the radius: how much farther out another target has to be to be followed."""

CLOSING = 2.0
"""How many times what an inner ball may spend it is given where it closes within that, at the rate at which the open
nodes of its later half fall: one that is given up there would cost as much again."""

GROWING = 0.85
"""Open nodes for each more from which on half of what it may spend is enough to tell that it does not close."""

RESTED = 2
"""Trees that are kept when they are given up: that of the radius which is next, and the one before it."""

HIGH = 0.9
"""The share of the radius from which a lower end is left to the tree itself."""


@dataclass(eq=False)
class InnerBall:
    """One target's inner balls, one at a time, by bisection between what is proved and where one was given up. With
    more nodes that one goes on, and others after it lie outwards from there: trees grow exponentially with the radius.

    nodes: of all of them; roots: how many were bounded; patience: what one may spend, as a multiple of the first;
    given_up: the radii beyond the lower end at which one was given up; dry: at which one was stuck, which more nodes do
    not mend; rested: the last ones that were given up; proved: the largest radius of one that closed; crowded: does the
    target's own tree hardly close any node?
    """

    tree: Tree | None = None
    nodes: int = 0
    roots: int = 0
    patience: float = 1.0
    given_up: list[float] = field(default_factory=list)
    dry: float = math.inf
    rested: list[Tree] = field(default_factory=list)
    proved: float = 0.0
    crowded: bool = False
    _step: float = field(default=math.inf, init=False)
    _spent: int = field(default=0, init=False)
    _course: list[tuple[int, int]] = field(default_factory=list, init=False)
    _most: float = field(default=math.inf, init=False)

    @property
    def cost(self) -> int:
        """Their nodes, with those that roots count as."""
        return self.nodes + ROOT * self.roots

    def due(
        self,
        own: int,
        alone: float,
        outer: Tree,
        lower: float,
        radius: float,
        *,
        early: bool = False,
        others: bool = False,
    ) -> bool:
        """Is it its turn, where the target's own trees have had so many nodes, the last of them is `outer`, trees like
        that have `alone`, and it is excluded within `lower` of `radius`? early: sooner, where that one hardly closes
        any node; at once, where those of others hardly do."""
        if outer.nodes >= FIRST * alone:
            self.crowded = outer.open_nodes > CROWDED * outer.nodes
        elif others:
            self.crowded = True
        first = 0.0 if others else FIRST
        share, spare = (
            CROWDED_SHARE if self.crowded else SHARE,
            own - (first if self.crowded and early else 1.0) * alone,
        )
        if spare < 0 or self.cost > share * spare or math.isinf(radius):
            return False
        return lower < HIGH * radius and not lower < self.dry <= lower + NARROW * radius

    def aim(self, lower: float, radius: float, others: Iterable[InnerBall] = ()) -> float:
        """Where the next tree decides: that of `rested` where it goes on; no farther out than another target's inner
        balls have come, or were given up: the least of all targets counts."""
        end = min(self.dry, radius) if self.dry > lower else radius
        passed, self.given_up = bool(self.given_up), [one for one in self.given_up if one > lower]
        high, narrow = min([*self.given_up, end]), NARROW / math.sqrt(self.patience) * radius
        if passed and not self.given_up:  # The tree itself has excluded these since.
            self.patience *= 2.0
            self._step = narrow
        elif self.given_up and high - lower <= narrow:
            self.patience *= 2.0
            self._step = high - lower
            return high
        worth = lower + WORTH * radius
        reached = (end for ball in others for end in ball.reached if end > worth)
        return min(lower + self._step, 0.5 * (lower + high), min(reached, default=math.inf))

    @property
    def reached(self) -> Iterator[float]:
        """The radii of its balls that closed, that were given up and that is searched."""
        yield self.proved
        yield from self.given_up
        if self.tree is not None:
            yield self.tree.radius

    def resting(self, radius: float) -> Tree | None:
        """The tree of this radius that was given up, if it is kept."""
        return next((tree for tree in self.rested if tree.radius == radius), None)

    def begin(self, tree: Tree, alone: float) -> None:
        """Search the ball of this tree next; alone: the nodes that such trees have before inner balls."""
        self.roots += tree not in self.rested
        self.rested = [one for one in self.rested if one is not tree]
        self._spent, self._course = tree.nodes, [(tree.nodes, tree.open_nodes)]
        self.tree, self._most = tree, self.patience * (CROWDED_FIRST if self.crowded else FIRST) * alone

    def explored(self, nodes: int) -> None:
        """Its tree has had so many nodes more: is it finished, or given up?"""
        tree = self.tree
        assert tree is not None
        self.nodes += nodes
        self._spent += nodes
        if tree.open_nodes < self._course[-1][1] - nodes:
            self._course.clear()  # Begun anew.
        self._course.append((self._spent, tree.open_nodes))
        if not tree.open_nodes:
            self.tree, self.proved = None, max(self.proved, tree.radius)
            self.given_up = [one for one in self.given_up if one > tree.radius]
            self.rested = [one for one in self.rested if one.radius > tree.radius]
            self._step *= 2.0
        elif tree.stuck or self._hopeless():
            self.tree, self._step = None, math.inf
            if tree.stuck:
                self.dry = tree.radius
                self.given_up = [one for one in self.given_up if one < tree.radius]
            else:
                self.rested = [*self.rested, tree][-RESTED:]
                self.given_up = [*{*self.given_up, tree.radius}]

    def _hopeless(self) -> bool:
        """Does its tree not close with what it may spend, as the open nodes of its later half grow or fall?"""
        spent, left = self._course[-1]
        half = 0.5 * (self._course[0][0] + spent)
        before, known = max(entry for entry in self._course if entry[0] <= half)
        growth = (left - known) / max(spent - before, 1)
        if spent < self._most:
            return 2 * spent > self._most and growth > GROWING
        return growth >= 0.0 or spent + left / -growth > CLOSING * self._most
