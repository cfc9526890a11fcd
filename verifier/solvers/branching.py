"""Branching: which unstable ReLU a node is split at."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array

VIOLATED = 1e-9
"""A relaxed point that is off a ReLU's graph by less counts as on it: nothing is gained by splitting there."""


NEAR = 0.1
"""Share of its argument's interval: relaxed points that lie nearer to a ReLU's graph count as this near."""


DUAL, LOSS, VIOLATION = 0, 1, 2
"""How the ReLU to split at is chosen (`split_at`): DUAL; by the loss alone; by how far the relaxed point is off."""


def split_at(branching: int, shares: Array, off: Array, lower: Array, upper: Array) -> int:
    """The ReLU to split at: that with the highest score, or the `widest`; −1 for none.

    DUAL: loss · √(u − l) / max(o / (u − l), NEAR), found by trial, for bounds l < 0 < u, a relaxed point that is `off`
    the ReLU's graph by o (infinite where there is no such point), and what its relaxation costs the bound, −share.
    """
    if branching == VIOLATION:
        score = np.minimum(off, np.minimum(-lower, upper))
    elif branching == LOSS:
        score = -shares
    else:
        width = np.maximum(upper - lower, VIOLATED)
        score = -shares * np.sqrt(width) / np.clip(off / width, NEAR, 1.0)
    score = np.where((off > VIOLATED) & (lower < 0) & (upper > 0), score, 0.0)
    return int(np.argmax(score)) if np.any(score > 0) else widest(lower, upper)


def widest(lower: Array, upper: Array) -> int:
    """The open ReLU whose argument reaches farthest to both sides; −1 when none is open."""
    reach = np.minimum(-lower, upper)
    return int(np.argmax(reach)) if np.any(reach > 0) else -1
