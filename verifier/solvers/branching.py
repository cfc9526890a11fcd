"""Branching rules: which unstable ReLU a node is split at, with its code in kernels; which entry a box is halved at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.solvers.node_constants import NEAR, SPLIT_BY_DUAL, SPLIT_BY_LOSS, SPLIT_BY_VIOLATION, VIOLATED

Score = Callable[[Array, Array, Array, Array], Array]
"""Scores (relu_count,) from what each ReLU's relaxation costs the bound (shares ≤ 0), how far a relaxed point is off
its graph (infinite where there is no such point), and bounds l < 0 < u of its argument."""


@dataclass(frozen=True)
class BranchingRule:
    """The ReLU with the highest score is split; `code`: the same rule in kernels, which a test holds to be that."""

    name: str
    code: int
    score: Score = field(repr=False)


def _dual(shares: Array, off: Array, lower: Array, upper: Array) -> Array:
    """loss · √(u − l) / max(o / (u − l), NEAR), found by trial."""
    width = np.maximum(upper - lower, VIOLATED)
    return -shares * np.sqrt(width) / np.clip(off / width, NEAR, 1.0)


def _loss(shares: Array, _: Array, __: Array, ___: Array) -> Array:
    """What the relaxation costs the bound."""
    return -shares


def _violation(_: Array, off: Array, lower: Array, upper: Array) -> Array:
    """How far the relaxed point is off, at most how far the argument reaches to either side."""
    return np.minimum(off, np.minimum(-lower, upper))


DUAL = BranchingRule("dual", SPLIT_BY_DUAL, _dual)
LOSS = BranchingRule("loss", SPLIT_BY_LOSS, _loss)
VIOLATION = BranchingRule("violation", SPLIT_BY_VIOLATION, _violation)

RULES: tuple[BranchingRule, ...] = (DUAL, LOSS, VIOLATION)


def split_at(rule: BranchingRule, shares: Array, off: Array, lower: Array, upper: Array) -> int:
    """The ReLU to split at: of those that the relaxed point is off, that with the highest score above 0, else the
    `widest`; −1 for none."""
    places = np.flatnonzero((lower < 0) & (upper > 0) & (off > VIOLATED))
    if places.size:
        score = rule.score(shares[places], off[places], lower[places], upper[places])
        best = int(np.argmax(score))
        if score[best] > 0:
            return int(places[best])
    return widest(lower, upper)


def split_each(rule: BranchingRule, shares: Array, lower: Array, upper: Array) -> npt.NDArray[np.integer]:
    """`split_at` for nodes without relaxed points, one a row of arrays (nodes, ReLUs)."""
    if not shares.shape[1]:
        return np.full(len(shares), -1)
    open_ = (lower < 0) & (upper > 0)
    score = np.where(open_, rule.score(shares, np.full_like(shares, np.inf), lower, upper), -np.inf)
    places: npt.NDArray[np.integer] = np.argmax(score, axis=1)
    for row in np.flatnonzero(score[np.arange(len(places)), places] <= 0.0):
        places[row] = widest(lower[row], upper[row])
    return places


def widest(lower: Array, upper: Array) -> int:
    """The open ReLU whose argument reaches farthest to both sides; −1 when none is open."""
    reach = np.minimum(-lower, upper)
    return int(np.argmax(reach)) if np.any(reach > 0) else -1


@dataclass(frozen=True)
class InputRule:
    """Proposes the entry with the highest score to be halved: score(forms, widths, the root's widths), (batch, n)."""

    name: str
    score: Callable[[Array, Array, Array], Array] = field(repr=False)


def _smear(rows: Array, widths: Array, _: Array) -> Array:
    """What an entry's width costs the best row's bound."""
    return np.abs(rows) * widths


def _width(_: Array, widths: Array, first: Array) -> Array:
    """The width that is left of the root's: bounds of hidden stages get tight with it."""
    return widths / np.where(first > 0, first, np.inf)


SMEAR, WIDTH = InputRule("smear", _smear), InputRule("width", _width)
