"""Weights of a goal's rows: what of a direction stays in the simplex, and its nearest point."""

from __future__ import annotations

import numpy as np

from verifier.problem.norms.geometry import Floats


def onto_simplex(weights: Floats) -> Floats:
    """Each column's nearest point of {λ ≥ 0, Σ λ = 1}: (m, batch) (Held, Wolfe & Crowder 1974)."""
    weights = weights - weights.max(axis=0)  # the same point, and float32 does not lose the 1 beside large entries
    ordered = np.sort(weights, axis=0)[::-1]
    excess = np.cumsum(ordered, axis=0) - 1.0
    last = np.count_nonzero(ordered * np.arange(1.0, len(weights) + 1)[:, np.newaxis] > excess, axis=0) - 1
    threshold = excess[last, np.arange(weights.shape[1])] / (last + 1)
    return np.asarray(np.maximum(weights - threshold, 0.0), dtype=np.float32)


def in_simplex(gradient: Floats, weights: Floats) -> Floats:
    """The part of a gradient along which weights may move: none at a row of weight 0 that falls, a sum of 0."""
    moving = np.ones_like(weights, dtype=bool)
    for _ in range(2):
        mean = np.where(moving, gradient, 0.0).sum(axis=0) / np.maximum(moving.sum(axis=0), 1)
        moving &= (weights > 0) | (gradient > mean)
    mean = np.where(moving, gradient, 0.0).sum(axis=0) / np.maximum(moving.sum(axis=0), 1)
    return np.asarray(np.where(moving, gradient - mean, 0.0), dtype=np.float32)
