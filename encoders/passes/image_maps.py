"""Rotation, scaling and translation of pixels as matrices: bilinear interpolation is a linear map of the image.

Output pixel p takes its value from the input at the source position s(p) = c + R(-angle) (p - c - t) / scale, c the
centre of the picture: the weighted mean of the four pixels around s(p), zeros outside. (The transformations of
Athalye, Engstrom, Ilyas and Kwok 2018, over a fixed set instead of a distribution.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from encoders.lazy import Lazy
from encoders.network.linear_maps import Sparse, sparse

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")

POSITION_DIGITS = 9
"""Source positions are rounded to this many decimals of a pixel, so that cos 90° = 6e-17 gives no stray weights."""


@dataclass(frozen=True)
class Grid:
    """A picture of height x width x channels in a flat input, channels first or last; entries are row-major."""

    height: int
    width: int
    channels: int = 1
    channels_first: bool = True


@dataclass(frozen=True)
class Motion:
    """How a picture moves, about its centre: enlarged by `scale`, then turned counter-clockwise by `rotate` degrees,
    then moved `translate` = (right, down) pixels."""

    rotate: float = 0.0
    scale: float = 1.0
    translate: tuple[float, float] = (0.0, 0.0)


def motion_map(grid: Grid, motion: Motion) -> Sparse:
    """The matrix of a motion, its entries float64: (n, n) for a grid of n = height · width · channels entries.

    Each row has at most four entries, all ≥ 0, with a sum ≤ 1 up to rounding.
    """
    rows, columns = (axis.reshape(-1).astype(np.float64) for axis in np.indices((grid.height, grid.width)))
    right, down = motion.translate
    x = columns - (grid.width - 1) / 2 - right
    y = rows - (grid.height - 1) / 2 - down
    # y points down: turning the picture back clockwise is (x, y) -> (x cos - y sin, x sin + y cos).
    cos, sin = math.cos(math.radians(motion.rotate)), math.sin(math.radians(motion.rotate))
    source_x = np.round((x * cos - y * sin) / motion.scale + (grid.width - 1) / 2, POSITION_DIGITS)
    source_y = np.round((x * sin + y * cos) / motion.scale + (grid.height - 1) / 2, POSITION_DIGITS)
    left, top = np.floor(source_x), np.floor(source_y)
    weights, sources, targets = [], [], []
    for beside, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        share_x, share_y = source_x - left, source_y - top
        weight = (share_x if beside else 1.0 - share_x) * (share_y if below else 1.0 - share_y)
        column, row = left + beside, top + below
        inside = (column >= 0) & (column < grid.width) & (row >= 0) & (row < grid.height)
        weights.append(weight[inside])
        sources.append((row * grid.width + column)[inside].astype(np.intp))
        targets.append(np.flatnonzero(inside))
    places = grid.height * grid.width
    entries = np.concatenate(targets), np.concatenate(sources)
    plane = sp.csr_array((np.concatenate(weights), entries), shape=(places, places))
    eye = sp.eye_array(grid.channels)
    return sparse(sp.kron(eye, plane) if grid.channels_first else sp.kron(plane, eye))
