"""CROWN for a batch of boxes in few dimensions through a graph with Sigmoids: arguments anew in each, then the goal.

Relus lie between `relu_lines`, Sigmoids between `sigmoid_lines` (Zhang et al. 2018; Singh et al. 2019), both of the
box's own bounds. Inputs that hardly move are constants: the maps that read the input keep the columns of the others,
and what the rest may add is charged. Float coefficients are given multipliers, and every product's rounding is charged
as γ times the size that it may have in the region (Neumaier & Shcherbina 2004), so that bounds hold over the reals;
where float32 evaluations are meant, so are each sum's rounding there and what a runtime's σ may be off by.

A box may be part of a ball of L1 or L2: then every form is as low in it as its dual norm lets it fall.

Rows end at the first Relus and Sigmoids, whose own two forms at the input stand for them, and at those whose argument
is a wide matrix of the stage before: there that is looser than the way through the matrix, and costs a hundredth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Affine, Array, Graph, GraphBuilder, Relu, Sigmoid, renumbered
from encoders.network.linear_maps import identity
from verifier.bounds.box_part import BoxPart
from verifier.bounds.interval import interval_pairs
from verifier.bounds.relu_lines import lower_slope, upper_intercept, upper_slope
from verifier.bounds.sigmoid_lines import sigmoid_lines
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces
from verifier.problem.rounding import REAL, Arithmetic, down, evaluation_errors, graph_gamma, underflow

FIXED = 2.0**-40
"""The share of an input's size below which its interval is a constant with a charge: decimals between two floats."""

CHARGE = 8.0
"""Multiples of γ that each product is charged, as in `lagrangian`."""

ENTRIES = 1 << 20
"""Coefficients at one node, 8 MiB, that rows of a batch are bounded by at a time: more leave the caches."""

FEW = 32
"""Free inputs up to which forms of the first Relus and Sigmoids are kept: with more, they are larger than the maps."""

WIDE = 1 << 15
"""Entries of an argument's matrices beyond which forms of what reads it are kept."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is proved of a batch of boxes: −(C·y + d) ≥ constants + rows·(x − base) for each row of the goal,
    (batch, m), (batch, m, f), and the least of that in the part, `values` (batch, m). Above 0: nothing reaches the row.
    lower, upper: of the arguments of all Relus and Sigmoids, node by node, (batch, hidden).
    """

    constants: Array
    rows: Array
    values: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class _Lines:
    """Lines of one node in each box, (batch, size) each; what a unit of a coefficient is charged, (size,), and how far
    evaluations may be from the function between the lines."""

    lower_slope: Array
    lower_intercept: Array
    upper_slope: Array
    upper_intercept: Array
    charge: Array
    spread: float


@dataclass(frozen=True, eq=False)
class _Sum:
    """An affine node as rows see it: Σ matrices[j] · value(j) + inputs · x + constant, x the free inputs.

    inputs (size, f), the rest (size,). charge: of rounding, in multiples of γ; spread: what the other inputs may add,
    and how far evaluations may be from the sum.
    """

    matrices: Mapping[int, Any]
    inputs: Array
    constant: Array
    charge: Array
    spread: Array


@dataclass(eq=False)
class _Forms:
    """Rows on their way back to the input: coefficients by node, (batch or 1, rows, size), and at the free inputs; the
    rest, (batch or 1, rows), is what has been added up, what that is charged, and its spread (`_Sum`)."""

    pending: dict[int, Array]
    at_input: Array
    constant: Array
    charge: Array
    spread: Array


@dataclass(frozen=True, eq=False)
class _AtInput:
    """Two forms for each entry of a node in each box, (batch or 1, size, f + 3): entry ≥ the one, −entry ≥ the other.

    Columns: the coefficients of the free inputs, the constant, its charge (sizes of the form included), its spread.
    """

    lower: Array
    negated: Array


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of a batch of boxes: lines of nodes, or forms at the input."""

    lines: dict[int, _Lines]
    at_input: dict[int, _AtInput]


class SmoothCrown:
    """Bounds boxes within a region low ≤ x ≤ high for one goal, in the evaluations of `arithmetic`.

    `free`: the inputs that boxes are about, (f,), f ≥ 1. To make one raises OutOfTimeError.
    """

    def __init__(
        self,
        graph: Graph,
        region: tuple[Array, Array],
        goal: Halfspaces,
        budget: Budget,
        arithmetic: Arithmetic = REAL,
    ) -> None:
        low, high = region
        size = np.maximum(np.abs(low), np.abs(high))
        moving = high - low > FIXED * size
        moving[0] |= not moving.any()
        self.free: npt.NDArray[np.intp] = np.flatnonzero(moving)
        self._graph, place = _between_affine_nodes(graph)
        losses = {place[index]: loss for index, loss in arithmetic.losses.items()}
        self._goal, self._arithmetic = goal, replace(arithmetic, losses=losses)
        self._root = interval_pairs(self._graph, region, self._arithmetic)
        self._sizes = [np.maximum(np.abs(lower), np.abs(upper)) for lower, upper in self._root]
        largest = max(float(sizes[np.isfinite(sizes)].max(initial=0.0)) for sizes in self._sizes)
        self._rate, self._slack = CHARGE * graph_gamma(self._graph), underflow(largest)
        self._sums: dict[int, _Sum] = {}
        errors, floors = evaluation_errors(self._graph, arithmetic.unit), self._arithmetic.floors(self._graph)
        for index, node in enumerate(self._graph.nodes):
            budget.check()
            if isinstance(node, Affine):
                self._sums[index] = self._sum(node, low, high, errors[index], floors[index])
        self._readers: dict[int, list[int]] = {}
        for index, node in enumerate(self._graph.nodes):
            if isinstance(node, Relu | Sigmoid):
                self._readers.setdefault(node.source, []).append(index)

    def _sum(self, node: Affine, low: Array, high: Array, error: float, floor: float) -> _Sum:
        middle, reach = 0.5 * low + 0.5 * high, np.zeros_like(low)
        moving = high > low
        reach[moving] = np.nextafter(np.maximum(high - middle, middle - low), np.inf)[moving]
        middle[self.free] = reach[self.free] = 0.0
        inputs, constant = np.zeros((node.size, self.free.size)), np.array(node.bias)
        charge, spread = np.abs(node.bias), np.zeros(node.size)
        matrices: dict[int, Any] = {}
        for term in node.terms:
            magnitude, rows = term.map.magnitude(), term.map.rows()
            charge = charge + magnitude.apply(self._sizes[term.source][np.newaxis])[0]
            if term.source:
                matrices[term.source] = matrices[term.source] + rows if term.source in matrices else rows
                continue
            inputs += rows[:, self.free].toarray()
            constant = constant + term.map.apply(middle[np.newaxis])[0]
            spread = spread + magnitude.apply(reach[np.newaxis])[0]
        if error:
            spread = spread + error * (charge + floor)
        return _Sum(matrices, inputs, constant, charge, spread)

    def bound(self, part: BoxPart, budget: Budget) -> Bounds:
        """Bound the boxes of `part` over the free inputs. Raises OutOfTimeError."""
        known = _Known({}, {})
        ends: dict[int, tuple[Array, Array]] = {}
        with np.errstate(invalid="ignore", over="ignore"):
            for index, readers in self._readers.items():
                lower, upper, kept = self._ends(index, known, part, budget)
                for reader in readers:
                    ends[reader] = lower, upper
                    lines = known.lines[reader] = self._lines(reader, index, lower, upper)
                    if kept is not None:
                        known.at_input[reader] = _between(lines, kept)
            forms = self._back(self._graph.output, self._goal_forms(), known, budget)
            constants, values = self._least(forms, part)
        rows = np.broadcast_to(forms.at_input, (*values.shape, self.free.size))
        hidden = zip(*(ends[reader] for reader in sorted(ends)), strict=True)
        return Bounds(constants, rows, values, *(np.concatenate(side, axis=1) for side in hidden))

    def _lines(self, reader: int, index: int, lower: Array, upper: Array) -> _Lines:
        # A slope is at most 1, an intercept 1 + |argument|.
        charge = 2.0 * (1.0 + self._sizes[index])
        if isinstance(self._graph.nodes[reader], Sigmoid):
            return _Lines(*sigmoid_lines(lower, upper), charge, self._arithmetic.sigmoid)
        slope, alpha = upper_slope(lower, upper), lower_slope(lower, upper)
        return _Lines(alpha, np.zeros_like(alpha), slope, upper_intercept(slope, lower, upper), charge, 0.0)

    def _ends(self, index: int, known: _Known, boxes: BoxPart, budget: Budget) -> tuple[Array, Array, _AtInput | None]:
        """Lower and upper bounds of an affine node's entries in each box, (batch, size) each; forms that are kept."""
        size, part, batch = self._graph.nodes[index].size, self._sums[index], len(boxes.low)
        lower, upper = np.empty((batch, size)), np.empty((batch, size))
        widest = max((node.size for node in self._graph.nodes[1:index]), default=1)
        # Where all that is read has forms, no coefficient is a box's own.
        shared = all(source in known.at_input for source in part.matrices)
        chunk = max(1, ENTRIES // (2 * widest * (1 if shared else batch)))
        found: list[_Forms] = []
        for begin in range(0, size, chunk):
            chosen = slice(begin, begin + chunk)
            forms = self._back(index - 1, self._argument_forms(index, chosen), known, budget)
            least = self._least(forms, boxes)[1]
            count = least.shape[1] // 2
            lower[:, chosen], upper[:, chosen] = least[:, :count], -least[:, count:]
            found.append(forms)
        wide = sum(int(np.prod(matrix.shape)) for matrix in part.matrices.values()) > WIDE
        kept = wide or (not part.matrices and self.free.size <= FEW)
        root_lower, root_upper = self._root[index]
        return (
            np.maximum(lower, root_lower),
            np.minimum(upper, root_upper),
            _joined(found, boxes.sizes) if kept else None,
        )

    def _argument_forms(self, index: int, chosen: slice) -> _Forms:
        """The chosen entries of an affine node, then those with the other sign."""
        part = self._sums[index]

        def signed(rows: Array) -> Array:
            return np.concatenate([rows, -rows])[np.newaxis]

        def twice(sizes: Array) -> Array:
            return np.tile(sizes[chosen], 2)[np.newaxis]

        return _Forms(
            {source: signed(matrix[chosen].toarray()) for source, matrix in part.matrices.items()},
            signed(part.inputs[chosen]),
            signed(part.constant[chosen]),
            twice(part.charge),
            twice(part.spread),
        )

    def _goal_forms(self) -> _Forms:
        matrix, offset = -self._goal.matrix[np.newaxis], -self._goal.offset[np.newaxis]
        none = np.zeros_like(offset)
        at_input = np.zeros((1, offset.size, self.free.size))
        return _Forms({self._graph.output: matrix}, at_input, offset, np.abs(offset), none)

    def _back(self, start: int, forms: _Forms, known: _Known, budget: Budget) -> _Forms:
        """Push the forms back from node `start` to the free inputs. Raises OutOfTimeError."""
        for index in range(start, 0, -1):
            message = forms.pending.pop(index, None)
            if message is None:
                continue
            budget.check()
            node = self._graph.nodes[index]
            if index in known.at_input:
                _to_input(known.at_input[index], message, forms)
            elif isinstance(node, Affine):
                self._through_sum(index, node, message, forms)
            else:
                assert isinstance(node, Relu | Sigmoid)
                _through_lines(known.lines[index], node.source, message, forms)
        return forms

    def _through_sum(self, index: int, node: Affine, message: Array, forms: _Forms) -> None:
        part, size = self._sums[index], np.abs(message)
        forms.constant = forms.constant + message @ part.constant
        forms.charge = forms.charge + size @ part.charge
        if part.spread.any():
            forms.spread = forms.spread + size @ part.spread
        forms.at_input = forms.at_input + message @ part.inputs
        for term in node.terms:
            if term.source:
                sent = term.map.adjoint(message.reshape(-1, node.size))
                _add(forms, term.source, sent.reshape(*message.shape[:2], -1))

    def _least(self, forms: _Forms, boxes: BoxPart) -> tuple[Array, Array]:
        """What forms are at the base of each box, and their least there, all rounding subtracted: (batch, rows)."""
        at_base = forms.constant + (forms.at_input @ boxes.base[:, :, np.newaxis])[:, :, 0]
        met = forms.charge + (np.abs(forms.at_input) @ boxes.sizes[:, :, np.newaxis])[:, :, 0]
        error = self._rate * met + (1.0 + self._rate) * forms.spread + self._slack
        return down(at_base, error), down(at_base - boxes.falls_of_all(forms.at_input), error)


def _through_lines(lines: _Lines, source: int, message: Array, forms: _Forms) -> None:
    above = np.maximum(message, 0.0)
    below = message - above
    lost = above @ lines.lower_intercept[:, :, np.newaxis] + below @ lines.upper_intercept[:, :, np.newaxis]
    forms.constant = forms.constant + lost[:, :, 0]
    forms.charge = forms.charge + (above - below) @ lines.charge
    if lines.spread:
        forms.spread = forms.spread + lines.spread * (above - below).sum(axis=2)
    sent = above * lines.lower_slope[:, np.newaxis]
    sent += below * lines.upper_slope[:, np.newaxis]
    _add(forms, source, sent)


def _joined(parts: list[_Forms], reach: Array) -> _AtInput:
    """The forms of all entries, from those of some at a time, each followed by those with the other sign."""

    def packed(half: int) -> Array:
        rows = []
        for part in parts:
            constant = np.broadcast_to(part.constant, (len(reach), part.constant.shape[1]))
            at_input = np.broadcast_to(part.at_input, (*constant.shape, reach.shape[1]))
            size = np.abs(constant) + (np.abs(at_input) @ reach[:, :, np.newaxis])[:, :, 0]
            rest = [constant, part.charge + size, np.broadcast_to(part.spread, constant.shape)]
            whole = np.concatenate([at_input, *(one[:, :, np.newaxis] for one in rest)], axis=2)
            rows.append(np.split(whole, 2, axis=1)[half])
        return np.concatenate(rows, axis=1)

    return _AtInput(packed(0), packed(1))


def _between(lines: _Lines, argument: _AtInput) -> _AtInput:
    """The forms of a node between these lines, whose slopes are ≥ 0, from those of its argument."""
    lower = lines.lower_slope[:, :, np.newaxis] * argument.lower
    negated = lines.upper_slope[:, :, np.newaxis] * argument.negated
    lower[:, :, -3] += lines.lower_intercept
    negated[:, :, -3] -= lines.upper_intercept
    for forms in (lower, negated):
        forms[:, :, -2] += lines.charge
        forms[:, :, -1] += lines.spread
    return _AtInput(lower, negated)


def _to_input(node: _AtInput, message: Array, forms: _Forms) -> None:
    """Each coefficient meets the form of its sign."""
    for sign, part in ((1.0, node.lower), (-1.0, node.negated)):
        size = np.maximum(sign * message, 0.0)
        if len(size) == 1:  # rows that all boxes share
            columns = part.swapaxes(0, 1).reshape(part.shape[1], -1)
            found = (size[0] @ columns).reshape(size.shape[1], len(part), -1).swapaxes(0, 1)
        else:
            found = size @ part
        forms.at_input = forms.at_input + found[:, :, :-3]
        forms.constant = forms.constant + found[:, :, -3]
        forms.charge = forms.charge + found[:, :, -2]
        forms.spread = forms.spread + found[:, :, -1]


def _add(forms: _Forms, source: int, sent: Array) -> None:
    forms.pending[source] = forms.pending[source] + sent if source in forms.pending else sent


def _between_affine_nodes(graph: Graph) -> tuple[Graph, list[int]]:
    """The same function, every Relu and Sigmoid behind an affine node, and the output not the input itself; where the
    graph's nodes are in it."""
    builder = GraphBuilder(graph.input_size)
    place = [0]
    for node in graph.nodes[1:]:
        moved = renumbered(node, place)
        if isinstance(moved, Relu | Sigmoid) and not isinstance(builder.node(moved.source), Affine):
            source = builder.affine([(identity(moved.size), moved.source)])
            moved = type(moved)(source, moved.size)
        place.append(builder.add(moved))
    output = place[graph.output]
    return builder.graph(output or builder.affine([(identity(graph.input_size), 0)])), place
