"""`BatchedBound` by its kernel: the network as one sparse matrix, the batch as arrays, calls that a budget can end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, NEAR, RENEWED, BatchedBound, Proposed, Start
from verifier.bounds.kernels.alpha_beta_crown import NUMBERS, PLANES, Nodes, SteppedNetwork, climb, smallest_rows
from verifier.bounds.kernels.batch_lines import begin_lines, end_lines
from verifier.bounds.kernels.lanes import LANES, CompressedRows, compressed
from verifier.bounds.kernels.least_points import KINDS, single
from verifier.bounds.lagrangian import ranks
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Floats

AT_ONCE = 0.2
"""Seconds that one call may take, about: a budget that ends is seen only between calls."""


class Space(NamedTuple):
    """What a thread works in, as in `Nodes`: nothing in it outlasts a call, and all that is read was written before."""

    state: Floats
    mu: Floats
    values: Floats
    messages: Floats


class CompiledBound:
    """`BatchedBound.optimise` by the kernel, for batches of at least FEW nodes in the norms that it knows."""

    def __init__(self, bound: BatchedBound) -> None:
        self._bound = bound
        self._forward, self._back = _transitions(bound)
        self._constant = np.concatenate([layer.constant[:, 0] for layer in bound.layers])
        self._rows = ranks(bound.open, bound.kept.size)
        self._spaces = threading.local()
        self._rate = 0.0
        """Seconds that a step takes for each node, as the last call took them; 0 before the first."""

    def optimise(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """As `BatchedBound.optimise`. Raises OutOfTimeError."""
        bound, batch = self._bound, lower.shape[1]
        if batch < FEW or bound.ball.norm not in KINDS:
            return bound.optimise(lower, upper, start, steps, budget)
        if batch <= LANES:
            return self._climbed(lower, upper, start, steps, budget)
        parts = [np.arange(batch)[first : first + LANES] for first in range(0, batch, LANES)]
        return joined([self._climbed(lower[:, at], upper[:, at], start.columns(at), steps, budget) for at in parts])

    def margins(self, points: Floats, places: npt.NDArray[np.integer]) -> Floats:
        """As `BatchedBound.margins`."""
        bound, count = self._bound, places.size
        if not FEW <= count <= LANES or bound.ball.norm not in KINDS:
            return bound.margins(points, places)
        found = np.empty(count, np.float32)
        at, points = places.astype(np.int64), np.ascontiguousarray(points)
        smallest_rows(self._net(), points, at, self._space.values, found)
        return found

    def _climbed(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """For at most LANES nodes."""
        bound, batch = self._bound, lower.shape[1]
        low, high = np.ascontiguousarray(lower.T), np.ascontiguousarray(upper.T)
        alpha, beta = np.ascontiguousarray(start.alpha), np.ascontiguousarray(start.beta)
        net, nodes, near = self._net(), self._nodes(start), NEAR * bound.deficit
        begin_lines(low, high, alpha, beta, nodes.state, nodes.by_node)
        left = steps
        while True:
            budget.check()
            moves = min(left, 1 + int(AT_ONCE / (self._rate * batch)) if self._rate else 1)
            left -= moves
            begun = time.perf_counter()
            climb(net, bound.ball.radius, bound.margin, near, nodes, moves, left == 0)
            if moves:
                self._rate = (time.perf_counter() - begun) / (moves * batch)
            if left == 0 or nodes.counts[0] == 0:
                break
        alpha, beta = np.empty(lower.shape, np.float32), np.empty(lower.shape, np.float32)
        end_lines(low, high, nodes.state, alpha, beta)
        weights, points = nodes.best_weights[:, :batch], nodes.best_points[:, :batch]
        return Proposed(Start(alpha, beta, weights, nodes.shares[:batch]), nodes.best[:batch], points)

    def _net(self) -> SteppedNetwork:
        return SteppedNetwork(self._forward, self._back, self._constant, self._rows, single(self._bound.ball))

    @property
    def _space(self) -> Space:
        """This thread's."""
        if not hasattr(self._spaces, "space"):
            size, kept, rows = self._bound.size, self._bound.kept.size, self._constant.size
            state = np.zeros((self._bound.open.size, PLANES), np.float32)
            self._spaces.space = Space(state, empty(size + kept), empty(size + rows), empty(rows))
        found: Space = self._spaces.space
        return found

    def _nodes(self, start: Start) -> Nodes:
        rows, batch = start.weights.shape
        return Nodes(
            **self._space._asdict(),
            weights=in_lanes(start.weights),
            row_turn=empty(rows),
            row_last=empty(rows),
            by_node=empty(NUMBERS),
            at=np.arange(LANES),
            counts=np.array([batch, 0]),
            best=np.full(LANES, -np.inf, np.float32),
            shares=in_lanes(np.maximum(start.shares, RENEWED)),
            best_weights=empty(rows),
            best_points=empty(self._bound.size),
        )


def empty(rows: int) -> Floats:
    """Lanes of 0."""
    return np.zeros((rows, LANES), np.float32)


def in_lanes(array: Floats) -> Floats:
    """A copy as kernels are compiled for: float32, LANES columns, those that are more are 0."""
    found = np.zeros((*array.shape[:-1], LANES), np.float32)
    found[..., : array.shape[-1]] = array
    return found


def joined(parts: Sequence[Proposed]) -> Proposed:
    """What is proposed for several batches, for all of their nodes."""
    best = [part.best for part in parts]
    start = Start(
        *(np.concatenate([getattr(one, name) for one in best], axis=-1) for name in Start.__dataclass_fields__)
    )
    values, points = (np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("values", "points"))
    return Proposed(start, values, points)


def _transitions(bound: BatchedBound) -> tuple[CompressedRows, CompressedRows]:
    """The matrix from (input, kept ReLUs) to (their arguments, the goal's rows), and its transpose."""
    forward, back = [], []
    for number, layer in enumerate(bound.layers):
        for source, (matrix, adjoint) in layer.blocks.items():
            to, since = int(bound.starts[number]), bound.size + int(bound.starts[source - 1]) if source else 0
            forward.append((matrix, to, since))
            back.append((adjoint, since, to))
    count = int(bound.starts[-1]) + len(bound.layers[-1].constant)
    return compressed(forward, count, np.float32), compressed(back, bound.size + bound.kept.size, np.float32)
