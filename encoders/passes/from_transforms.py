"""A file of transformations (TOML) to linear maps of the input: identity, rotate, scale, translate, any matrix.

[[transform]]
identity = true

[[transform]]
rotate = 10              # degrees, counter-clockwise
scale = 0.9              # of these three any number may stand together: scaled, then turned, then moved
translate = [1, -0.5]    # pixels to the right, pixels down

[[transform]]
matrix = "blur.npz"      # array `matrix` (n, n), beside this file; its entries as float64 are the map
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.errors import InputError, there_are
from encoders.files.array_files import npz_arrays
from encoders.files.toml_file import read_toml
from encoders.lazy import Lazy
from encoders.network.linear_maps import Sparse, sparse

if TYPE_CHECKING:
    import scipy.sparse as sp

    from encoders.passes.image_maps import Grid
else:
    sp = Lazy("scipy.sparse")

KEYS = ("identity", "rotate", "scale", "translate", "matrix", "name")
LARGEST_SCALE = 1000.0
"""Scales lie between this and its inverse: beyond, no picture is left."""


@dataclass(frozen=True, eq=False)
class Transforms:
    """The transformations of a file: `names`, and for each its linear map of the input."""

    path: Path
    sha256: str
    names: tuple[str, ...]
    maps: tuple[Sparse, ...]


def read_transforms(path: Path, size: int, grid: Grid | None) -> Transforms:
    """The transformations of a file for an input of `size` entries, a picture laid out as `grid` (None: it is none).

    Raises InputError, one line, for a file that cannot be read or asks for what is not there.
    """
    plan, content = read_toml(path)
    entries = plan.pop("transform", None)
    if plan:
        raise InputError(f"{path}: unknown key '{next(iter(plan))}'; transformations are tables [[transform]]")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} lists no transformation: each is a table [[transform]]")
    found = [_transform(_Entry(path, number, entry), size, grid) for number, entry in enumerate(entries, start=1)]
    names, maps = zip(*found, strict=True)
    return Transforms(path, hashlib.sha256(content).hexdigest(), names, maps)


@dataclass(frozen=True)
class _Entry:
    """Table `number` of the file, from 1."""

    path: Path
    number: int
    values: Mapping[str, Any]

    def wrong(self, what: str) -> InputError:
        return InputError(f"{self.path}: transform {self.number}: {what}")

    def number_of(self, key: str, default: float) -> float:
        return self._checked(key, self.values.get(key, default))

    def pair_of(self, key: str) -> tuple[float, float]:
        pair = self.values.get(key, (0.0, 0.0))
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise self.wrong(f"{key} is [pixels right, pixels down], not {pair!r}")
        return self._checked(key, pair[0]), self._checked(key, pair[1])

    def _checked(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(f"{key} is a finite number, not {value!r}")
        return float(value)


def _transform(entry: _Entry, size: int, grid: Grid | None) -> tuple[str, Sparse]:
    values = entry.values
    unknown = [key for key in values if key not in KEYS]
    if unknown:
        raise entry.wrong(f"unknown key '{unknown[0]}'; {there_are(KEYS, unknown[0])}")
    kinds = [key for key in KEYS[:-1] if key in values]
    moves = [key for key in kinds if key not in ("identity", "matrix")]
    if not kinds or (len(moves) < len(kinds) and len(kinds) > 1):
        raise entry.wrong("give identity = true, or any of rotate, scale and translate, or a matrix")
    name = values.get("name", ", ".join(f"{key} {values[key]}" for key in moves) or kinds[0])
    if not isinstance(name, str) or not name.isprintable():
        raise entry.wrong("name is a line of text")
    if "identity" in kinds:
        if values["identity"] is not True:
            raise entry.wrong("identity is true, or left out")
        return name, sparse(sp.eye_array(size))
    if "matrix" in kinds:
        return values.get("name", str(values["matrix"])), _matrix(entry, size)
    if grid is None:
        raise entry.wrong(f"{moves[0]} is for pictures, and an input of {size} entries is none: give a matrix")
    scale = entry.number_of("scale", 1.0)
    if not 1.0 / LARGEST_SCALE <= scale <= LARGEST_SCALE:
        raise entry.wrong(f"scale lies between {1.0 / LARGEST_SCALE:g} and {LARGEST_SCALE:g}, not {scale:g}")
    from encoders.passes.image_maps import Motion, motion_map  # noqa: PLC0415, most questions are about the input as it is

    return name, motion_map(grid, Motion(entry.number_of("rotate", 0.0), scale, entry.pair_of("translate")))


def _matrix(entry: _Entry, size: int) -> Sparse:
    given = entry.values["matrix"]
    if not isinstance(given, str):
        raise entry.wrong(f"matrix is the name of an .npz file, not {given!r}")
    path = entry.path.parent / given
    try:
        matrix = npz_arrays(path, ("matrix",))["matrix"]
    except InputError as error:
        raise entry.wrong(f"matrix is an .npz file with an array 'matrix': {error}") from None
    if matrix.dtype.kind not in "buif" or matrix.shape != (size, size):
        shape = "x".join(str(axis) for axis in matrix.shape)
        raise entry.wrong(f"{path}: a matrix of {size}x{size} numbers is needed, not {shape} of {matrix.dtype}")
    with np.errstate(over="ignore"):
        values = matrix.astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise entry.wrong(f"{path}: the matrix holds numbers that are not finite as float64")
    return sparse(values)
