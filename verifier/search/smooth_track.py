"""A case of a property over a network with Sigmoids: by boxes alone, without stages, LPs or float32's charges."""

from __future__ import annotations

from functools import cached_property

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
            self.tree = SmoothTree(self.box.graph, self.box.ball, self.goal, self.box.budget)
        return self.tree
