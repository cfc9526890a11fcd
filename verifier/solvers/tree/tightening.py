"""Bounds of a node's ReLU arguments from what its multipliers leave to points that reach the goal.

CROWN within the half-space of the node's dual (`half_space`), for the ReLUs whose relaxations cost the bound most; the
same multipliers evaluated again, whose bound has risen; their reduced costs. In `node_kernel.narrow` as a kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.half_space import HalfSpace
from verifier.bounds.lagrangian import Dual, Lagrangian, tightened
from verifier.bounds.stage_crown import StageBounds
from verifier.solvers.node_constants import COSTLY


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A node with bounds lower, upper: nothing of it lies within `key`; shares: what each ReLU costs its bound now."""

    key: float
    lower: Array
    upper: Array
    shares: Array


class Narrowing(Protocol):
    """Narrows nodes of one tree."""

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        """A node that `dual`, of row weights (m,) and bounds lower, upper, does not close; None: that closes it."""


class NumpyNarrowing:
    """The numpy side."""

    def __init__(self, stages: Stages, lagrangian: Lagrangian, *, half_space: bool = True) -> None:
        self._lagrangian, self._half_space = lagrangian, half_space
        self._bounds = StageBounds(stages, lagrangian, lagrangian.ball.radius)

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        cut = HalfSpace(dual.row, -dual.constant if self._half_space else math.inf)
        lower, upper = self._bounds.tighten(lower, upper, dual.shares <= COSTLY * dual.value(radius), cut)
        if np.any(lower > upper):
            return None
        dual = self._lagrangian.evaluate(weights, dual.nu, lower, upper)
        value, key = dual.value(radius), dual.radius(radius)
        if value > 0 or key >= radius > 0:
            return None
        lower, upper = tightened(dual, value, lower, upper)
        return None if np.any(lower > upper) else Narrowed(key, lower, upper, dual.shares)
