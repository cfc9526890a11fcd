"""Bounds of a node's ReLU arguments from what its multipliers leave to points that reach the goal.

CROWN within the half-space of the node's dual (`half_space`), for the ReLUs whose relaxations cost the bound most; the
same multipliers evaluated again, whose bound has risen; their reduced costs. In `node_kernel.narrow` as a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.half_space import HalfSpace
from verifier.bounds.lagrangian import Dual, Duals, Lagrangian, tightened
from verifier.bounds.stage_crown import StageBounds
from verifier.solvers.node_constants import COSTLY


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A node with bounds lower, upper: nothing of it lies within `key`; shares: what each ReLU costs its bound now."""

    key: float
    lower: Array
    upper: Array
    shares: Array


@dataclass(frozen=True, eq=False)
class NarrowedBatch:
    """`Narrowed` for several nodes, one a row; keys (nodes,) are infinite where nothing is left of a node."""

    keys: Array
    lower: Array
    upper: Array
    shares: Array

    def __iter__(self) -> Iterator[Narrowed | None]:
        for key, *found in zip(self.keys.tolist(), self.lower, self.upper, self.shares, strict=True):
            yield None if key == math.inf else Narrowed(key, *found)


class Narrowing(Protocol):
    """Narrows nodes of one tree."""

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        """A node that `dual`, of row weights (m,) and bounds lower, upper, does not close; None: that closes it."""


class BatchNarrowing(Protocol):
    """Narrows nodes of one tree, several in a call. relus: those that arrays are of: all, or those that the root leaves
    open."""

    @property
    def relus(self) -> npt.NDArray[np.integer]: ...

    @property
    def together(self) -> int:
        """Nodes of one call that looks at no budget for a fraction of a second at most."""

    def narrow_batch(
        self, duals: Duals, weights: Array, radius: float, lower: Array, upper: Array, *, reduced: bool
    ) -> NarrowedBatch:
        """`Narrowing.narrow` for nodes of weights (nodes, m) and bounds (nodes, relus); reduced: `tightened` by their
        duals first."""


@dataclass(frozen=True, eq=False)
class OneByOne:
    """`BatchNarrowing` by a `Narrowing`; without one, by reduced costs alone."""

    narrowing: Narrowing | None
    relus: npt.NDArray[np.integer]
    together: int = 1

    def narrow_batch(
        self, duals: Duals, weights: Array, radius: float, lower: Array, upper: Array, *, reduced: bool
    ) -> NarrowedBatch:
        found = NarrowedBatch(np.full(len(duals), np.inf), np.array(lower), np.array(upper), np.array(duals.shares))
        for place, (dual, own) in enumerate(zip(duals, weights, strict=True)):
            one = self._one(dual, own, radius, lower[place], upper[place], reduced)
            if one is not None:
                found.keys[place], found.lower[place], found.upper[place] = one.key, one.lower, one.upper
                found.shares[place] = one.shares
        return found

    def _one(
        self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array, reduced: bool
    ) -> Narrowed | None:
        if reduced:
            lower, upper = tightened(dual, dual.value(radius), lower, upper)
            if np.any(lower > upper):
                return None
        if self.narrowing is None:
            return Narrowed(0.0, lower, upper, dual.shares)
        return self.narrowing.narrow(dual, weights, radius, lower, upper)


class NumpyNarrowing:
    """The numpy side."""

    def __init__(
        self, stages: Stages, lagrangian: Lagrangian, *, half_space: bool = True, costly: float = COSTLY
    ) -> None:
        """costly: the share of what a bound lacks from which a ReLU is bounded anew."""
        self._lagrangian, self._half_space, self._costly = lagrangian, half_space, costly
        self._bounds = StageBounds(stages, lagrangian, lagrangian.ball.radius)

    def narrow(self, dual: Dual, weights: Array, radius: float, lower: Array, upper: Array) -> Narrowed | None:
        cut = HalfSpace(dual.row, -dual.constant if self._half_space else math.inf)
        lower, upper = self._bounds.tighten(lower, upper, dual.shares <= self._costly * dual.value(radius), cut)
        if np.any(lower > upper):
            return None
        dual = self._lagrangian.evaluate(weights, dual.nu, lower, upper)
        value, key = dual.value(radius), dual.radius(radius)
        if value > 0 or key >= radius > 0:
            return None
        lower, upper = tightened(dual, value, lower, upper)
        return None if np.any(lower > upper) else Narrowed(key, lower, upper, dual.shares)
