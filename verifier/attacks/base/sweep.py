"""From attacks within a radius to a minimum distance: many radii at once, then closer ones around the least success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.attacks.base.problem import Float32, Indices
from verifier.attacks.base.search import AttackSearch
from verifier.runtime.replay import FloatArray

NEAREST, FARTHEST = 0.5, 64.0  # the first sweep's radii, as multiples of the first-order estimate
LEAST, LARGEST = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)
"""No shorter step moves a float32 point, no longer one stays among the float32 numbers."""

RunWithinRadii = Callable[[Indices, Array, Indices], tuple[Float32, FloatArray]]
"""An attack within radii. Row j is case cases[j], radius[j] (rows, 1), restart[j] (rows, 1), and restart 0 begins at
x0: the rows' points (rows, n) and their f, ≤ 0 where the goal is reached."""


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """A round runs `radii` × `restarts` rows per case.

    Each round after the first divides the range between the largest radius that failed and the nearest success. Cases
    without a success in the first round try `samples` random points of the box: in few dimensions they find what no
    gradient leads to.
    """

    radii: int = 12
    restarts: int = 2
    rounds: int = 3
    samples: int = 1000


def sweep(
    search: AttackSearch,
    settings: SweepSettings,
    run: RunWithinRadii,
    estimate: Array | None = None,
    *,
    first: int = 0,
    cases: Indices | None = None,
) -> None:
    """Offer to `search` what `run` finds for `cases`, by default all that are open, round by round.

    estimate: (cases,) distances of about the size that is sought; by default the first-order one. first: 1 leaves out
    the first round, for a search that knows points already.
    """
    cases, reach = search.open if cases is None else cases, search.reach()
    estimate = search.first_order() if estimate is None else estimate
    failed = np.zeros_like(estimate)
    top = np.minimum(FARTHEST * estimate, reach)
    bottom = np.minimum(NEAREST * estimate, 0.5 * top)
    for turn in range(first, settings.rounds):
        if search.over or not len(cases):
            return
        high = np.where(np.isfinite(search.distances), search.distances, np.minimum(reach, FARTHEST * top))
        if turn == 0:
            radii = geometric(bottom[cases], top[cases], settings.radii)
        else:
            parts = np.arange(1, settings.radii + 1) / (settings.radii + 1)
            radii = failed[cases, None] + (high - failed)[cases, None] * parts
        succeeded = _attack_radii(search, settings, run, cases, radii)
        # Below the smallest success, the largest failure: attacks may fail at a radius by bad luck.
        below = np.cumsum(succeeded, axis=1) == 0
        failed[cases] = np.maximum(failed[cases], np.where(below, radii, 0.0).max(axis=1))
        if turn == 0 and settings.samples:
            search.sample(settings.samples, np.minimum(reach, FARTHEST * top))
        failed = np.minimum(failed, np.where(np.isfinite(search.distances), search.distances, failed))


def geometric(bottom: Array, top: Array, count: int) -> Array:
    """`count` radii from bottom to top, each by the same factor larger than the one before: (rows, count).

    Weights near the ends of float32's range make estimates of 0 and infinity, which have no logarithm.
    """
    low, high = np.clip(bottom, LEAST, LARGEST), np.clip(top, LEAST, LARGEST)
    radii: Array = np.geomspace(low, np.maximum(low, high), count, axis=1)
    return radii


def _attack_radii(
    search: AttackSearch, settings: SweepSettings, run: RunWithinRadii, cases: Indices, radii: Array
) -> npt.NDArray[np.bool_]:
    """One round: True at (case, radius) where some restart became adversarial."""
    row_cases = np.repeat(cases, radii.shape[1] * settings.restarts)
    row_radii = np.repeat(radii.reshape(-1), settings.restarts)
    restart = np.tile(np.arange(settings.restarts), radii.size)
    succeeded = np.zeros(len(row_cases), dtype=bool)
    for rows in search.chunks(np.arange(len(row_cases))):
        points, gaps = run(row_cases[rows], row_radii[rows, None], restart[rows, None])
        succeeded[rows] = gaps <= 0.0
        search.offer(row_cases[rows], points, succeeded[rows])
    return np.asarray(succeeded.reshape(*radii.shape, settings.restarts).any(axis=2))
