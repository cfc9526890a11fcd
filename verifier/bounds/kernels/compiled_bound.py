"""`BatchedBound` by its kernel: the network as one sparse matrix, the batch as arrays, calls that a budget can end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FEW, NEAR, RENEWED, BatchedBound, Lines, Proposed, Start
from verifier.bounds.kernels.alpha_beta_crown import NUMBERS, OPEN, SPLITS, CompressedRows, Nodes, SteppedNetwork, climb
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
        self._rate = 0.0
        """Seconds that a step takes for each node, as the last call took them; 0 before the first."""

    def optimise(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """As `BatchedBound.optimise`. Raises OutOfTimeError."""
        bound, batch = self._bound, lower.shape[1]
        if batch < FEW or bound.ball.norm not in KINDS:
            return bound.optimise(lower, upper, start, steps, budget)
        lines = bound.lines(lower, upper, start)
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
        alpha = np.where(lines.open, nodes.best_theta, lines.fixed)
        beta = np.where(lines.open, np.float32(0.0), nodes.best_theta * lines.side)
        return Proposed(Start(alpha, beta, nodes.best_weights, nodes.shares), nodes.best, nodes.best_points)

    def _net(self) -> SteppedNetwork:
        return SteppedNetwork(self._forward, self._back, self._constant, single(self._bound.ball))

    def _nodes(self, lines: Lines, start: Start) -> Nodes:
        (kept, batch), size = lines.open.shape, self._bound.size
        weights = owned(start.weights)

        def empty(rows: int) -> Floats:
            return np.zeros((rows, batch), np.float32)

        nodes = Nodes(
            role=owned(np.where(lines.open, OPEN, lines.side)),
            theta=owned(np.where(lines.open, lines.alpha, lines.beta)),
            slope=owned(lines.slope),
            intercept=owned(lines.intercept),
            weights=weights,
            mu=empty(size + kept),
            values=empty(size + kept),
            messages=empty(kept + len(weights)),
            turn=empty(kept),
            last=empty(kept),
            row_turn=empty(len(weights)),
            row_last=empty(len(weights)),
            squares=empty(kept),
            units=empty(kept),
            by_node=empty(NUMBERS),
            at=np.arange(batch),
            counts=np.array([batch, 0]),
            best=np.full(batch, -np.inf, np.float32),
            shares=owned(np.maximum(start.shares, RENEWED)),
            best_theta=empty(kept),
            best_weights=empty(len(weights)),
            best_points=empty(size),
        )
        nodes.by_node[SPLITS] = np.maximum(np.abs(lines.side).sum(axis=0), 1.0)
        return nodes


def owned(array: Floats) -> Floats:
    """A copy as kernels are compiled for: float32, row by row, that may be written to."""
    return np.array(array, dtype=np.float32, order="C")


def _transitions(bound: BatchedBound) -> tuple[CompressedRows, CompressedRows]:
    """The matrix from (input, kept ReLUs) to (their arguments, the goal's rows), and its transpose."""
    forward, back = [], []
    for number, layer in enumerate(bound.layers):
        for source, (matrix, adjoint) in layer.blocks.items():
            to, since = int(bound.starts[number]), bound.size + int(bound.starts[source - 1]) if source else 0
            forward.append((matrix, to, since))
            back.append((adjoint, since, to))
    count = int(bound.starts[-1]) + len(bound.layers[-1].constant)
    return _by_rows(forward, count), _by_rows(back, bound.size + bound.kept.size)


def _by_rows(blocks: Sequence[tuple[Any, int, int]], count: int) -> CompressedRows:
    """One matrix of blocks, each with its first row and column."""
    rows, places, entries = [], [], []
    for matrix, first_row, first_column in blocks:
        if isinstance(matrix, np.ndarray):
            row, place = np.nonzero(matrix)
            entry = matrix[row, place]
        else:
            found = matrix.tocoo()
            row, place, entry = found.row, found.col, found.data
        rows.append(row + first_row)
        places.append((place + first_column).astype(np.int32))
        entries.append(entry)
    row = np.concatenate(rows)
    # Each block's rows are in order already: what is left to do is to merge those of several sources.
    order = np.argsort(row, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))]).astype(np.int64)
    return CompressedRows(ends, np.concatenate(places)[order], np.concatenate(entries)[order].astype(np.float32))
