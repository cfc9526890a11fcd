"""Balls of a lattice as balls in L1: an entry is the sum of its steps, each of which has a price of its own.

The j-th step of an entry away from the input's adds c_j = step²·(j² − (j − 1)²) to the square of the distance. With the
share w_j ∈ [−1, 1] of it that is taken (the incremental formulation, Markowitz & Manne 1957) the points of the lattice
with ‖x' − x‖₂² ≤ N are among

    x' = x + step·Σ_j w_j,    Σ_j c_j·|w_j| ≤ N,

as prices rise with j: the squares are joined by chords, which lie above the parabola. In u_j = c_j·w_j that is a ball
of L1, so a polyhedron, in front of a network with one more affine node, and little of it lies between whole numbers. In
L1 itself all steps of an entry have one price. Of a one-hot group each category but the input's has one w, which takes
the input's 1 away as well: what is 1 in all stays 1.

What the dtype rounds moves a value by at most η of its step (`Lattice`): boxes and radii are wider by that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Affine, Array, Graph, Input, Term, frozen, renumbered
from encoders.network.linear_maps import Sparse, sparse
from encoders.network.norm import Norm
from verifier.problem.budget import Budget
from verifier.problem.inputs.lattice import Lattice, Whole
from verifier.problem.inputs.step_prices import StepPrices
from verifier.problem.query import Ball
from verifier.problem.rounding import SPARE_OPERATIONS, SUMMED, Arithmetic
from verifier.problem.verdict import Semantics
from verifier.search.state import Problem

WORN = 0.5
"""Increments are made anew for less than this share of the amount that they are for: outer steps are out of reach."""


@dataclass(frozen=True, eq=False)
class _Columns:
    """One increment each (m,): `entry` moves by step·w, 0 ≤ |w| ≤ `length`, behind `start` steps of the same entry;
    `price` is that of a whole step. source: of a one-hot group the input's own category; −1: none. switched: w takes
    from `source` what it gives; else, in a group, it is what rounding adds."""

    entry: npt.NDArray[np.intp]
    start: Array
    length: Array
    price: Array
    source: npt.NDArray[np.intp]
    switched: npt.NDArray[np.bool_]


def _columns(prices: StepPrices, amount: float) -> _Columns:
    """Those of a ball of this amount."""
    lattice = prices.lattice
    found: list[tuple[float, ...]] = []
    single = np.flatnonzero(~prices.grouped & (lattice.lo < lattice.hi))
    reach = prices.reach(amount)
    for place in single.tolist():
        price = float(prices.of_step[place])
        if prices.power == 1:
            found.append((place, 0.0, math.inf, price, -1, False))
            continue
        found += [(place, j, 1.0, price * (2.0 * j + 1.0), -1, False) for j in range(int(reach[place]))]
    for group, own in zip(lattice.groups, prices.own, strict=True):
        others = [place for place in group.tolist() if place != own and lattice.last[place] > 0]
        dear = float(prices.of_step[own])
        found += [(place, 0.0, 1.0, float(prices.of_step[place]) + dear, own, True) for place in others]
        found += [(place, 0.0, 1.0, float(prices.of_step[place]), own, False) for place in (own, *others)]
    table = np.array(found, dtype=np.float64).reshape(-1, 6)
    return _Columns(
        table[:, 0].astype(np.intp), table[:, 1], table[:, 2], table[:, 3], table[:, 4].astype(np.intp), table[:, 5] > 0
    )


class LatticeIncrements:
    """What lies within `radius` of the input, as a ball of L1 in increments u (m,), and its parts.

    graph: the problem's behind x(u).
    """

    def __init__(self, problem: Problem, lattice: Lattice, radius: float) -> None:
        self._problem, self._lattice = problem, lattice
        self._stages: Stages | None = None
        self._prices = StepPrices(lattice)
        self.most = self._prices.within(radius)
        self._columns = _columns(self._prices, self.most)
        self.size = self._columns.entry.size
        self._spare = SUMMED * (self.size + SPARE_OPERATIONS)
        self._eta = float(lattice.slack) * (1.0 + self._spare)

    def suits(self, radius: float) -> bool:
        """Are they made for a ball of this radius, or one that is not much wider?"""
        return WORN * self.most <= self._prices.within(radius) <= self.most

    @property
    def own(self) -> list[int]:
        """The input's category of each group, which has no share of its own."""
        return self._prices.own

    @cached_property
    def _map(self) -> Sparse:
        """x(u) − x."""
        import scipy.sparse as sp  # noqa: PLC0415

        columns, number = self._columns, np.arange(self.size)
        moved, taken = self._prices.step[columns.entry] / columns.price, columns.switched
        lost = self._prices.step[columns.source[taken]] / columns.price[taken]
        rows = np.append(columns.entry, columns.source[taken])
        entries = np.append(moved, -lost), (rows, np.append(number, number[taken]))
        return sparse(sp.csr_array(entries, shape=(self._lattice.centre.size, self.size)))

    @cached_property
    def graph(self) -> Graph:
        nodes = self._problem.graph.nodes
        first = Affine((Term(self._map, 0),), frozen(self._lattice.centre))
        place = range(1, len(nodes) + 1)
        behind = (renumbered(node, place) for node in nodes[1:])
        return Graph((Input(self.size), first, *behind), self._problem.graph.output + 1)

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """The problem's, with the nodes' new numbers."""
        given = self._problem.arithmetic
        return replace(given, losses={index + 1: loss for index, loss in given.losses.items()})

    def staged(self, budget: Budget) -> Stages:
        """The graph's stages, made once. Raises OutOfTimeError."""
        if self._stages is None:
            arithmetic = self.arithmetic
            found = to_stages(self.graph, arithmetic.unit, arithmetic.floors(self.graph), budget.check)
            self._stages = replace(found, both=self._problem.semantics is Semantics.BOTH)
        return self._stages

    def point(self, increments: Array) -> Array:
        """x(u), up to rounding."""
        return np.asarray(self._lattice.centre + self._map.apply(increments[np.newaxis])[0])

    def narrowed(self, first: Whole, last: Whole, radius: float) -> tuple[Whole, Whole] | None:
        """first and last moved inwards to what the radius leaves each entry; None where nothing is left at all."""
        lattice, prices = self._lattice, self._prices
        free, left = lattice.whole & ~prices.grouped, self._left(first, last, radius)
        if left < 0:
            return None
        base = np.clip(0, first - lattice.at, last - lattice.at)
        most = np.minimum(
            prices.steps(prices.of_step * np.abs(base) ** prices.power + left), last - first + np.abs(base)
        )
        steps = np.where(free, np.floor(most), 0.0).astype(np.int64)
        first = np.where(free, np.maximum(first, lattice.at - steps), first)
        last = np.where(free, np.minimum(last, lattice.at + steps), last)
        for group, own in zip(lattice.groups, prices.own, strict=True):
            if not np.any(first[group] > 0):
                dear = (prices.of_step[group] + prices.of_step[own] > left) & (group != own)
                last[group] = np.where(dear, 0, last[group])
        return first, last

    def ball(self, first: Whole, last: Whole, radius: float) -> Ball | None:
        """The part with whole numbers first ≤ k ≤ last within the radius, at most that of all, in increments; None
        where nothing of it is."""
        lattice, columns = self._lattice, self._columns
        left = self._left(first, last, radius)
        if left < 0:
            return None
        low, high = (
            self._shares(np.where(lattice.whole, numbers - lattice.at, end - lattice.centre), numbers)
            for numbers, end in ((first, lattice.lo), (last, lattice.hi))
        )
        size = np.maximum(np.abs(low), np.abs(high))
        changing = self._changing(first, last)
        size = np.where((columns.source >= 0) & ~columns.switched, np.isin(columns.source, changing), size)
        # The last step that is taken is a little more or less than one where values are rounded.
        below, above = (
            np.where(size > 0, self._eta + self._spare * np.maximum(np.abs(end), 1.0), 0.0) for end in (low, high)
        )
        base = self._base(first, last) * columns.price
        return Ball(Norm.L1, base, left, (low - below) * columns.price, (high + above) * columns.price)

    def away(self, ball: Ball, end: float) -> float:
        """No point of a part, `ball`, that is no nearer than `end` to its centre is nearer to the input than this."""
        prices = self._prices
        spent = (float(np.abs(ball.centre).sum()) + end) - (self._eta + 2.0 * self._spare) * self.most
        least = math.pow(max(0.0, spent), 1.0 / prices.power) * prices.unit
        return least * (1.0 - self._eta) * (1.0 - self._spare)

    def _left(self, first: Whole, last: Whole, radius: float) -> float:
        """What the radius leaves beyond the part's cheapest point, or slightly more; < 0 where not even that is in."""
        amount = self._prices.within(radius)
        spent = float(np.abs(self._base(first, last) * self._columns.price).sum())
        return math.nextafter(amount - spent + (self._eta + 2.0 * self._spare) * self.most, math.inf)

    def _base(self, first: Whole, last: Whole) -> Array:
        """The shares of the part's cheapest point; of a group that may have several categories, the input's own."""
        at = self._lattice.at
        return self._shares(np.clip(0, first - at, last - at).astype(float), first)

    def _changing(self, first: Whole, last: Whole) -> list[int]:
        """The input's categories of groups that may have another one."""
        groups = zip(self._lattice.groups, self._prices.own, strict=True)
        return [own for group, own in groups if np.any(last[group[group != own]] > 0)]

    def _shares(self, moves: Array, numbers: Whole) -> Array:
        """w (m,) of entries that move by so many steps (n,); of a group's categories by their whole numbers (n,)."""
        columns = self._columns
        taken = moves[columns.entry]
        found = np.sign(taken) * np.clip(np.abs(taken) - columns.start, 0.0, columns.length)
        return np.where(columns.source < 0, found, columns.switched & (numbers[columns.entry] > 0))


def increments_within(
    problem: Problem, lattice: Lattice, radius: float, before: LatticeIncrements | None
) -> LatticeIncrements | None:
    """The increments of a ball around the input, those of before where they suit it; None where they are of no use."""
    if before is not None and before.suits(radius):
        return before
    return LatticeIncrements(problem, lattice, radius) if StepPrices(lattice).few(radius) else None
