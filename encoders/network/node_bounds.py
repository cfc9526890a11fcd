"""Bounds on every node's value over a region: data that encoders take as an argument and `verifier.bounds` computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, Graph


@dataclass(frozen=True, eq=False)
class NodeBounds:
    """lower[i] ≤ value of node i ≤ upper[i], entry by entry, for every x in the region.

    `proved` is True when each number holds in real arithmetic, rounding included; False when one rests on a solver's
    tolerance. An entry with lower > upper says that the region is empty.
    """

    lower: tuple[Array, ...]
    upper: tuple[Array, ...]
    proved: bool

    def __post_init__(self) -> None:
        for array in (*self.lower, *self.upper):
            array.flags.writeable = False

    def magnitude(self, index: int) -> Array:
        """The largest absolute value that node `index` can take."""
        return np.maximum(np.abs(self.lower[index]), np.abs(self.upper[index]))

    def unstable(self, index: int) -> npt.NDArray[np.bool_]:
        """Where node `index`, read as a ReLU's argument, can take both signs."""
        return (self.lower[index] < 0) & (self.upper[index] > 0)

    @property
    def empty(self) -> bool:
        """True when some entry has no value left: no x of the region satisfies what the bounds were computed under."""
        return any(bool(np.any(lo > hi)) for lo, hi in zip(self.lower, self.upper, strict=True))


def unstable_count(graph: Graph, bounds: NodeBounds) -> int:
    """The number of scalar ReLUs whose sign the bounds leave open."""
    return sum(int(bounds.unstable(graph.nodes[index].sources[0]).sum()) for index in graph.relus())
