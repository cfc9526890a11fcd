"""Files of transformations: what they mean, and one line for each thing that can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.passes.from_transforms import read_transforms
from encoders.passes.image_maps import Grid, Motion, motion_map

SIZE, GRID = 16, Grid(4, 4)


def write(folder: Path, text: str) -> Path:
    path = folder / "views.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_maps_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    np.savez(tmp_path / "blur.npz", matrix=matrix)
    text = """
        [[transform]]
        identity = true
        [[transform]]
        rotate = 10
        scale = 0.9
        translate = [1, -0.5]
        [[transform]]
        matrix = "blur.npz"
        [[transform]]
        scale = 2
        name = "twice"
    """
    found = read_transforms(write(tmp_path, text), SIZE, GRID)
    assert found.names == ("identity", "rotate 10, scale 0.9, translate [1, -0.5]", "blur.npz", "twice")
    expected = [
        np.eye(SIZE),
        motion_map(GRID, Motion(10.0, 0.9, (1.0, -0.5))).rows().toarray(),
        matrix,
        motion_map(GRID, Motion(scale=2.0)).rows().toarray(),
    ]
    for linear, entries in zip(found.maps, expected, strict=True):
        np.testing.assert_array_equal(linear.rows().toarray(), entries)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "lists no transformation"),
        ("transform = 3", "lists no transformation"),
        ("transform = []", "lists no transformation"),
        ("rotate = 3", "unknown key 'rotate'"),
        ("[[transform", "no TOML file"),
        ("[[transform]]", "transform 1: give identity = true, or any of"),
        ("[[transform]]\nname = 'x'", "transform 1: give identity"),
        ("[[transform]]\nidentity = false", "transform 1: identity is true"),
        ("[[transform]]\nidentity = true\n[[transform]]\nturn = 3", "transform 2: unknown key 'turn'"),
        ("[[transform]]\nidentity = true\nrotate = 3", "transform 1: give identity"),
        ("[[transform]]\nmatrix = 'm.npz'\nscale = 3", "transform 1: give identity"),
        ("[[transform]]\nrotate = 'ten'", "transform 1: rotate is a finite number, not 'ten'"),
        ("[[transform]]\nrotate = true", "transform 1: rotate is a finite number"),
        ("[[transform]]\nrotate = inf", "transform 1: rotate is a finite number"),
        ("[[transform]]\nscale = 0", "transform 1: scale lies between 0.001 and 1000, not 0"),
        ("[[transform]]\nscale = -1", "transform 1: scale lies between"),
        ("[[transform]]\ntranslate = 3", r"transform 1: translate is \[pixels right, pixels down\], not 3"),
        ("[[transform]]\ntranslate = [3, nan]", "transform 1: translate is a finite number"),
        ("[[transform]]\nmatrix = 3", "transform 1: matrix is the name of an .npz file"),
        ("[[transform]]\nmatrix = 'none.npz'", "none.npz: no such file"),
        ("[[transform]]\nmatrix = 'views.toml'", "views.toml is no readable .npz file"),
        ("[[transform]]\nmatrix = 'other.npz'", "other.npz has no array 'matrix'"),
        ("[[transform]]\nmatrix = 'small.npz'", "a matrix of 16x16 numbers is needed, not 2x2 of float64"),
        ("[[transform]]\nmatrix = 'nan.npz'", "not finite as float64"),
        ("[[transform]]\nidentity = true\nname = 3", "transform 1: name is a line of text"),
    ],
)
def test_a_fault_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    np.savez(tmp_path / "other.npz", x=np.eye(SIZE))
    np.savez(tmp_path / "small.npz", matrix=np.eye(2))
    np.savez(tmp_path / "nan.npz", matrix=np.full((SIZE, SIZE), np.nan))
    with pytest.raises(InputError, match=fault) as caught:
        read_transforms(write(tmp_path, text), SIZE, GRID)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such file"):
        read_transforms(tmp_path / "none.toml", SIZE, GRID)


def test_only_pictures_turn(tmp_path: Path) -> None:
    path = write(tmp_path, "[[transform]]\nidentity = true\n[[transform]]\nrotate = 3")
    with pytest.raises(InputError, match="transform 2: rotate is for pictures, and an input of 16 entries is none"):
        read_transforms(path, SIZE, None)
