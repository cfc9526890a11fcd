"""The tree of boxes that refutes a case of a property: halved inputs, each box closed by one row and CROWN's lines.

Floats propose it, in batches as the search's own input tree does; nothing here is believed. What a row's form closes of
a box is split off it first, as searches clip boxes: there it is a leaf with the bounds of the box. What the checker is
to find at a node are claims about signs of neurons, and which row closes a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.box_crown import Bounded
from verifier.bounds.box_part import BoxPart, Places
from verifier.certificates.checker import ANEW, GROUP, HALVES, ROW
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.branching import SMEAR, WIDTH
from verifier.solvers.tree.input_tree import ENTRIES, NARROWEST, TRIED

BATCH = 16
"""Boxes that are halved side by side."""

DEPTH_OF_ALL = 10
"""Halvings from the root up to which every entry is tried, where few may move: what is halved first decides most."""

MARGIN = 2.0**-14
"""Relative to the goal's constants: what the checker's multiples of bounds and multipliers may lose. At 2⁻¹⁷ one leaf
of 39,000 did not close."""

CUT_MARGIN = 2.0**-13
"""The same where a row closes what is split off, whose bound is no larger than it has to be: at 2⁻¹⁴, 1,190 of 45,000
such leaves of a reach_prob_density robot did not close; at 2⁻¹³ none of 27,000."""

MENDED = 4.0
"""By how much these margins grow where leaves do not close: each time costs a check of the whole."""

CUT = 2.0**-3
"""The share of a box's width from which on it is split off: at 1/4 a twentieth more boxes are bounded."""

CLAIMED = 2.0**-14
"""How far from 0 an argument is, relative to its size, whose sign is claimed: at 2⁻¹⁷, 41 signs did not follow in 6,007
boxes of ACAS Xu."""

Signs = npt.NDArray[np.int8]
"""0: off, 1: active, 2: open."""


@dataclass(eq=False)
class HalvedBox:
    """A box low ≤ x ≤ high; what is known of ReLU arguments there (dropped when it has been halved), and the bounded
    goal's row whose bound is best, as a form at the input.

    anew: is it bounded, or are its bounds those of the box that it is a part of? sure (relu_count,): how far an
    argument is from 0, relative to its size: > 0 active, < 0 off, 0 open. row: the one that closes it, −1 if none does;
    split: entry and step at which it was halved, into `parts`.
    """

    low: Array
    high: Array
    lower: Array | None
    upper: Array | None
    form: Array
    sure: npt.NDArray[np.float32]
    depth: int
    anew: bool = True
    row: int = -1
    split: tuple[int, int] | None = None
    parts: tuple[HalvedBox, HalvedBox] | None = None


@dataclass(frozen=True, eq=False)
class _Halves:
    """Boxes low, high (2 k, n), two for each way to halve a node: `owner`, entry and step (k,)."""

    owner: Places
    entry: Places
    step: Places
    low: Array
    high: Array


class Crown(Protocol):
    """What bounds boxes for a goal: the arguments of hidden layers of these sizes, then the goal's rows."""

    @property
    def sizes(self) -> Sequence[int]: ...

    def bound(self, part: BoxPart, lower: Array, upper: Array, budget: Budget) -> Bounded:
        """As `BoxCrown` does."""


class BoxTree:
    """Halves boxes within a finite ball until every one is closed. Numbers at which they are halved are multiples of
    2^-grid of the ball's widths."""

    def __init__(self, crown: Crown, ball: Ball, goal: Halfspaces, grid: int) -> None:
        self._ball, self._steps, self._crown = ball, 1 << grid, crown
        count = sum(crown.sizes)
        self._bounds = np.full(count, -np.inf), np.full(count, np.inf)
        self._start, end = ball.interval
        self._widths = end - self._start
        self._free = int(np.count_nonzero(self._widths > 0))
        self._size = 1.0 + float(np.abs(goal.offset).max(initial=0.0))
        widest = max((1, *crown.sizes))
        self._most = max(2, min(BATCH * 2 * TRIED, ENTRIES // (2 * widest**2)))
        self.root: HalvedBox | None = None
        self._open: list[HalvedBox] = []
        self.rooted = np.zeros(0, dtype=np.int8)
        """What the last numbers claim of signs in the whole box."""
        self._leaves: list[HalvedBox] = []
        self._anew: list[HalvedBox] = []

    def grow(self, budget: Budget) -> None:
        """Halve until all is closed. Raises OutOfTimeError, or NotCertifiedError: floats leave nothing to halve."""
        if self.root is None:
            low, high = (end[np.newaxis] for end in self._ball.interval)
            (self.root,) = self._nodes(low, high, self._bounded(low, high, budget), [0])
        while self._open:
            budget.check()
            batch = self._open[-BATCH:]
            halves = self._halves(batch, budget)
            known = [
                np.array([getattr(node, end) for node in batch])[halves.owner.repeat(2)] for end in ("lower", "upper")
            ]
            found = self._bounded(halves.low, halves.high, budget, known)
            del self._open[-BATCH:]
            self._choose(batch, halves, found)

    def mend(self, leaves: Sequence[int], signs: Sequence[tuple[int, int]]) -> None:
        """What the checker finds of the last numbers: these leaves do not close and are to be halved; these signs
        (which bounds anew, neuron) do not follow and are claimed no more."""
        for leaf in leaves:
            self._leaves[leaf].row = -1
            self._open.append(self._leaves[leaf])
        self._size *= MENDED if leaves else 1.0
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
            for node, anew, told in group:
                if anew:
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
                    stack += [(part, part.anew, told) for part in node.parts[::-1]]
        return found

    def _bounded(self, low: Array, high: Array, budget: Budget, known: Sequence[Array] | None = None) -> Bounded:
        """What CROWN says of boxes, given what is `known` of ReLU arguments there."""
        lower, upper = known or (np.tile(end, (len(low), 1)) for end in self._bounds)
        found = []
        for first in range(0, len(low), self._most):
            some = slice(first, first + self._most)
            part = BoxPart(self._ball, self._ball.radius, low[some], high[some])
            found.append(self._crown.bound(part, lower[some], upper[some], budget))
        return Bounded(*(np.concatenate([getattr(one, field.name) for one in found]) for field in fields(Bounded)))

    def _halves(self, batch: Sequence[HalvedBox], budget: Budget) -> _Halves:
        """Both halves of each node by each of the entries that may be halved."""
        for node in batch:
            if node.lower is None:
                found = self._bounded(node.low[np.newaxis], node.high[np.newaxis], budget)
                node.lower, node.upper = found.lower[0], found.upper[0]
        low, high, form = (np.array([getattr(node, name) for node in batch]) for name in ("low", "high", "form"))
        widths = high - low
        steps = np.rint(self._steps_at(0.5 * low + 0.5 * high))
        middle = self._at(steps)
        able = (low < middle) & (middle < high) & (widths > NARROWEST * self._widths)
        if not able.any(axis=1).all():
            raise NotCertifiedError("some box is too narrow to be halved, and does not close")
        scores = (np.nan_to_num(rule.score(form, widths, self._widths)) for rule in (SMEAR, WIDTH))
        best = np.array([np.where(able, score, -1.0).argmax(axis=1) for score in scores]).T
        every = [node.depth <= DEPTH_OF_ALL and self._free <= TRIED for node in batch]
        ways = [
            (owner, entry)
            for owner, all_ in enumerate(every)
            for entry in (np.flatnonzero(able[owner]) if all_ else dict.fromkeys(best[owner].tolist()))
        ]
        owner, entry = np.array(ways, dtype=np.intp).T
        low, high = low[owner.repeat(2)], high[owner.repeat(2)]
        at, cut = np.arange(0, 2 * owner.size, 2), middle[owner, entry]
        high[at, entry] = low[at + 1, entry] = cut
        return _Halves(owner, entry, steps[owner, entry].astype(np.intp), low, high)

    def _steps_at(self, values: Array) -> Array:
        """Values (…, n) of entries in steps of the ball's widths."""
        return (values - self._start) * (self._steps / np.where(self._widths > 0, self._widths, np.inf))

    def _at(self, steps: Array) -> Array:
        return np.asarray(self._start + steps * (self._widths / self._steps))

    def _choose(self, batch: Sequence[HalvedBox], halves: _Halves, found: Bounded) -> None:
        """Halve each node where its halves' bounds are best."""
        values = np.nan_to_num(found.values, nan=-np.inf).max(axis=1, initial=-np.inf)
        lack = np.minimum(values - MARGIN * self._size, 0.0)
        worth = (lack[::2] + lack[1::2]).tolist()
        best: dict[int, int] = {}
        for way, owner in enumerate(halves.owner.tolist()):
            if owner not in best or worth[way] > worth[best[owner]]:
                best[owner] = way
        ways = np.array([best[owner] for owner in range(len(batch))])
        chosen = np.stack([2 * ways, 2 * ways + 1], axis=1).reshape(-1)
        kept = Bounded(*(getattr(found, field.name)[chosen] for field in fields(Bounded)))
        depths = [node.depth + 1 for node in batch for _ in range(2)]
        parts = self._nodes(halves.low[chosen], halves.high[chosen], kept, depths)
        for number, (node, way) in enumerate(zip(batch, ways, strict=True)):
            node.split = int(halves.entry[way]), int(halves.step[way])
            node.parts = parts[2 * number], parts[2 * number + 1]
            node.lower = node.upper = None

    def _nodes(self, low: Array, high: Array, found: Bounded, depths: Sequence[int]) -> list[HalvedBox]:
        """Nodes of boxes; what is left of those that no row closes is open."""
        values = np.nan_to_num(found.values, nan=-np.inf)
        best = values.argmax(axis=1)
        closed = values.max(axis=1) > MARGIN * self._size
        size = 1.0 + np.maximum(-found.lower, found.upper)
        sure = ((np.maximum(found.lower, 0.0) + np.minimum(found.upper, 0.0)) / size).astype(np.float32)
        nodes = []
        for place, (row, done) in enumerate(zip(best.tolist(), closed.tolist(), strict=True)):
            lower, upper = (None, None) if done else (found.lower[place], found.upper[place])
            own = found.rows[place, row], sure[place], depths[place]
            nodes.append(HalvedBox(low[place], high[place], lower, upper, *own, row=row if done else -1))
        left = np.flatnonzero(~closed)
        self._cut([nodes[place] for place in left], found.constants[left], found.rows[left])
        return nodes

    def _cut(self, nodes: Sequence[HalvedBox], constants: Array, rows: Array) -> None:
        """Split off these nodes what single rows close, forms constants (k, m) + rows (k, m, n) · (x − middle); what is
        left of each is open, unless a row closes it by then.

        With g_i > 0 a form is > 0 at all x_i > low_i − v/g_i, v its least value in the box (domain clipping, Zhou et
        al. 2025).
        """
        if not nodes:
            return
        left = [*nodes]
        low, high = (np.array([getattr(node, end) for node in nodes]) for end in ("low", "high"))
        middle, margin = 0.5 * (low + high), CUT_MARGIN * self._size
        for row in range(constants.shape[1]):
            form = rows[:, row]
            up = form > 0
            room = margin - constants[:, row] - np.einsum("kn,kn->k", form, np.where(up, low, high) - middle)
            for place in np.flatnonzero(room < 0).tolist():
                left[place].row = row
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = room[:, np.newaxis] / np.abs(form)
                steps = self._steps_at(np.where(up, low + reach, high - reach))
                steps = np.where(up, np.ceil(steps), np.floor(steps))
                at = self._at(steps)
                share = np.where(up, high - at, at - low) / (high - low)
            worth = (room[:, np.newaxis] >= 0) & (low < at) & (at < high) & (share > CUT)
            for place, entry in np.argwhere(worth).tolist():
                if left[place].row < 0:
                    split, upper = (entry, int(steps[place, entry])), bool(up[place, entry])
                    (high if upper else low)[place, entry] = at[place, entry]
                    left[place] = _without(left[place], split, at[place, entry], row, upper=upper)
        self._open += [node for node in left if node.row < 0]


def _without(node: HalvedBox, split: tuple[int, int], at: float, row: int, *, upper: bool) -> HalvedBox:
    """What is left of a node, split where an entry is `at`, beside the part (the `upper` one, or the lower) that a row
    closes."""
    top, bottom = node.high.copy(), node.low.copy()
    top[split[0]] = bottom[split[0]] = at
    parts = replace(node, high=top, anew=False), replace(node, low=bottom, anew=False)
    left, closed = parts if upper else parts[::-1]
    closed.row, closed.lower, closed.upper = row, None, None
    node.lower = node.upper = None
    node.split, node.parts = split, parts
    return left
