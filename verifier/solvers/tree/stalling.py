"""Where steps of the multipliers stall below 0 though the same relaxation excludes the ball: an LP is asked there.

The relaxation of a node that lacks little is often empty: its bound rises without end, but along few directions, on
which steps make no headway. Below such a node a subtree grows in which each child lacks about what its parent did.
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT = 0.75
"""Share of what its parent's bound lacks from which on a node has made no headway."""

STALLED = 3
"""Generations without headway in a row after which an LP is asked: after 2 or 4 trees took as long."""

REST = 3
"""Generations that are waited besides where an LP has left a node open: those of its children would too."""

HANDED = 256
"""Unstable ReLUs of a root up to which LPs are asked: with 140 on 784 inputs one takes 5 ms, as much as eight nodes.
With 340 they take half of the time, and fewer goals closed."""


@dataclass(frozen=True)
class Headway:
    """What a node's bound lacks, and for how many generations in a row that has hardly fallen (negative: what is left
    of a rest)."""

    lack: float
    stalled: int = 0

    def child(self, lack: float) -> Headway:
        """That of a child whose bound lacks so much."""
        counts = self.stalled < 0 or lack > LEFT * self.lack
        return Headway(lack, self.stalled + 1 if counts else 0)

    def rested(self) -> Headway:
        """That of a node that an LP has left open."""
        return Headway(self.lack, -REST)
