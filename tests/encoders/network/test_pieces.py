"""A map's pieces make the same outputs and the same rows, and are looked at between."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.network import pieces as under_test
from encoders.network.linear_maps import Conv, Dense, identity, readonly
from encoders.network.pieces import matrix_of, pieces, rows_of

RNG = np.random.default_rng(0)
MAPS = {
    "dense": Dense(readonly(RNG.normal(size=(7, 6)))),
    "along an axis": Dense(readonly(RNG.normal(size=(7, 6))), right=4),
    "blocks": Dense(readonly(RNG.normal(size=(3, 2))), left=4),
    "conv": Conv(readonly(RNG.normal(size=(6, 2, 3, 2))), (5, 4), (2, 1), (1, 2), (1, 0, 1, 2)),
    "groups": Conv(readonly(RNG.normal(size=(6, 2, 3, 3))), (4, 4), (1, 1), (1, 1), (1, 1, 1, 1), groups=3),
    "scale": identity(5, 2.0),
}
TOGETHER = ("blocks", "scale")
"""What is not cut."""


@pytest.mark.parametrize("most", [1, 50, 1 << 20])
@pytest.mark.parametrize("name", MAPS)
def test_outputs_and_rows_are_those_of_the_whole(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    linear, looks = MAPS[name], []
    x = RNG.normal(size=(2, linear.in_size))
    parts = [*pieces(linear, most)]
    got = np.concatenate([piece.apply(x[:, read]) for piece, read in parts], axis=1)
    np.testing.assert_allclose(got, linear.apply(x), rtol=1e-13, atol=1e-13)
    assert (len(parts) == 1) == (name in TOGETHER or linear.fan_in * linear.out_size <= most)
    monkeypatch.setattr(under_test, "ENTRIES", most)
    rows = rows_of(linear, lambda: looks.append(0))
    assert len(looks) >= len(parts)
    np.testing.assert_array_equal(rows.toarray(), linear.rows().toarray())
    assert rows.nnz == linear.rows().nnz


def test_a_dense_matrix_is_not_copied() -> None:
    dense = MAPS["dense"]
    assert isinstance(dense, Dense)
    assert matrix_of(dense) is dense.weight
    assert matrix_of(MAPS["along an axis"]).shape == (28, 24)
