"""Steps uphill from one point of a lattice to another, in L2: the best that an amount pays for, by the gradient.

Of g·(step·k) with Σ step²·k² ≤ N a threshold τ on what a step brings for its price gives the whole numbers
k_i = ⌊(|g_i|/(τ·step) + 1)/2⌋, as the j-th step costs 2j − 1 times the first. Rounding makes nothing of the steepest
ascent where that moves many entries by less than half a step each.
"""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from verifier.problem.inputs.lattice import Lattice, Whole
from verifier.problem.inputs.step_prices import StepPrices

HALVINGS = 40
"""Of the range of thresholds."""

FILLED = 64
"""Single steps that are tried for what the threshold leaves of the amount: it mostly pays for fewer than ten."""


class LatticeAscent:
    """The best whole numbers within an amount of a lattice's own, entry by entry; groups keep their categories."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice, self.prices = lattice, StepPrices(lattice)
        self._movable = lattice.whole & ~self.prices.grouped

    def best(self, gradient: Array, radius: float) -> Whole:
        """The k (n,) within the radius for which gradient·x is large: the largest but for what no step fits into."""
        lattice, price = self.lattice, self.prices.of_step
        up, down = lattice.last - lattice.at, lattice.at - lattice.first
        room = np.where(self._movable, np.where(gradient > 0, up, down), 0)
        pull = np.abs(gradient) * self.prices.step / price
        amount = self.prices.within(radius)
        low, high = 0.0, 2.0 * float(pull.max(initial=0.0))
        if not (0.0 < high < np.inf):
            return lattice.at.copy()
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            steps = _steps(pull, room, middle)
            low, high = (low, middle) if float(price @ (steps * steps)) <= amount else (middle, high)
        steps = _steps(pull, room, high)
        left = amount - float(price @ (steps * steps))
        worth = np.where(steps < room, pull / (2.0 * steps + 1.0), 0.0)
        for place in np.argsort(-worth, kind="stable")[:FILLED].tolist():
            cost = float(price[place]) * (2.0 * float(steps[place]) + 1.0)
            if worth[place] > 0.0 and cost <= left:
                steps[place] += 1.0
                left -= cost
        return np.asarray(lattice.at + (np.sign(gradient) * steps).astype(np.int64))


def _steps(pull: Array, room: Whole, threshold: float) -> Array:
    """So many steps of each entry bring as much for their price."""
    found: Array = np.minimum(np.floor(0.5 * (np.minimum(pull / threshold, 4.0 * room) + 1.0)), room)
    return found
