"""What reading may take is counted before it is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Affine, Relu, Term, frozen
from encoders.network.linear_maps import Conv, Dense, LinearMap, identity, readonly, select, sparse
from encoders.onnx_io.ops.room import (
    MAX_ENTRIES,
    MAX_PRODUCTS,
    MAX_STEPS,
    MAX_STORED,
    Allowance,
    BoundedBuilder,
    TooLargeError,
    entries,
    products,
    stored,
)

MAPS: list[tuple[LinearMap, int, int]] = [
    (Dense(readonly(np.ones((2, 3))), left=4, right=5), 6, 120),
    (Conv(readonly(np.ones((2, 1, 3))), (6,), (1,), (1,), (0, 0)), 6, 24),
    (select([0, -1, 2], 3), 3, 3),
    (identity(4), 4, 4),
    (sparse(np.eye(3)), 6, 3),
]


@pytest.mark.parametrize(("linear", "kept", "multiplied"), MAPS)
def test_maps_are_counted(linear: LinearMap, kept: int, multiplied: int) -> None:
    assert (stored(linear), products(linear)) == (kept, multiplied)


def test_room_is_taken_until_there_is_none() -> None:
    for take, limit in (
        (Allowance.store, MAX_STORED),
        (Allowance.compute, MAX_STEPS),
        (Allowance.multiply, MAX_PRODUCTS),
    ):
        room = Allowance()
        take(room, limit)
        with pytest.raises(TooLargeError, match="more than"):
            take(room, 1)
    Allowance(weights=5).store(MAX_STORED + 10)
    with pytest.raises(TooLargeError):
        Allowance(weights=5).store(MAX_STORED + 11)


def test_tensors_have_an_end() -> None:
    assert entries((2, 3)) == 6
    assert entries((MAX_ENTRIES,)) == MAX_ENTRIES
    with pytest.raises(TooLargeError, match="has more than"):
        entries((MAX_ENTRIES, 2))
    with pytest.raises(ValueError, match="negative"):
        entries((2, -1))


def test_a_graph_grows_until_there_is_no_room() -> None:
    room = Allowance()
    builder = BoundedBuilder(4, room)
    nodes: list[Any] = [Affine((Term(identity(4), 0),), frozen(np.zeros(4))), Relu(0, 4)]
    for node in nodes:
        builder.add(node)
    room.store(MAX_STORED - 4 * 4)  # a map, a bias and two values are stored
    with pytest.raises(TooLargeError):
        builder.add(Relu(0, 1))
