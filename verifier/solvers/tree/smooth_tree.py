"""Branch and bound over the input for graphs with Sigmoids: boxes of few dimensions, each bounded anew by CROWN.

The envelope of a Sigmoid leaves a gap that shrinks with the square of its argument's range, so that halving boxes alone
comes to an end wherever the goal is missed by some margin. A box is halved where that costs its best row most, now and
then where it is widest of the root's; what its forms leave to points that reach the goal is a smaller box.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from encoders.network.graph import Array, Graph, outputs
from verifier.bounds.box_part import BoxPart, Places
from verifier.bounds.smooth_crown import Bounds, SmoothCrown
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Halfspaces
from verifier.problem.rounding import REAL, Arithmetic
from verifier.solvers.tree.frontier import size_of
from verifier.solvers.tree.threads import ALONE, Threads

BATCH = 8
"""Boxes that are halved at once: a product for sixteen boxes costs little more than for one."""

SLICE = 64
"""Boxes halved before the search looks up."""

WIDTH_EVERY = 4
"""Every so-many-th halving on a way down is of the entry that is widest of the root's: bounds of hidden arguments get
tight with it, which the best row alone may not ask for."""

NARROWEST, NARROWEST_CHARGED = 2.0**-30, 2.0**-20
"""The share of the root's width below which an entry is not halved: what such a box leaves open is rounding's, or
float32's, where that is charged."""

CLIPS = 2
"""Times that a box is cut down by each of its forms."""

CROWD = 20_000
"""Open boxes beyond which the newest is next, not the one farthest from closing: that keeps their number."""


@dataclass(order=True, slots=True)
class _Box:
    """A box that is open, by its best row's bound: its ends over the free entries, its best row there (None: it was not
    bounded), and how many halvings it took. refused: a point of it was no witness, and none is offered."""

    value: float
    number: int
    low: Array = field(compare=False)
    high: Array = field(compare=False)
    row: Array | None = field(compare=False)
    depth: int = field(compare=False)
    refused: bool = field(compare=False)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return size_of((self.low, self.high, self.row))


@dataclass(frozen=True, eq=False)
class _Split:
    """What became of some boxes: a point that reaches the goal, with the box that it lies in, or their open halves."""

    nodes: int
    children: list[_Box]
    stuck: list[_Box]
    point: Array | None = None
    source: _Box | None = None


class SmoothTree:
    """Is there an x in a bounded region, a box or a ball, that reaches the goal of a graph of Input, Affine, Relu and
    Sigmoid nodes?

    What it proves holds in the evaluations of `arithmetic`. To make one raises OutOfTimeError.
    """

    engine = "input tree"

    def __init__(
        self,
        graph: Graph,
        region: Ball,
        goal: Halfspaces,
        budget: Budget,
        arithmetic: Arithmetic = REAL,
    ) -> None:
        low, high = region.interval
        self.radius, self.nodes = region.radius, 0
        self._graph, self._goal = graph, goal
        self._crown = SmoothCrown(graph, (low, high), goal, budget, arithmetic)
        self._charged = arithmetic is not REAL
        self._rest = 0.5 * (low + high)
        free = self._crown.free
        low, high = low[free], high[free]
        # What other inputs move by is no nearer to the centre for it.
        ball = Ball(region.norm, region.centre[free], region.radius, low, high)
        if ball.geometry.is_box:
            ball = Ball.of_box(low, high)
            ball = ball.with_radius(float(np.nextafter(ball.reach, np.inf)))
        self._ball = ball
        self._widths, self._count = high - low, 0
        self._narrowest = (NARROWEST_CHARGED if self._charged else NARROWEST) * self._widths
        self._open, self._newest = [_Box(-np.inf, 0, low, high, None, 0, refused=False)], list[_Box]()
        self._stuck: list[_Box] = []
        self._offered: _Box | None = None
        self._memory, self._account = budget.memory, budget.memory.account(self)

    @property
    def open_nodes(self) -> int:
        """Boxes that are not closed, those among them that no halving closes."""
        return len(self._open) + len(self._newest) + len(self._stuck)

    @property
    def stuck(self) -> bool:
        """Are only boxes open that are too narrow to be halved?"""
        return bool(self._stuck) and not (self._open or self._newest)

    @property
    def float32_end(self) -> float:
        """The radius where charged bounds have closed every box; else 0."""
        return self.radius if self._charged and not self.open_nodes else 0.0

    def charge(self) -> bool:
        """False: charges are for all boxes or for none, since each is cut down by its bounds."""
        return False

    def refuse(self) -> None:
        """The point that was found last is no witness: its box is halved without it."""
        if self._offered is not None:
            self._offered.refused = True

    def explore(self, budget: Budget, threads: Threads = ALONE) -> Array | None:
        """Halve some boxes; a point (n,) that reaches the goal, as floats see it, ends that.

        When the budget ends, every box that is not closed is open again. Raises OutOfTimeError.
        """
        budget.check()
        done = 0
        while done < SLICE and (self._open or self._newest):
            batches = [batch for _ in range(threads.count) if (batch := self._taken())]
            try:
                found = threads.each(partial(self._split, budget), batches)
            except OutOfTimeError:
                self._put([box for batch in batches for box in batch])
                return None
            self.nodes += sum(split.nodes for split in found)
            done += sum(map(len, batches))
            point = self._kept(batches, found)
            if point is not None:
                return point
        return None

    def _kept(self, batches: list[list[_Box]], found: list[_Split]) -> Array | None:
        """Take over what became of batches; the first point, whose batch is open as it was."""
        point = None
        for batch, split in zip(batches, found, strict=True):
            if split.point is not None:
                self._put(batch)
                if point is None:
                    point, self._offered = split.point, split.source
                continue
            for box in split.children:
                self._count += 1
                box.number = self._count
            self._put(split.children)
            self._stuck += split.stuck
        return point

    def _taken(self) -> list[_Box]:
        taken: list[_Box] = []
        while len(taken) < BATCH and (self._newest or self._open):
            taken.append(self._newest.pop() if self._newest else heapq.heappop(self._open))
        self._account.add(-sum(box.size for box in taken))
        return taken

    def _put(self, boxes: list[_Box]) -> None:
        self._account.add(sum(box.size for box in boxes))
        for box in sorted(boxes, reverse=True):
            if len(self._open) < CROWD and not self._memory.crowded:
                heapq.heappush(self._open, box)
            else:
                self._newest.append(box)

    def _split(self, budget: Budget, batch: list[_Box]) -> _Split:
        """Bound the halves of each box, the root as a whole. Raises OutOfTimeError."""
        pieces: list[tuple[_Box, Array, Array]] = []
        stuck = []
        for box in batch:
            entry = -1 if box.row is None else self._entry(box)
            if box.row is None:
                pieces.append((box, box.low, box.high))
            elif entry < 0:
                stuck.append(box)
            else:
                pieces += _halves(box, entry)
        if not pieces:
            return _Split(0, [], stuck)
        part = BoxPart(
            self._ball, self._ball.radius, np.array([low for _, low, _ in pieces]), np.array([h for *_, h in pieces])
        )
        bounds = self._crown.bound(part, budget)
        low, high = part.clipped(bounds.constants, bounds.rows, CLIPS)
        left = ~(np.any(bounds.values > 0, axis=1) | np.any(low > high, axis=1) | (part.distance > self._ball.radius))
        best = np.argmax(bounds.values, axis=1)
        rows = bounds.rows[np.arange(len(best)), best]
        offered = np.flatnonzero(left & np.array([not box.refused for box, _, _ in pieces]))
        point, place = self._candidate(part, rows, offered)
        if point is not None:
            return _Split(len(pieces), [], [], point, pieces[place][0])
        children = [
            _Box(value, 0, low[k], high[k], rows[k], pieces[k][0].depth + 1, pieces[k][0].refused)
            for k, value in enumerate(_best(bounds))
            if left[k]
        ]
        return _Split(len(pieces), children, stuck)

    def _entry(self, box: _Box) -> int:
        """The entry to halve; −1: none can be."""
        middle, widths = 0.5 * (box.low + box.high), box.high - box.low
        able = (box.low < middle) & (middle < box.high) & (widths > self._narrowest)
        if not able.any():
            return -1
        assert box.row is not None
        score = np.nan_to_num(np.abs(box.row) * widths)
        if box.depth % WIDTH_EVERY == 0 or not np.any(score[able] > 0):
            score = widths / self._widths
        return int(np.where(able, score, -1.0).argmax())

    def _candidate(self, part: BoxPart, rows: Array, places: Places) -> tuple[Array | None, int]:
        """A point of one of these boxes that reaches the goal: where its best row is least, or in its middle."""
        if not places.size:
            return None, -1
        points = np.tile(self._rest, (2 * places.size, 1))
        points[:, self._crown.free] = np.concatenate([part.deepest(np.nan_to_num(rows))[places], part.base[places]])
        margins = np.nan_to_num(self._goal.margin(outputs(self._graph, points)), nan=-np.inf)
        # A part of a round ball is held by a ball, which is larger.
        margins[self._ball.length(points[:, self._crown.free]) > self._ball.radius] = -np.inf
        best = int(np.argmax(margins))
        return (points[best], int(places[best % places.size])) if margins[best] >= 0 else (None, -1)


def _halves(box: _Box, entry: int) -> list[tuple[_Box, Array, Array]]:
    """The two boxes that meet in the middle of an entry."""
    bottom, top = box.low.copy(), box.high.copy()
    bottom[entry] = top[entry] = 0.5 * (box.low[entry] + box.high[entry])
    return [(box, box.low, top), (box, bottom, box.high)]


def _best(bounds: Bounds) -> list[float]:
    """The best row's bound of each box."""
    found: list[float] = np.nan_to_num(bounds.values, nan=-np.inf).max(axis=1).tolist()
    return found
