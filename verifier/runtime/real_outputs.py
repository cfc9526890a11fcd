"""What a network's outputs are over the real numbers at one point: exact, or between rationals where σ leaves none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from encoders.network.enclosure import enclosed_outputs
from encoders.network.exact import exact_outputs_of
from encoders.network.graph import Array
from verifier.problem.properties.formula import Property
from verifier.problem.quantities import directed
from verifier.runtime.model import Model
from verifier.runtime.real_margin import BITS


@dataclass(frozen=True)
class RealOutputs:
    """lower ≤ y ≤ upper, the same list where y is exact. satisfied: does y satisfy the property? None: not decided."""

    lower: Sequence[Fraction]
    upper: Sequence[Fraction]
    satisfied: bool | None

    def towards_zero(self) -> Array:
        """The outputs as float64, rounded towards 0."""
        return towards_zero(self.lower, self.upper)


def towards_zero(lower: Sequence[Fraction], upper: Sequence[Fraction]) -> Array:
    """Numbers between these as float64, rounded towards 0: exact sums may lie beyond the largest."""
    found = []
    for low, high in zip(lower, upper, strict=True):
        found.append(directed(low, -math.inf) if low > 0 else directed(min(high, Fraction(0)), math.inf))
    return np.array(found)


def real_outputs(model: Model, prop: Property, x: Sequence[Fraction], look: Callable[[], None]) -> RealOutputs:
    """The outputs at a point of rational numbers, close enough to decide the property where they can be.

    look: called between two steps; what it raises ends the work.
    """
    graph, first = model.network.graph, model.first_output
    if not graph.smooth:
        exact = exact_outputs_of(graph, x, look)[first:]
        return RealOutputs(exact, exact, prop.satisfied(x, exact))
    for bits in BITS:
        lower, upper = (ends[first:] for ends in enclosed_outputs(graph, x, bits, look))
        found = RealOutputs(lower, upper, prop.decided(x, lower, upper))
        if found.satisfied is not None:
            break
    return found
