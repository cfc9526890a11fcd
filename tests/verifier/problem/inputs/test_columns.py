"""Which inputs can occur: what can be asked, and one line for what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.inputs.columns import FINEST_GRID, Columns, columns_of_text, read_units, units_of


def test_columns_in_words() -> None:
    assert columns_of_text("3,7-9, 12", "--integer") == (3, 7, 8, 9, 12)
    assert Columns(grid=255).told == "inputs k/255"
    assert Columns(integer=[np.int64(3)]).told == "whole numbers in 1 column"
    assert Columns(one_hot=[(0, 1), (2, 3)]).told == "one category in 2 groups of columns"


@pytest.mark.parametrize("text", ["", "x", "3-", "-3", "5-3", "1,,2", "1.5", "0-99999999"])
def test_no_columns(text: str) -> None:
    with pytest.raises(InputError, match="--integer"):
        columns_of_text(text, "--integer")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "name a grid"),
        ({"grid": 0}, "from 1 to"),
        ({"grid": FINEST_GRID + 1}, "from 1 to"),
        ({"grid": 2.5}, "whole number"),
        ({"grid": 4, "integer": (1,)}, "do not go with"),
        ({"integer": (1, 1)}, "named twice"),
        ({"integer": (1,), "one_hot": ((1, 2),)}, "named twice"),
        ({"one_hot": ((4,),)}, "at least two"),
    ],
)
def test_what_cannot_be_asked(asked: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Columns(**asked)


def test_units_of_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "units.npz", offset=np.arange(3.0), scale=2.0)
    offset, scale = units_of(read_units(tmp_path / "units.npz"), 3)
    assert offset.tolist() == [0.0, 1.0, 2.0]
    assert scale.tolist() == [2.0, 2.0, 2.0]
    assert units_of(None, 2)[1].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match=r"no \.npz file"):
        read_units(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ((0.0, 0.0), "scale must be finite and > 0"),
        (([1.0, np.nan, 0.0], 1.0), "offset must be finite, not nan as at entry 1"),
        (([1.0] * 4, 1.0), "no array of 3"),
        (("x", 1.0), "offset is no number"),
        ((1j, 1.0), "offset is no number"),
        ((0.0, np.datetime64("2020-01-01")), "scale is no number"),
        (([[1.0], [2.0, 3.0]], 1.0), "offset is no number"),
    ],
)
def test_no_units(units: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        units_of(units, 3)
    if "is no number" in told:
        with pytest.raises(InputError, match=told):
            Columns(grid=2, units=units)
