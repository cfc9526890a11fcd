"""Adam (Kingma & Ba 2015), by which multipliers that only propose bounds are climbed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOMENTUM, SECOND_MOMENTUM, SMALL = 0.9, 0.99, 1e-9
"""Adam's β₁, β₂ and ε."""

_Floats = npt.NDArray[np.floating]


class AdamMoments:
    """Adam's moments of one array."""

    def __init__(self) -> None:
        self._first: _Floats | float = 0.0
        self._second: _Floats | float = 0.0
        self._count = 0

    def step(self, gain: _Floats) -> _Floats:
        """How far to go, in units of a step."""
        self._count += 1
        self._first = MOMENTUM * self._first + (1.0 - MOMENTUM) * gain
        self._second = SECOND_MOMENTUM * self._second + (1.0 - SECOND_MOMENTUM) * gain * gain
        mean = self._first / (1.0 - MOMENTUM**self._count)
        return np.asarray(mean / (np.sqrt(self._second / (1.0 - SECOND_MOMENTUM**self._count)) + SMALL))
