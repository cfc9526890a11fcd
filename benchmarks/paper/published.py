"""What Carlini, Katz, Barrett and Dill (2018) printed: tables 1 and 2, by net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Set:
    """A quarter of table 1: instances closed of 90, and over these the mean initial and the mean minimal distance."""

    closed: int
    initial: float
    minimal: float

    @property
    def improvement(self) -> float:
        """How much shorter the minimal distance is than the attack's, as a share of the latter."""
        return 1.0 - self.minimal / self.initial


NETS = "N", "N-bar"
INSTANCES = 90

TABLE1: Mapping[tuple[str, str], Set] = {
    (NETS[0], "linf"): Set(38, 0.042, 0.038),
    (NETS[0], "l1"): Set(6, 1.94, 1.731),
    (NETS[1], "linf"): Set(81, 0.211, 0.193),
    (NETS[1], "l1"): Set(64, 6.44, 6.36),
}
"""By (net, norm)."""


@dataclass(frozen=True)
class Defence:
    """A line of table 2: over instances closed on both nets, mean minimal distances, their factor, how many fell."""

    instances: int
    undefended: float
    defended: float
    factor: float
    worse: int


TABLE2: Mapping[str, Defence] = {"linf": Defence(35, 0.039, 0.165, 4.2, 7)}
"""By norm."""
