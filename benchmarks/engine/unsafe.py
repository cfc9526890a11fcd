"""The engine without safe arithmetic, to measure what that costs: a tree whose bounds are charged 0 for their rounding.

The code is the product's: its safe evaluation charges `rate` times the sizes of a bound's terms, and `slack` for
underflow, and here both are 0. Witnesses are evaluated in floats. Nothing it says is proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from unittest.mock import patch

from encoders.network.graph import Array, Graph, outputs
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.table import TREES


class UnchargedTree(LpTree):
    """An LP tree that takes the floats of its bounds as they come."""

    def __init__(self, root: TreeRoot, settings: LpSettings | None = None) -> None:
        super().__init__(root, settings)
        self._lagrangian.rate = self._lagrangian.slack = 0.0


UNCHARGED = BranchAndBound("lp", tuple(replace(kind, make=UnchargedTree) for kind in TREES if kind.name == "lp"))
"""Makes uncharged LP trees, whatever the root."""


def in_floats(graph: Graph, x: Array, _: Callable[[], object] | None = None) -> list[Fraction]:
    """`exact_outputs` in float64."""
    return [Fraction(float(value)) for value in outputs(graph, x)[0]]


@contextmanager
def float_witnesses() -> Iterator[None]:
    """The time in which witnesses are evaluated in floats."""
    with patch("verifier.runtime.real_margin.exact_outputs", in_floats):
        yield
