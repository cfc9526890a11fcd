"""A case of a property over a network with Sigmoids: by boxes alone, without stages or LPs."""

from __future__ import annotations

from functools import cached_property

from verifier.problem.rounding import REAL, Arithmetic
from verifier.search.property_track import PropertyTrack
from verifier.solvers.tree.graph_ascent import GraphAscent
from verifier.solvers.tree.protocol import Explorable, TreeMaker
from verifier.solvers.tree.smooth_tree import SmoothTree


class SmoothTrack(PropertyTrack):
    """As `PropertyTrack`."""

    @cached_property
    def ascent(self) -> GraphAscent:
        return GraphAscent(self.box.graph, self.box.ball, self.goal)

    def pruned(self) -> bool:
        """No: the tree's root is the first bound."""
        return False

    def rooted(self, _: TreeMaker) -> Explorable:
        """Its tree, made where there is none yet. Raises OutOfTimeError."""
        if self.tree is None:
            self.tree = self._tree(REAL if self.box.both else self.box.arithmetic)
        return self.tree

    def uncharged(self) -> bool:
        """False: its tree has no charges, or is about float32 alone."""
        return False

    def charged_tree(self, _: Explorable) -> Explorable:
        """A new one: boxes of the other are cut down by what holds over the reals alone. Raises OutOfTimeError."""
        return self._tree(self.box.arithmetic)

    def _tree(self, arithmetic: Arithmetic) -> SmoothTree:
        box = self.box
        return SmoothTree(box.graph, box.ball, self.goal, box.budget, arithmetic)
