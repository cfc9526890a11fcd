"""The Square attack (Andriushchenko et al. 2020): random search by square windows, with logits instead of gradients.

A row begins with vertical stripes of ±radius. Each step draws a window in every channel and gives its pixels ±radius
(L∞), or ± a random share of the radius, taken from all other pixels in proportion (L1 and L2); it stays where f falls.
The window's area is the share p of the image, p falling from `share` by halves as in the paper. An input of n numbers
counts as c channels of s × s pixels where n = c · s² with c = 1 or 3, else as one row of n pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.attacks.base.problem import LENGTH, AttackProblem, Candidates, Float32, Indices, Metric
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.attacks.base.sweep import SweepSettings, sweep
from verifier.problem.budget import Budget

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # shares of the steps after which p is halved

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class SquareSettings(SweepSettings):
    """`steps` windows per row, the first ones of the area `share` · n."""

    steps: int = 300
    share: float = 0.8
    radii: int = 8
    restarts: int = 1
    samples: int = 0


def square(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: SquareSettings) -> Candidates:
    """Square over radii in the problem's norm; a gradient is taken once, at x0, to choose the first radii."""
    search = AttackSearch(surrogate, problem, budget)
    sweep(search, settings, partial(square_rows, search, settings))
    return search.finish()


def image_shape(size: int) -> Shape:
    """(channels, height, width) of an input of `size` numbers.

    >>> image_shape(784), image_shape(3072), image_shape(20)
    ((1, 28, 28), (3, 32, 32), (1, 1, 20))
    """
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if channels * side * side == size:
            return channels, side, side
    return 1, 1, size


def square_rows(
    search: AttackSearch, settings: SquareSettings, cases: Indices, radius: Array, _: Indices
) -> tuple[Float32, Array]:
    """One run within each row's radius, as `sweep` asks for it."""
    problem, shape = search.problem, image_shape(search.problem.size)
    channels, width = shape[0], shape[2]
    stripes = search.random.choice([-1.0, 1.0], size=(len(cases), channels, 1, width))
    delta = np.broadcast_to(stripes, (len(cases), *shape)).reshape(len(cases), -1)
    points = _within(search, cases, delta, radius)
    gaps = problem.gap(cases, search.surrogate.logits(points))
    for step in range(settings.steps):
        left = np.flatnonzero(gaps > 0.0)
        if search.over or not len(left):
            break
        share = settings.share / 2 ** sum(step > part * settings.steps for part in HALVINGS)
        windows = _windows(search, len(left), shape, share)
        signs = search.random.choice([-1.0, 1.0], size=(len(left), channels, 1, 1))
        marks = (windows * signs).reshape(len(left), -1)
        tried = _with_windows(search, cases[left], points[left], marks, radius[left])
        tried_gaps = problem.gap(cases[left], search.surrogate.logits(tried))
        search.evaluations += len(left)
        better = tried_gaps < gaps[left]
        points[left[better]], gaps[left[better]] = tried[better], tried_gaps[better]
    return points, gaps


def _windows(search: AttackSearch, rows: int, shape: Shape, share: float) -> npt.NDArray[np.bool_]:
    """A window of about share · height · width pixels in each row, the same in all its channels."""
    channels, height, width = shape
    side = max(1, round(math.sqrt(share * height * width)))
    tall = min(side, height)
    wide = min(max(1, round(share * height * width / tall)), width)
    top = search.random.integers(0, height - tall + 1, size=(rows, 1))
    start = search.random.integers(0, width - wide + 1, size=(rows, 1))
    down, right = np.arange(height)[None], np.arange(width)[None]
    inside = ((down >= top) & (down < top + tall))[:, :, None] & ((right >= start) & (right < start + wide))[:, None]
    return np.broadcast_to(inside[:, None], (rows, channels, height, width))


def _with_windows(search: AttackSearch, cases: Indices, points: Float32, marks: Array, radius: Array) -> Float32:
    """The points with their windows, marked ±1, filled anew."""
    delta = points.astype(np.float64) - search.problem.origins[cases]
    if search.metric is Metric.LINF:
        return _within(search, cases, np.where(marks != 0.0, marks * radius, delta), radius)
    measure = LENGTH[search.metric]
    outside = np.where(marks != 0.0, 0.0, delta)
    part = search.random.random((len(cases), 1))
    window = marks / measure(marks)[:, None]
    rest = outside / np.maximum(measure(outside), 1e-30)[:, None]
    return _within(search, cases, part * window + (1.0 - part) * rest, radius)


def _within(search: AttackSearch, cases: Indices, delta: Array, radius: Array) -> Float32:
    """x0 + δ, scaled to the length `radius` and clipped to the box."""
    length = np.maximum(LENGTH[search.metric](delta), 1e-30)[:, None]
    return search.problem.clipped(search.problem.origins[cases] + delta / length * radius)
