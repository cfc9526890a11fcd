"""A map's pieces make the same outputs and the same rows, and are looked at between."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.network import pieces as under_test
from encoders.network.linear_maps import Dense, identity
from encoders.network.pieces import matrix_of, pieces, rows_of

from .conftest import MAPS

RNG = np.random.default_rng(0)
CUT_AND_WHOLE = {**MAPS, "scale": identity(5, 2.0)}
TOGETHER = ("blocks", "scale")
"""What is not cut."""


@pytest.mark.parametrize("most", [1, 50, 1 << 20])
@pytest.mark.parametrize("name", CUT_AND_WHOLE)
def test_outputs_and_rows_are_those_of_the_whole(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    linear, looks = CUT_AND_WHOLE[name], []
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
