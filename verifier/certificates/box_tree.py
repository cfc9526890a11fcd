"""The tree of boxes that refutes a case of a property: halved inputs, each box closed by one row and CROWN's lines.

Floats propose it, in batches as the search's own input tree does; nothing here is believed. What the checker is to find
at a node are claims about signs of neurons, and which row closes a leaf.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.box_crown import Bounded, BoxCrown
from verifier.bounds.box_part import BoxPart
from verifier.bounds.lagrangian import Lagrangian
from verifier.certificates.checker import ANEW, GROUP, HALVES, ROW
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.tree.input_tree import ENTRIES, NARROWEST, SMEAR, TRIED, WIDTH

BATCH = 8
"""Boxes that are halved side by side."""

DEPTH_OF_ALL = 10
"""Halvings from the root up to which every entry is tried, where few may move: what is halved first decides most."""

MARGIN = 2.0**-17
"""Relative to the goal's constants and bounds: what the checker's multiples of bounds and multipliers may lose."""

CLAIMED = 2.0**-14
"""How far from 0 an argument is, relative to its size, whose sign is claimed: at 2⁻¹⁷, 41 signs did not follow in 6,007
boxes of ACAS Xu."""

Signs = npt.NDArray[np.int8]
"""0: off, 1: active, 2: open."""


@dataclass(eq=False)
class HalvedBox:
    """A box low ≤ x ≤ high; what is known of ReLU arguments there (dropped when it has been halved), and the bounded
    goal's row whose bound is best, as a form at the input.

    sure (relu_count,): how far an argument is from 0, relative to its size: > 0 active, < 0 off, 0 open.
    row: the one that closes it, −1 if none does; split: entry and step at which it was halved, into `parts`.
    """

    low: Array
    high: Array
    lower: Array | None
    upper: Array | None
    form: Array
    sure: npt.NDArray[np.float32]
    depth: int
    row: int = -1
    split: tuple[int, int] | None = None
    parts: tuple[HalvedBox, HalvedBox] | None = None


@dataclass(frozen=True, eq=False)
class _Piece:
    """Half of a node by one of its proposals."""

    owner: int
    split: tuple[int, int]
    low: Array
    high: Array


class BoxTree:
    """Halves boxes within a finite ball until every one is closed; lower, upper (relu_count,) are proved there. Numbers
    at which they are halved are multiples of 2^-grid of the ball's widths."""

    def __init__(self, stages: Stages, ball: Ball, goal: Halfspaces, lower: Array, upper: Array, grid: int) -> None:
        self._ball, self._steps = ball, 1 << grid
        self._bounds = np.full(lower.size, -np.inf), np.full(upper.size, np.inf)
        self._crown = BoxCrown(stages, Lagrangian(stages, ball, goal, lower, upper))
        self._widths = ball.interval[1] - ball.interval[0]
        self._free = int(np.count_nonzero(self._widths > 0))
        self._margin = MARGIN * (1.0 + float(np.abs(goal.offset).max(initial=0.0)))
        widest = max((stage.size for stage in stages.hidden), default=1)
        self._most = max(2, min(BATCH * 2 * TRIED, ENTRIES // (2 * max(widest, 1) ** 2)))
        self.root: HalvedBox | None = None
        self._open: list[HalvedBox] = []
        self.rooted = np.zeros(0, dtype=np.int8)
        """What the last numbers claim of signs in the whole box."""
        self._leaves: list[HalvedBox] = []
        self._anew: list[HalvedBox] = []

    def grow(self, budget: Budget) -> None:
        """Halve until all is closed. Raises OutOfTimeError, or NotCertifiedError: floats leave nothing to halve."""
        if self.root is None:
            low, high = self._ball.interval
            whole = _Piece(0, (0, 0), low, high)
            self.root = self._node(whole, self._bound([whole], [self._bounds], budget)[0])
            self._open = [] if self.root.row >= 0 else [self.root]
        while self._open:
            budget.check()
            batch = self._open[-BATCH:]
            pieces = [piece for number, node in enumerate(batch) for piece in self._halves(number, node, budget)]
            known = [(node.lower, node.upper) for node in batch]
            found = self._bound(pieces, [known[piece.owner] for piece in pieces], budget)
            del self._open[-BATCH:]
            for number, node in enumerate(batch):
                self._choose(node, [k for k, piece in enumerate(pieces) if piece.owner == number], pieces, found)

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        """What the checker finds of the last numbers: these leaves do not close and are to be halved; these signs
        (which bounds anew, neuron) do not follow and are claimed no more."""
        for leaf in leaves:
            self._leaves[leaf].row = -1
            self._open.append(self._leaves[leaf])
        for bounds, neuron in signs:
            self._anew[bounds].sure[neuron] = 0.0

    def numbers(self, known: Signs | None) -> list[int]:
        """The tree's integers in the certificate, in the order in which the checker comes to its nodes; signs that are
        `known` of the whole box, if it has been evaluated."""
        assert self.root is not None
        found: list[int] = []
        self._leaves, self._anew = [], []
        unknown = np.full(self.root.sure.size, 2, dtype=np.int8)
        self.rooted = unknown if known is None else known
        stack: list[tuple[HalvedBox, bool, Signs]] = [(self.root, known is None, self.rooted)]
        while stack:
            group = stack[-GROUP:]
            del stack[-GROUP:]
            for node, fresh, told in group:
                if fresh:
                    asked = told == 2
                    seen = np.where(node.sure > CLAIMED, 1, np.where(node.sure < -CLAIMED, 0, 2))
                    self._anew.append(node)
                    found += [ANEW, *seen[asked].tolist()]
                    signs = np.where(asked, seen, told)
                    self.rooted = signs if node is self.root else self.rooted
                    stack.append((node, False, signs))
                elif node.parts is None or node.split is None:
                    found += [ROW, node.row]
                    self._leaves.append(node)
                else:
                    found += [HALVES, *node.split]
                    stack += [(node.parts[1], True, told), (node.parts[0], True, told)]
        return found

    def _bound(
        self, pieces: Sequence[_Piece], known: Sequence[tuple[Array | None, Array | None]], budget: Budget
    ) -> list[Bounded]:
        """What CROWN says of each piece, given what is known of ReLU arguments around it."""
        found: list[Bounded] = []
        for first in range(0, len(pieces), self._most):
            some = slice(first, first + self._most)
            low, high = (np.array([getattr(piece, end) for piece in pieces[some]]) for end in ("low", "high"))
            lower, upper = (np.array([pair[end] for pair in known[some]]) for end in (0, 1))
            part = BoxPart(self._ball, self._ball.radius, low, high)
            done = self._crown.bound(part, lower, upper, budget)
            arrays = (done.lower, done.upper, done.rows, done.constants, done.values, done.real_values)
            found += [Bounded(*one) for one in zip(*arrays, strict=True)]
        return found

    def _node(self, piece: _Piece, found: Bounded, depth: int = 0) -> HalvedBox:
        values = np.nan_to_num(found.values, nan=-np.inf)
        best = int(values.argmax()) if values.size else -1
        closed = best >= 0 and values[best] > self._margin
        size = 1.0 + np.maximum(-found.lower, found.upper)
        sure = ((np.maximum(found.lower, 0.0) + np.minimum(found.upper, 0.0)) / size).astype(np.float32)
        form = found.rows[best] if best >= 0 else np.zeros(self._widths.size)
        lower, upper = (None, None) if closed else (found.lower, found.upper)
        return HalvedBox(piece.low, piece.high, lower, upper, form, sure, depth, best if closed else -1)

    def _halves(self, number: int, node: HalvedBox, budget: Budget) -> list[_Piece]:
        """Both halves of a node by each of the entries that may be halved."""
        if node.lower is None:
            (found,) = self._bound([_Piece(0, (0, 0), node.low, node.high)], [self._bounds], budget)
            node.lower, node.upper = found.lower, found.upper
        widths, low = node.high - node.low, self._ball.interval[0]
        share = self._steps / np.where(self._widths > 0, self._widths, np.inf)
        steps = np.rint((0.5 * node.low + 0.5 * node.high - low) * share)
        middle = low + steps * (self._widths / self._steps)
        able = (node.low < middle) & (middle < node.high) & (widths > NARROWEST * self._widths)
        if not able.any():
            raise NotCertifiedError("some box is too narrow to be halved, and does not close")
        if node.depth <= DEPTH_OF_ALL and self._free <= TRIED:
            entries = np.flatnonzero(able).tolist()
        else:
            scores = (np.nan_to_num(rule.score(node.form, widths, self._widths)) for rule in (SMEAR, WIDTH))
            entries = [*dict.fromkeys(int(np.where(able, score, -1.0).argmax()) for score in scores)]
        pieces = []
        for entry in entries:
            split = entry, int(steps[entry])
            bottom, top = node.low.copy(), node.high.copy()
            bottom[entry] = top[entry] = middle[entry]
            pieces += [_Piece(number, split, node.low, top), _Piece(number, split, bottom, node.high)]
        return pieces

    def _choose(self, node: HalvedBox, own: Sequence[int], pieces: Sequence[_Piece], found: Sequence[Bounded]) -> None:
        """Halve a node where its halves' bounds are best; those that do not close are open."""

        def worth(first: int) -> float:
            values = [np.nan_to_num(found[k].values, nan=-np.inf).max(initial=-math.inf) for k in (first, first + 1)]
            return float(sum(min(value - self._margin, 0.0) for value in values))

        first = max(own[::2], key=worth)
        parts = [self._node(pieces[k], found[k], node.depth + 1) for k in (first, first + 1)]
        node.split, node.parts = pieces[first].split, (parts[0], parts[1])
        node.lower = node.upper = None
        self._open += [part for part in parts if part.row < 0]
