"""Rows that read the same: which they are; several at once add what each adds, and bounds are those of single rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Conv, Dense, readonly
from verifier.bounds.kernels.alike_rows import SINGLY, SPAN, TOGETHER, send, sent_later
from verifier.bounds.kernels.sparse_stages import FULL, SparseRows, SparseStages
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.solvers.tree.sparse_narrowing import SparseNarrowing

SUMS = 1e-6
"""Relative: float32 sums of a dozen terms in another order."""


def stages_of(rng: np.random.Generator, filled: float, *, image: bool = False) -> Stages:
    """Two hidden layers, the first a convolution of three channels or dense; `filled`: the share of entries, not 0."""
    builder, last = GraphBuilder(16), 0
    first: Any = Conv(readonly(rng.normal(size=(3, 1, 2, 2))), (4, 4), (1, 1), (1, 1), (0, 0, 0, 0))
    if not image:
        first = Dense(readonly(rng.normal(size=(13, 16)) * (rng.random((13, 16)) < filled)))
    last = builder.relu(builder.affine([(first, last)], 0.3 * rng.normal(size=first.out_size)))
    weight = rng.normal(size=(11, first.out_size)) * (rng.random((11, first.out_size)) < filled)
    last = builder.relu(builder.affine([(Dense(readonly(weight)), last)], 0.3 * rng.normal(size=11)))
    return to_stages(builder.graph(builder.affine([(Dense(readonly(rng.normal(size=(1, 11)))), last)], np.zeros(1))))


def sparse_of(stages: Stages, lower: np.ndarray, upper: np.ndarray) -> SparseStages:
    found = SparseStages(stages, Ball(Norm.LINF, np.full(16, 0.5), 0.4, np.zeros(16), np.ones(16)).geometry)
    for number in (1, 2):
        found.add(number)
        found.bound(number, lower[found.part(number)], upper[found.part(number)])
    return found


@pytest.mark.parametrize(("filled", "groups"), [(1.0, 2), (FULL + 0.25, 2), (FULL - 0.25, None)])
def test_full_layers_read_alike(filled: float, groups: int | None) -> None:
    """A layer that is filled by half and more is one group, its zeros among its entries; another one is what it was."""
    stages = stages_of(np.random.default_rng(1), filled)
    lower, upper = -np.ones(24), np.ones(24)
    upper[3] = -0.5  # no row reads this one
    sparse = sparse_of(stages, lower, upper)
    network = sparse.safe
    if groups is not None:
        assert network.alike.tolist() == 13 * [0] + 11 * [13]
        assert np.all(network.inputs.end[:13] - network.inputs.begin[:13] == 16)
        assert np.all(network.hidden.end[13:] - network.hidden.begin[13:] == 12)
    else:
        assert len(set(network.alike.tolist())) > 12
    for number, rows, width, first in ((1, network.inputs, 16, 0), (2, network.hidden, 24, 13)):
        matrix = stages.stages[number - 1].blocks[number - 1].matrix
        for j, wanted in enumerate(matrix):
            found, part = np.zeros(width), slice(rows.begin[first + j], rows.end[first + j])
            found[rows.columns[part]] = rows.values[part]
            kept = np.arange(wanted.size) != 3 if number == 2 else np.ones(16, bool)
            assert found[: wanted.size].tolist() == np.where(kept, wanted, 0.0).tolist()


def test_channels_of_a_place_read_alike() -> None:
    """Of a convolution: and the order has them one behind another, stage by stage."""
    network = sparse_of(stages_of(np.random.default_rng(2), 1.0, image=True), -np.ones(38), np.ones(38)).safe
    assert network.alike[:27].tolist() == 3 * list(range(9))
    assert network.order[:27].tolist() == [9 * channel + place for place in range(9) for channel in range(3)]
    assert network.order[27:].tolist() == list(range(27, 38))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("count", range(TOGETHER + 1))
def test_several_rows_add_what_each_adds(count: int, kind: Any) -> None:
    rng, lanes, width = np.random.default_rng(count), 5, 12
    assert TOGETHER > SINGLY
    values, columns = rng.normal(size=(TOGETHER, 7)).astype(kind), rng.permutation(width)[:7].astype(np.int32)
    begin = 7 * np.arange(TOGETHER)
    rows = SparseRows(begin, begin + 7, np.tile(columns, TOGETHER), values.ravel())
    none = SparseRows(begin, begin, np.zeros(0, np.int32), np.zeros(0, kind))
    mu, row = rng.normal(size=(2, width, lanes)).astype(kind)
    wanted, untouched = mu.copy(), row.copy()
    among, waiting = sent_later(mu)
    order = rng.permutation(TOGETHER)[:count]
    waiting[:] = rng.normal(size=waiting.size)  # what is left of rows before
    for place, j in enumerate(order):
        among[place] = j
        wanted[columns] += np.outer(values[j], waiting[place * SPAN : place * SPAN + lanes])
    send(rows, none, among, count, waiting, mu, row)
    assert np.allclose(mu, wanted, rtol=SUMS, atol=SUMS)
    assert np.array_equal(row, untouched)


@pytest.mark.parametrize("image", [False, True])
def test_nodes_are_narrowed_as_by_single_rows(image: bool) -> None:
    """The same network with each row alone gives the same bounds, within what sums in float32 differ by."""
    narrowed = 0
    for seed in range(4):
        stages = stages_of(np.random.default_rng(seed), 1.0, image=image)
        ball = Ball(Norm.LINF, np.full(16, 0.5), 0.4, np.zeros(16), np.ones(16))
        lower, upper = np.full(stages.relu_count, -20.0), np.full(stages.relu_count, 20.0)
        lagrangian = Lagrangian(stages, ball, Halfspaces(np.ones((1, 1)), np.zeros(1)), lower, upper)
        dual = lagrangian.crown(np.ones(1), lower, upper)
        narrowing = SparseNarrowing(stages, lagrangian, lower, upper)
        together = narrowing.narrow(dual, np.ones(1), 0.4, lower, upper)
        network = narrowing._network
        narrowing._network = network._replace(alike=np.arange(network.alike.size))
        alone = narrowing.narrow(dual, np.ones(1), 0.4, lower, upper)
        assert (together is None) == (alone is None)
        if together is None or alone is None:
            continue
        for ours, other in ((together.lower, alone.lower), (together.upper, alone.upper)):
            assert np.allclose(ours, other, rtol=SUMS, atol=SUMS)
        narrowed += int(np.count_nonzero(together.lower > lower))
    assert narrowed >= 20
