"""Which ReLU to decide: how much each row would feel it, more where few other things may still save the row.

Of a row that may still be violated, with slack s = Σ max T + c, an entry whose term swings by w counts
2^(−STEEP·s/w): in a clause of k literals that is 2^(−STEEP·(k − 1)), the rule of Jeroslow & Wang (1990) for both
signs. A ReLU gets what its own argument counts, and that of the variables of its definition, by their share in it.
"""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.solvers.propagation.folding import STILL
from verifier.solvers.propagation.propagate import peak
from verifier.solvers.propagation.rows import RowSystem

STEEP = 1.5
"""From 0.5 to 2 all of sat_relu takes the same 948 contradictions; before rows were folded 1.5 did best."""


class Influence:
    """Counts for the rows of a query, of which those numbered 2k define ReLU k, whose arguments follow the `inputs`."""

    def __init__(self, rows: RowSystem, inputs: int, relus: int) -> None:
        self._rows, self._inputs, self._relus = rows, inputs, relus
        self._owner = np.repeat(np.arange(rows.constant.size), np.diff(rows.start))
        defines = (self._owner < 2 * relus) & (self._owner % 2 == 0)
        relu = self._owner // 2
        self._of = np.flatnonzero(defines & (rows.variable != relu + inputs))
        self._relu: Places = relu[self._of]
        weight = np.abs(rows.above[self._of])
        self._share = weight / np.maximum(np.bincount(self._relu, weight, relus), STILL)[self._relu]

    def at(self, bound: Array) -> Array:
        """What each ReLU counts, (relu_count,), where these are the bounds of ends."""
        rows, variables = self._rows, self._inputs + self._relus
        lower, upper = bound[rows.variable], -bound[rows.variable + variables]
        most, least = peak(rows.above, rows.below, lower, upper), -peak(-rows.above, -rows.below, lower, upper)
        slack = np.bincount(self._owner, most, rows.constant.size) + rows.constant
        falls = np.bincount(self._owner, least, rows.constant.size) + rows.constant < -STILL
        swing = most - least
        counts = falls[self._owner] & (swing > STILL)
        felt = np.where(counts, np.exp2(-STEEP * np.maximum(slack[self._owner], 0.0) / np.maximum(swing, STILL)), 0.0)
        own = np.bincount(rows.variable, felt, variables)
        through = np.bincount(self._relu, self._share * own[rows.variable[self._of]], self._relus)
        return np.asarray(own[self._inputs :] + through, dtype=np.float64)
