"""`BatchedBound` by its kernel: the network as one sparse matrix, the batch as arrays, calls that a budget can end."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, NEAR, RENEWED, BatchedBound, Lines, Proposed, Start, lines_of
from verifier.bounds.kernels.alpha_beta_crown import (
    BEST,
    INTERCEPT,
    NUMBERS,
    OPEN,
    PLANES,
    ROLE,
    SLOPE,
    SPLITS,
    THETA,
    Nodes,
    SteppedNetwork,
    climb,
    smallest_rows,
)
from verifier.bounds.kernels.lanes import LANES, CompressedRows, compressed
from verifier.bounds.kernels.least_points import KINDS, single
from verifier.problem.budget import Budget
from verifier.problem.norms.geometry import Floats

AT_ONCE = 0.2
"""Seconds that one call may take, about: a budget that ends is seen only between calls."""


class CompiledBound:
    """`BatchedBound.optimise` by the kernel, for batches of at least FEW nodes in the norms that it knows."""

    def __init__(self, bound: BatchedBound) -> None:
        self._bound = bound
        self._forward, self._back = _transitions(bound)
        self._constant = np.concatenate([layer.constant[:, 0] for layer in bound.layers])
        self._rows = np.full(bound.kept.size, -1, dtype=np.int64)
        self._rows[bound.open] = np.arange(bound.open.size)
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

    def margins(self, points: Floats) -> Floats:
        """As `BatchedBound.margins`."""
        bound, count = self._bound, points.shape[1]
        if not FEW <= count <= LANES or bound.ball.norm not in KINDS:
            return bound.margins(points)
        values, found = np.empty((bound.size + self._constant.size, LANES), np.float32), np.empty(count, np.float32)
        smallest_rows(self._net(), in_lanes(points), count, values, found)
        return found

    def _climbed(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """For at most LANES nodes. α of the ReLUs that the root fixes is 1: all that are kept are active."""
        bound, own, batch = self._bound, self._bound.open, lower.shape[1]
        lines = lines_of(lower[own], upper[own], start.alpha[own], start.beta[own])
        net, nodes, near = self._net(), self._nodes(lines, start), NEAR * bound.deficit
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
        theta = nodes.state[:, BEST : BEST + batch]
        alpha, beta = np.ones(lower.shape, np.float32), np.zeros(lower.shape, np.float32)
        alpha[own] = np.where(lines.open, theta, lines.fixed)
        beta[own] = np.where(lines.open, np.float32(0.0), theta * lines.side)
        weights, points = nodes.best_weights[:, :batch], nodes.best_points[:, :batch]
        return Proposed(Start(alpha, beta, weights, nodes.shares[:batch]), nodes.best[:batch], points)

    def _net(self) -> SteppedNetwork:
        return SteppedNetwork(self._forward, self._back, self._constant, self._rows, single(self._bound.ball))

    def _nodes(self, lines: Lines, start: Start) -> Nodes:
        (open_, batch), size, kept = lines.open.shape, self._bound.size, self._bound.kept.size
        state = np.zeros((open_, PLANES), np.float32)
        begun = (
            (ROLE, np.where(lines.open, OPEN, lines.side)),
            (THETA, np.where(lines.open, lines.alpha, lines.beta)),
            (SLOPE, lines.slope),
            (INTERCEPT, lines.intercept),
        )
        for plane, values in begun:
            state[:, plane : plane + batch] = values
        rows = len(start.weights)
        by_node = empty(NUMBERS)
        by_node[SPLITS] = 1.0
        by_node[SPLITS, :batch] = np.maximum(np.abs(lines.side).sum(axis=0), 1.0)
        return Nodes(
            state=state,
            weights=in_lanes(start.weights),
            mu=empty(size + kept),
            values=empty(size + kept),
            messages=empty(kept + rows),
            row_turn=empty(rows),
            row_last=empty(rows),
            by_node=by_node,
            at=np.arange(LANES),
            counts=np.array([batch, 0]),
            best=np.full(LANES, -np.inf, np.float32),
            shares=in_lanes(np.maximum(start.shares, RENEWED)),
            best_weights=empty(rows),
            best_points=empty(size),
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
