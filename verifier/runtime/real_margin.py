"""How far inside its half-spaces a network's output is over the real numbers at one point: exact, or bounded by
rationals where σ leaves no exact value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoders.network.enclosure import enclosed_outputs
from encoders.network.exact import exact_outputs
from encoders.network.graph import Graph
from verifier.problem.query import Halfspaces

BITS = (64, 128, 256, 512)
"""To which each σ is bounded, one after the other, until the question is decided: at a point where it is not, rows are
within 2⁻⁴⁰⁰ or so of a tie, which nothing decides."""


def real_margin(graph: Graph, x: npt.ArrayLike, goal: Halfspaces, look: Callable[[], None]) -> Fraction:
    """As `real_margins`, of one goal."""
    return real_margins(graph, x, [goal], look)[0]


def real_margins(
    graph: Graph, x: npt.ArrayLike, goals: Sequence[Halfspaces], look: Callable[[], None]
) -> list[Fraction]:
    """Each goal's smallest row at the point x (n,); behind Sigmoids a number that is not above it, and ≥ 0 where bounds
    can prove that the row is.

    look: called between two steps; what it raises ends the work.
    """
    point = np.asarray(x, dtype=np.float64)
    if not graph.smooth:
        exact = exact_outputs(graph, point, look)
        return [goal.margin_exact(exact) for goal in goals]
    inside = [Fraction(entry) for entry in point.tolist()]
    for bits in BITS:
        ends = enclosed_outputs(graph, inside, bits, look)
        margins = [goal.margin_between(*ends) for goal in goals]
        if all(least >= 0 or most < 0 for least, most in margins):
            break
    return [least for least, _ in margins]
