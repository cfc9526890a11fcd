"""Graph to stages: z_k = Σ_j B_kj h_j + c_k with h_0 = x and h_j = relu(z_j), the form that search trees work on.

Runs of affine nodes become one matrix for each pair of stages. Where that takes a product of two matrices, the product
is rounded: `magnitude` keeps Σ|factors|, so that |B − exact B| ≤ γ · magnitude with the `operations` that were spent.
A single matrix of the file is taken over as it is and is exact; a dense one is the graph's own, not a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.lazy import Lazy
from encoders.network.graph import Affine, Array, Graph, Relu, forward
from encoders.network.linear_maps import LinearMap
from encoders.network.pieces import matrix_of, rows_of
from encoders.network.rounded_operations import rounded_operations

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

DENSE_SHARE = 0.2
"""Matrices with a larger share of nonzeros are kept dense: below it sparse products are the faster ones."""

LEAST = 2.0**-1000
"""A product of nonzero factors below this may have lost bits to underflow, which no relative error covers."""

Matrix = Any
"""A float64 matrix, np.ndarray or scipy.sparse.csr_array; both know `@`, `.T` and `.shape`."""


@dataclass(frozen=True, eq=False)
class Block:
    """B_kj: `matrix` (size of stage k, size of stage j); `sizes` of its shape, entrywise ≥ |matrix|; None: |matrix|."""

    matrix: Matrix
    sizes: Matrix | None = None

    @property
    def magnitude(self) -> Matrix:
        """`sizes`; |matrix| is made whenever it is asked for: kept, it would take as much again as the network."""
        return abs(self.matrix) if self.sizes is None else self.sizes

    @cached_property
    def adjoint(self) -> Matrix:
        """The transpose, laid out for products."""
        transpose = self.matrix.T
        return np.ascontiguousarray(transpose) if isinstance(transpose, np.ndarray) else transpose.tocsr()


@dataclass(frozen=True, eq=False)
class Stage:
    """z = Σ blocks[j] · h_j + constant; `magnitude` ≥ |constant|, the sizes of what was added up for it.

    `operations` bounds the rounded ones that an evaluation of the network spends on an entry (`rounded_operations`).
    """

    blocks: Mapping[int, Block]
    constant: Array
    magnitude: Array
    operations: int

    @property
    def size(self) -> int:
        return int(self.constant.size)


@dataclass(frozen=True, eq=False)
class Stages:
    """Stage 0 is the input; stages[k − 1] is stage k; the last stage is the output and has no ReLU behind it.

    `nodes[k − 1]` is the graph's node that stage k is; `operations` bounds the float64 operations behind any entry;
    `underflows`: some products were too small for float64, so that nothing can rest on the matrices; `unit`: the
    relative error of an operation in the evaluations that bounds are to hold for; `both`: what is proved over the reals
    alone counts too, and is told apart.
    """

    input_size: int
    stages: tuple[Stage, ...]
    nodes: tuple[int, ...]
    operations: int
    underflows: bool = False
    unit: float = 2.0**-53
    both: bool = False

    @property
    def hidden(self) -> tuple[Stage, ...]:
        """The stages with ReLUs behind them."""
        return self.stages[:-1]

    @property
    def output(self) -> Stage:
        return self.stages[-1]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each hidden stage begins in one vector over all ReLUs, and the end."""
        return tuple(int(n) for n in np.cumsum([0, *(stage.size for stage in self.hidden)]))

    @property
    def relu_count(self) -> int:
        return self.starts[-1]

    def values(self, x: Array) -> tuple[Array, Array]:
        """(arguments of all ReLUs (batch, relu_count), outputs (batch, K)) in float64 for x (batch, n)."""
        arguments: list[Array] = []
        outputs: list[Array] = [np.atleast_2d(x)]
        for stage in self.stages:
            total = np.broadcast_to(stage.constant, (len(outputs[0]), stage.size))
            for source, block in stage.blocks.items():
                total = total + (block.matrix @ outputs[source].T).T
            arguments.append(total)
            outputs.append(np.maximum(total, 0.0))
        empty = np.zeros((len(outputs[0]), 0))
        return np.hstack([empty, *arguments[:-1]]), arguments[-1]


@dataclass(frozen=True, eq=False)
class _Form:
    """A node's value as Σ blocks[j] · h_j + constant while the walk goes on; `bare`: it is h_j itself."""

    blocks: dict[int, Block]
    constant: Array
    magnitude: Array
    bare: bool = False


def to_stages(
    graph: Graph,
    unit: float = 2.0**-53,
    floors: Mapping[int, float] | None = None,
    look: Callable[[], None] = lambda: None,
) -> Stages:
    """The stages of a lowered graph (Input, Affine, Relu nodes only).

    unit: the relative error of a rounded operation, where bounds are to hold for evaluations that round too; floors are
    then added to the sizes of each affine node's sums, to cover underflow. look: called between two nodes and
    within large ones; what it raises ends the work.
    """
    added = floors or {}
    numbers: dict[int, int] = {}
    found: list[tuple[int, _Form]] = []
    operations, underflows = 0, False

    def affine(index: int, node: Affine, forms: list[_Form]) -> _Form:
        nonlocal operations, underflows
        look()
        operations += len(node.terms) + max(term.map.fan_in + term.map.fan_out for term in node.terms)
        blocks: dict[int, Block] = {}
        constant, magnitude = np.array(node.bias), np.abs(node.bias) + added.get(index, 0.0)
        for term in node.terms:
            form = forms[term.source]
            look()
            underflows = underflows or _underflows(term.map, form, look)
            for source, block in _mapped(term.map, form, look).items():
                blocks[source] = _sum(blocks[source], block) if source in blocks else block
            if form.bare:
                continue
            constant = constant + term.map.apply(form.constant[np.newaxis])[0]
            magnitude = magnitude + term.map.magnitude().apply(form.magnitude[np.newaxis])[0]
        return _Form(blocks, constant, magnitude)

    def relu(_: int, node: Relu, forms: list[_Form]) -> _Form:
        if node.source not in numbers:
            found.append((node.source, forms[node.source]))
            numbers[node.source] = len(found)
        return _unit(numbers[node.source], node.size)

    forms = forward(graph, {Affine: affine, Relu: relu}, _unit(0, graph.input_size))
    found.append((graph.output, forms[graph.output]))
    spent_on = rounded_operations(graph)
    stages = tuple(_stage(form, spent_on.get(node, 0)) for node, form in found)
    widest = max(stage.size for stage in stages)
    spent = operations + widest + graph.input_size
    return Stages(graph.input_size, stages, tuple(node for node, _ in found), spent, underflows, unit)


def _unit(number: int, size: int) -> _Form:
    return _Form({number: Block(sp.csr_array(sp.eye_array(size)))}, np.zeros(size), np.zeros(size), bare=True)


def _mapped(linear: LinearMap, form: _Form, look: Callable[[], None]) -> dict[int, Block]:
    if form.bare:
        return dict.fromkeys(form.blocks, Block(matrix_of(linear, look)))
    rows, sizes = rows_of(linear, look), rows_of(linear.magnitude(), look)
    return {
        source: Block(rows @ sp.csr_array(block.matrix), sizes @ sp.csr_array(block.magnitude))
        for source, block in form.blocks.items()
    }


def _sum(one: Block, other: Block) -> Block:
    (matrix, size), (more, added) = ((sp.csr_array(each.matrix), sp.csr_array(each.magnitude)) for each in (one, other))
    return Block(matrix + more, size + added)


def _underflows(linear: LinearMap, form: _Form, look: Callable[[], None]) -> bool:
    """May a product of the map with a form underflow? Products with 1 are exact."""
    if form.bare:
        return False
    known = [sp.csr_array(block.magnitude).data for block in form.blocks.values()] + [form.magnitude]
    factors = np.concatenate(known)
    factors = factors[(factors > 0) & (factors != 1)]
    sizes = rows_of(linear.magnitude(), look).data if factors.size else factors
    sizes = sizes[sizes > 0]
    return bool(sizes.size and float(factors.min()) * float(sizes.min()) < LEAST)


def _stage(form: _Form, operations: int) -> Stage:
    blocks = {source: _laid_out(block) for source, block in form.blocks.items()}
    return Stage(blocks, form.constant, form.magnitude, operations)


def _laid_out(block: Block) -> Block:
    """Dense or sparse, as its share of nonzeros has it."""
    filled = block.matrix if block.sizes is None else block.sizes
    count = np.count_nonzero(filled) if isinstance(filled, np.ndarray) else filled.nnz
    dense = count > DENSE_SHARE * filled.shape[0] * filled.shape[1]
    return Block(*(None if part is None else _as(part, dense) for part in (block.matrix, block.sizes)))


def _as(matrix: Matrix, dense: bool) -> Matrix:
    if not dense:
        return sp.csr_array(matrix)
    return matrix if isinstance(matrix, np.ndarray) else np.ascontiguousarray(matrix.toarray())
