"""Linear maps that are cut into pieces where they are large."""

from __future__ import annotations

import numpy as np

from encoders.network.linear_maps import Conv, Dense, readonly

RNG = np.random.default_rng(0)
MAPS = {
    "dense": Dense(readonly(RNG.normal(size=(7, 6)))),
    "along an axis": Dense(readonly(RNG.normal(size=(7, 6))), right=4),
    "blocks": Dense(readonly(RNG.normal(size=(3, 2))), left=4),
    "conv": Conv(readonly(RNG.normal(size=(6, 2, 3, 2))), (5, 4), (2, 1), (1, 2), (1, 0, 1, 2)),
    "groups": Conv(readonly(RNG.normal(size=(6, 2, 3, 3))), (4, 4), (1, 1), (1, 1), (1, 1, 1, 1), groups=3),
}
