"""Where a search makes no headway, and LPs are asked though they are dear.

Steps of the multipliers stall below 0 though the same relaxation excludes the ball: a bound tree asks an LP there.

The relaxation of a node that lacks little is often empty: its bound rises without end, but along few directions, on
which steps make no headway. Below such a node a subtree grows in which each child lacks about what its parent did.

Boxes crawl that close so far down that all of them together are as good as nothing of an input tree's region: there LP
trees of much larger boxes are quicker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array

LEFT = 0.75
"""Share of what its parent's bound lacks from which on a node has made no headway."""

STALLED = 3
"""Generations without headway in a row after which an LP is asked: after 2 or 4 trees took as long."""

REST = 3
"""Generations that are waited besides where an LP has left a node open: those of its children would too."""

HANDED = 256
"""Unstable ReLUs of a root up to which LPs are asked: with 140 on 784 inputs one takes 5 ms, as much as eight nodes.
With 340 they take half of the time, and fewer goals closed."""


CRAWLS = 0.99
"""The share of the region that is left to boxes which crawl: after a thousand nodes 0.998 and 0.9994 of the two of ACAS
Xu's questions that halving left open after 100,000, 0.7 of what it closes in 33,000."""

CLOSES = 0.75
"""Open boxes for each node, at most, where boxes crawl: where hardly any closes it is not known how small they have to
be, and points are found sooner by halving."""


def crawls(nodes: int, shares: Array) -> bool:
    """After so many nodes, do boxes close that are too small? shares: of the region, those of the open ones."""
    return bool(shares.size <= CLOSES * nodes and shares.sum() > CRAWLS)


@dataclass(frozen=True, eq=False)
class Headway:
    """What the bounds of nodes lack (nodes,), no number where that is not known yet, and for how many generations in a
    row it has hardly fallen (negative: what is left of a rest)."""

    lack: Array
    stalled: npt.NDArray[np.integer]

    def child(self, lack: Array) -> Headway:
        """That of children, one of each, whose bounds lack so much."""
        counts = (self.stalled < 0) | (lack > LEFT * self.lack)
        return Headway(lack, np.where(counts, self.stalled + 1, 0))
