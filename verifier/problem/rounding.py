"""Rigorous error terms for float64 sums and products, so that a bound holds in real arithmetic.

A sum of n products computed in any order, with or without fused multiply-add, differs from the true one by at most
γ_n Σ|a_i b_i| plus an underflow term, γ_n = n·u/(1 − n·u), u = 2⁻⁵³ (Higham, Accuracy and Stability, 2002, ch. 3).
The bounds that are evaluated with these terms are those of Neumaier & Shcherbina (2004): any multipliers are valid,
only the evaluation has to be honest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Affine, Array, Graph
from encoders.network.rounded_operations import rounded_operations

UNIT = 2.0**-53
"""Half the gap between 1 and the next float64: the relative error of one rounded operation."""

UNDERFLOW = 2.0**-900
"""More than what a sum of 2¹⁵⁰ products can lose to underflow (at most 2⁻¹⁰⁷⁴ each), and far below any real margin."""

SPARE_OPERATIONS = 16
"""Operations added to every count: forming the error terms, merging messages, adding constants."""


SUMMED = 4.0 * UNIT
"""For each entry, relative: forming a row, its products or squares, and the sums over them."""


SIGMOID_UNITS = 8.0
"""Units in the last place of 1 that a runtime's Sigmoid may be off by; its Tanh, read as 2σ(2x) − 1, by twice as many.
No standard promises any. On dense grids ONNX Runtime 1.31 is off by at most 2.8 and 4.6 of float32's, which are
polynomials there, and 1.5 and 7.4 of float64's; far from 0 no digit of e^x is right, so that a relative error says
nothing (`test_pointwise.py`)."""


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """For whose evaluations of a network a bound is to hold: `unit` is the relative error that each rounded operation
    may make, `floor` what is added to each sum's size so that γ times it covers underflow too. `losses`: what
    evaluations of an affine node may be off by on top of that, by its number."""

    unit: float
    floor: float
    losses: Mapping[int, float] = field(default_factory=dict)

    @property
    def sigmoid(self) -> float:
        """What a Sigmoid's value may be off by."""
        return SIGMOID_UNITS * self.unit if self.unit > UNIT else 0.0

    def floors(self, graph: Graph) -> dict[int, float]:
        """What is added to the size of each affine node's sums: γ times it covers underflow and losses."""
        errors = evaluation_errors(graph, self.unit)
        return {index: self.floor + self._share(index, error) for index, error in errors.items()}

    def _share(self, index: int, error: float) -> float:
        loss = self.losses.get(index, 0.0)
        return loss / error * (1.0 + 4.0 * UNIT) if loss else 0.0


REAL = Arithmetic(UNIT, 0.0)
"""The network over the real numbers: only the bound's own float64 sums are rounded."""

SUBNORMAL = 2.0**-126
"""What a float32 result that is no normal number may lose where such results are flushed to zero."""

FLOAT32 = Arithmetic(2.0**-24 + 2.0 * UNIT, 2.0**-90)
"""Every float32 evaluation, in any order of summation, with or without FMA, subnormal results kept or flushed to zero:
z = W h + b + e, |e| ≤ γ_{n+1} (|W||h| + |b|) + n·2⁻¹²⁵, and the bound's own rounding on top. A floor of 2⁻⁹⁰ times
γ_n ≥ n·2⁻²⁴ exceeds the last term."""


def gamma(operations: int) -> float:
    """γ_n for n = `operations` + SPARE_OPERATIONS, doubled: the doubling covers the rounding of the error terms."""
    n = operations + SPARE_OPERATIONS
    return 2.0 * n * UNIT / (1.0 - n * UNIT)


def evaluation_error(operations: int, unit: float) -> float:
    """γ_n of the evaluations that a bound is to hold for, n = `operations` + SPARE_OPERATIONS; 0 for real arithmetic.

    The spare ones cover what a runtime may fuse: a factor of a BatchNormalization multiplied into weights beforehand.
    """
    if unit <= UNIT:
        return 0.0
    n = operations + SPARE_OPERATIONS
    return n * unit / (1.0 - n * unit) if n * unit < 1.0 else math.inf


def down_to_single(values: Array) -> npt.NDArray[np.float32]:
    """The largest float32 that are not above these."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single)


def up_to_single(values: Array) -> npt.NDArray[np.float32]:
    """The least float32 that are not below these."""
    return -down_to_single(-values)


def underflow(largest: float) -> float:
    """What sums can lose to underflow whose coefficients meet values up to `largest` afterwards."""
    return UNDERFLOW * (1.0 + largest)


def graph_gamma(graph: Graph) -> float:
    """One γ that covers every float64 sum that evaluating or back-propagating through `graph` forms."""
    widest = max(
        (
            sum(max(term.map.fan_in, term.map.fan_out) for term in node.terms)
            for node in graph.nodes
            if isinstance(node, Affine)
        ),
        default=0,
    )
    # Constants are sums over all entries of a node (message · bias), however few weights each entry has.
    return gamma(widest + len(graph.nodes) + max(node.size for node in graph.nodes))


def evaluation_errors(graph: Graph, unit: float) -> dict[int, float]:
    """γ of each affine node in the evaluations that bounds are to hold for; 0 for real arithmetic."""
    return {index: evaluation_error(count, unit) for index, count in rounded_operations(graph).items()}


def down(values: Array, error: Array | float) -> Array:
    """A lower bound of true values whose floats are off by at most `error`; anything not finite becomes −inf."""
    bound = np.nextafter(values - (error + UNDERFLOW), -np.inf)
    return np.where(np.isfinite(bound), bound, -np.inf)


def up(values: Array, error: Array | float) -> Array:
    """An upper bound of true values whose floats are off by at most `error`; anything not finite becomes +inf."""
    return -down(-values, error)
