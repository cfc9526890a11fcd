"""Weights of a goal's rows as kernels: what of a direction stays in the simplex, and its nearest point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from verifier.bounds.kernels.jit import inner
from verifier.problem.norms.geometry import Floats

NOTHING, WHOLE = np.float32(0.0), np.float32(1.0)


@inner
def within_simplex(turn: Floats, weights: Floats, j: int, moving: npt.NDArray[np.bool_]) -> None:
    """The part of a direction along which weights may move, in place: as `row_weights.in_simplex`."""
    count = weights.shape[0]
    for i in range(count):
        moving[i] = True
    mean = NOTHING
    for attempt in range(3):
        total, among = NOTHING, 0
        for i in range(count):
            if moving[i]:
                total += turn[i, j]
                among += 1
        mean = total / np.float32(max(among, 1))
        if attempt < 2:
            for i in range(count):
                moving[i] = moving[i] and (weights[i, j] > NOTHING or turn[i, j] > mean)
    for i in range(count):
        turn[i, j] = turn[i, j] - mean if moving[i] else NOTHING


@inner
def to_simplex(weights: Floats, j: int) -> None:
    """`row_weights.onto_simplex` for one node: entries below the threshold leave until none does (Michelot 1986).

    Thresholds rise, but for rounding: one that lies a rounding below the last would take in again what that left out.
    """
    count = weights.shape[0]
    weights[:, j] -= weights[:, j].max()
    threshold, left = -np.float32(np.inf), count + 1
    while True:
        total, among = NOTHING, 0
        for i in range(count):
            if weights[i, j] > threshold:
                total += weights[i, j]
                among += 1
        if among == 0 or among >= left:
            break
        left = among
        threshold = (total - WHOLE) / np.float32(among)
    for i in range(count):
        moved = weights[i, j] - threshold
        weights[i, j] = moved if moved > NOTHING else NOTHING
