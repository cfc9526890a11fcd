"""How much reading one file may take: whatever a file says, memory and time of reading it are bounded by its size."""

from __future__ import annotations

import math

from encoders.network.graph import Affine, GraphBuilder, Node
from encoders.network.linear_maps import Conv, Dense, LinearMap, Scale, Select, Sparse

MAX_ENTRIES = 2**22
"""No computed tensor may have more entries: 4 Mi float64 are 32 MiB. VGG-16 has none above 3.1 Mi."""

MAX_STORED = 2**24
"""Constants, the arrays of the graph and the values of one evaluation may have so many entries in all: 128 MiB.

To these come twice the weights that the file brings, so that a large one may be folded and turned into a graph. What
bounds, compares and lowers the graph takes some ten times the memory.
"""

MAX_STEPS = 2**30
"""Constants of a file may take so many elementary steps in all, seconds of one core; those of real files take some
thousands."""

MAX_PRODUCTS = 2**34
"""One evaluation of the network may take so many products: VGG-16 takes 2**33.9."""

MAX_WINDOW = 2**16
"""No kernel may have more places: a window over a whole image of 256×256."""


class TooLargeError(ValueError):
    """A file asks for more than reading it may take."""


def entries(shape: tuple[int, ...]) -> int:
    """The number of entries of a tensor of that shape; raises above MAX_ENTRIES or for a negative size."""
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {list(shape)} has a negative size")
    total = math.prod(shape)
    if total > MAX_ENTRIES:
        raise TooLargeError(f"a tensor of shape {list(shape)} has more than {MAX_ENTRIES} entries")
    return total


class Allowance:
    """What is left of the entries, steps and products that one file may take."""

    def __init__(self, weights: int = 0) -> None:
        self._entries = MAX_STORED + 2 * weights
        self._steps = MAX_STEPS
        self._products = MAX_PRODUCTS

    def store(self, count: int) -> None:
        """Take room for arrays of `count` entries."""
        self._entries -= count
        if self._entries < 0:
            raise TooLargeError(f"all that the file computes has more than {MAX_STORED} entries beyond its weights")

    def compute(self, steps: int) -> None:
        """Take time for folding a constant."""
        self._steps -= steps
        if self._steps < 0:
            raise TooLargeError(f"the file's constants take more than {MAX_STEPS} steps to compute")

    def multiply(self, products: int) -> None:
        """Take time for one evaluation of a part of the network."""
        self._products -= products
        if self._products < 0:
            raise TooLargeError(f"one evaluation of the network takes more than {MAX_PRODUCTS} products")


class BoundedBuilder(GraphBuilder):
    """A GraphBuilder for graphs that a file asks for: raises TooLargeError where they leave no room."""

    def __init__(self, input_size: int, room: Allowance) -> None:
        super().__init__(input_size)
        self._room = room

    def add(self, node: Node) -> int:
        if isinstance(node, Affine):
            self._room.store(node.size + sum(stored(term.map) for term in node.terms))
            self._room.multiply(sum(products(term.map) for term in node.terms))
        self._room.store(node.size)  # its value
        return super().add(node)


def stored(linear: LinearMap) -> int:
    """The entries of a map's own arrays."""
    match linear:
        case Dense():
            return int(linear.weight.size)
        case Conv():
            return int(linear.weight.size)
        case Select() | Scale():
            return linear.out_size
        case Sparse():
            return linear.out_size + linear.in_size
    raise TypeError(f"no size is known of {type(linear).__name__} maps")


def products(linear: LinearMap) -> int:
    """The products of one application, those with zero included."""
    match linear:
        case Dense():
            return int(linear.weight.size) * linear.left * linear.right
        case Conv():
            return int(linear.weight.size) * math.prod(linear.out_spatial)
        case _:
            return linear.out_size
