"""The distances that points of a lattice can have: multiples of one number, in each norm of its own kind, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from encoders.network.norm import Norm
from verifier.problem.quantities import directed

MOST_UNITS = 256
"""Different steps of columns up to which L∞ distances are told apart: each is asked every time."""

MOST_SQUARE = 1 << 1000
"""Squares beyond it, which float64 may not hold, have roots of whole numbers: these are far more exact than float64."""


@dataclass(frozen=True)
class Levels:
    """The numbers that are a multiple of one of `units`: what ‖x' − x‖^power can be, power 2 where squares add up."""

    units: tuple[Fraction, ...]
    power: int = 1

    def at_least(self, amount: Fraction) -> Fraction:
        """The least of them that is ≥ amount ≥ 0.

        >>> Levels((Fraction(1, 255),)).at_least(Fraction(0.094))
        Fraction(8, 85)
        """
        return min(-(-amount // unit) * unit for unit in self.units)

    def below(self, amount: Fraction) -> Fraction:
        """The greatest of them that is < amount, which is > 0."""
        return max((-(-amount // unit) - 1) * unit for unit in self.units)

    def amount(self, distance: float) -> Fraction:
        """distance^power."""
        return Fraction(distance) ** self.power

    def distance(self, amount: Fraction, direction: float) -> float:
        """amount^(1/power) as the nearest float64 on its side of `direction`, ∞ or −∞."""
        if self.power == 1:
            return directed(amount, direction)
        if amount > MOST_SQUARE:
            return directed(Fraction(math.isqrt(int(amount)) + (direction > 0)), direction)
        root = math.sqrt(float(amount))
        while direction > 0 and Fraction(root) ** 2 < amount:
            root = math.nextafter(root, math.inf)
        while direction < 0 and Fraction(root) ** 2 > amount:
            root = math.nextafter(root, -math.inf)
        return root


def levels_of(norm: Norm, steps: Iterable[Fraction]) -> Levels | None:
    """The levels of a lattice whose columns have these steps > 0; None where too many differ, or none moves.

    L∞: a multiple of some column's step. L1: of what divides them all. L2: the square, of what divides their squares.
    """
    different = sorted(set(steps))
    if not different or len(different) > MOST_UNITS:
        return None
    match norm:
        case Norm.LINF:
            return Levels(tuple(different))
        case Norm.L1:
            return Levels((_divisor(different),))
        case Norm.L2:
            return Levels((_divisor([step * step for step in different]),), power=2)


def _divisor(numbers: Iterable[Fraction]) -> Fraction:
    """The greatest rational of which all are multiples."""
    found = Fraction(0)
    for number in numbers:
        above = math.gcd(found.numerator * number.denominator, number.numerator * found.denominator)
        found = Fraction(above, found.denominator * number.denominator)
    return found
