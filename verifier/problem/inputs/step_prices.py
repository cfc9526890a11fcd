"""What the steps of a lattice's entries add to the distance, in L2 to its square: the price of each."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from encoders.network.norm import Norm
from verifier.problem.inputs.lattice import Lattice

ROOTS = 1e-9
"""Relative: so much too far rather than too little where a root says how many steps an amount pays for."""


MOST = 1 << 12
"""Steps of all entries up to which an amount is spent step by step: in an LP each is a column. Where it pays for more,
steps are fine, and a ball holds hardly more than its points span."""


class StepPrices:
    """What steps cost, in units of the cheapest: `of_step` (n,) the first step of each entry, in L2 the j-th 2j − 1
    times that. own: the input's category of each group."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice, self.power = lattice, 2 if lattice.norm is Norm.L2 else 1
        self.step = np.where(lattice.whole, 1.0 / lattice.per, 1.0)
        moving = lattice.whole & (lattice.first < lattice.last)
        self.unit = float(self.step[moving].min()) if np.any(moving) else 1.0
        self.of_step = (self.step / self.unit) ** self.power
        self.grouped = np.zeros(self.step.size, dtype=bool)
        self.grouped[[column for group in lattice.groups for column in group]] = True
        self.own = [int(group[np.argmax(lattice.at[group])]) for group in lattice.groups]

    def within(self, radius: float) -> float:
        """The most that a point within the radius costs, up to rounding."""
        return self.lattice.amount_within(radius) / self.unit**self.power

    def steps(self, amount: Array | float) -> Array:
        """So many steps of each entry the amount pays for, as a number that need not be whole: (n,)."""
        return np.asarray((amount / self.of_step) ** (1.0 / self.power) * (1.0 + ROOTS) + ROOTS)

    def few(self, radius: float) -> bool:
        """Is it of use to say what lies within the radius step by step, and are the steps few?

        In L∞ balls, and in L1 those without categories, are what whole numbers span. In L2 all entries take steps.
        """
        lattice = self.lattice
        if lattice.norm is Norm.LINF or not (lattice.groups if self.power == 1 else lattice.pure):
            return False
        return self.power == 1 or 0.0 < float(self.reach(self.within(radius)).sum()) <= MOST

    def reach(self, amount: float) -> Array:
        """The most steps of each single entry that the amount pays for, in the box: (n,), 0 in groups."""
        lattice = self.lattice
        away = np.maximum(lattice.last - lattice.at, lattice.at - lattice.first)
        return np.where(self.grouped | ~lattice.whole, 0.0, np.minimum(np.floor(self.steps(amount)), away))
