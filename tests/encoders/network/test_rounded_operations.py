"""Counts of rounded operations: one for all affine nodes that hang together, ReLUs between them cut."""

from __future__ import annotations

import numpy as np

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from encoders.network.rounded_operations import FUSED, rounded_operations


def dense(rows: int, columns: int) -> Dense:
    return Dense(readonly(np.ones((rows, columns))))


def test_relus_cut_and_skips_join() -> None:
    builder = GraphBuilder(7)
    first = builder.affine([(dense(5, 7), 0)], np.zeros(5))
    hidden = builder.relu(first)
    second = builder.affine([(dense(4, 5), hidden)], np.zeros(4))
    third = builder.affine([(dense(3, 4), second)], np.zeros(3))
    last = builder.affine([(dense(3, 3), builder.relu(third)), (dense(3, 4), second)], np.zeros(3))
    alone, joined = 7 + 1 + FUSED, (5 + 1 + FUSED) + (4 + 1 + FUSED) + (3 + 1 + 4 + 1 + FUSED)
    graph = builder.graph(last)
    assert rounded_operations(graph) == {first: alone, second: joined, third: joined, last: joined}
    assert [stage.operations for stage in to_stages(graph).stages] == [alone, joined, joined]


def test_a_relu_of_the_input_rounds_nothing() -> None:
    builder = GraphBuilder(2)
    last = builder.affine([(dense(2, 2), builder.relu(0))], np.zeros(2))
    assert [stage.operations for stage in to_stages(builder.graph(last)).stages] == [0, 2 + 1 + FUSED]
