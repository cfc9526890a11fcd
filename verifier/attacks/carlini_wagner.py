"""Carlini and Wagner's attacks: a penalised distance, many constants c at once, the best point kept on the device.

All minimise c · max(f(x), 0) + penalty(x − x0) over the box with f = f₆ of Carlini and Wagner (2017), and clip to the
box instead of their tanh substitution, so that a box may be infinite:

- L∞ (their section VI.C): penalty Σ max(|δ_i| − τ, 0), Adam; τ falls to `shrink` · ‖δ‖∞ whenever x is adversarial.
- L2 (section VI.A): penalty ‖δ‖₂², Adam; the nearest point in L2, with its distance in the problem's norm.
- L1 (EAD with the L1 rule, Chen et al. 2018, without the ℓ2 term): penalty ‖δ‖₁, FISTA with soft thresholding.

Instead of a binary search over c, a geometric grid of constants runs as rows of one batch, then finer grids around the
constant that served each case best. Lengths are relative to the first-order distance f(x0)/‖∇f(x0)‖, so no setting
depends on the scale of pixels or logits. For L∞ and L1 the quick FGSM and PGD sweeps come first: they give an upper
bound, τ's start and a second starting point. For a brief attack in L1, FGSM's point is enough where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.graph import Array
from verifier.attacks.carlini_wagner_step import FIRST_SECOND, STEPS
from verifier.attacks.gradient import FGSM_SETTINGS, PGD_SETTINGS, descend
from verifier.attacks.problem import AttackProblem, Candidates, Float32, Indices, Metric
from verifier.attacks.search import FAR, Search, Surrogate
from verifier.attacks.sweep import FARTHEST
from verifier.verdict import Budget


@dataclass(frozen=True)
class CarliniWagnerSettings:
    """`steps` steps per round, their rate falling from `first_rate` to `last_rate`: shares of τ (L∞) or of a pixel's
    move (L1, L2).

    A round runs a geometric grid of `constants` from `least` to `largest`, × `restarts` rows per case: from x0, from
    the nearest point so far, then from random points around x0. shrink: what τ keeps of ‖δ‖∞ at an adversarial point
    (L∞ only). refined: PGD comes first also for cases that FGSM has found a point for.
    """

    steps: int
    first_rate: float
    last_rate: float
    constants: int
    least: float
    largest: float
    restarts: int
    rounds: int = 2
    shrink: float = 0.995
    refined: bool = True


def carlini_wagner(
    surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: CarliniWagnerSettings | None
) -> Candidates:
    """Carlini–Wagner in the problem's own norm: L∞ with a shrinking τ, L1 as EAD. None takes that norm's defaults."""
    metric = Metric(problem.norm.value)
    return _attack(surrogate, problem, budget, metric, settings or DEFAULTS[metric])


def carlini_wagner_l2(
    surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: CarliniWagnerSettings | None
) -> Candidates:
    """The L2 attack: each case's point of least ‖δ‖₂ found, with its distance in the problem's norm."""
    return _attack(surrogate, problem, budget, Metric.L2, settings or DEFAULTS[Metric.L2])


def _attack(
    surrogate: Surrogate, problem: AttackProblem, budget: Budget, metric: Metric, settings: CarliniWagnerSettings
) -> Candidates:
    search = Search(surrogate, problem, budget, metric)
    if metric is problem.metric:
        descend(search, FGSM_SETTINGS)
        search.shorten()
        descend(search, PGD_SETTINGS, search.open if settings.refined else search.lost)
        search.shorten()
    cases, count = search.open, settings.constants
    span = settings.largest / settings.least
    spacing = np.full((len(cases), 1), span ** (1.0 / max(1, count - 1)))
    grids = np.tile(np.geomspace(settings.least, settings.largest, count), (len(cases), 1))
    for _ in range(settings.rounds):
        if search.over or not len(cases):
            break
        lengths = _attack_grid(search, settings, cases, grids)
        nearest = grids[np.arange(len(cases)), lengths.argmin(axis=1)][:, None]
        # The next grid lies strictly between the neighbours of the constant that came nearest, or, where none was
        # large enough to succeed, above them all.
        parts = np.linspace(-1.0, 1.0, count + 2)[1:-1]
        succeeded = np.isfinite(lengths).any(axis=1, keepdims=True)
        grids = np.where(succeeded, nearest * spacing**parts, grids * span * spacing)
        spacing = np.where(succeeded, spacing ** (2.0 / (count + 1)), spacing)
    return search.finish()


def _attack_grid(search: Search, settings: CarliniWagnerSettings, cases: Indices, grids: Array) -> Array:
    """One round: the distance that each case reached with each constant, (cases, constants); inf for no success."""
    row_cases = np.repeat(cases, grids.shape[1] * settings.restarts)
    row_constants = np.repeat(grids.reshape(-1), settings.restarts)
    restart = np.tile(np.arange(settings.restarts), grids.size)
    lengths = np.full(len(row_cases), np.inf)
    for rows in search.chunks(np.arange(len(row_cases))):
        points, distances = _rows(search, settings, row_cases[rows], row_constants[rows, None], restart[rows, None])
        found = distances < FAR
        lengths[rows] = np.where(found, distances, np.inf)
        search.offer(row_cases[rows], points, found)
    nearest: Array = lengths.reshape(*grids.shape, settings.restarts).min(axis=2)
    return nearest


def _rows(
    search: Search,
    settings: CarliniWagnerSettings,
    cases: Indices,
    constant: Array,
    restart: Indices,
) -> tuple[Float32, Float32]:
    """Run one block of rows: each row's best point and its distance in `metric` (FAR where there is none)."""
    problem, metric = search.problem, search.metric
    start = problem.starts[cases]
    scale = SCALES[metric](search, cases)
    noise = search.random.uniform(-1.0, 1.0, size=start.shape) * scale.length * (restart > 0)
    known = (restart == 1) & np.isfinite(search.distances[cases, None])
    x = np.where(known, search.points[cases], problem.clipped(start + noise))
    decay = (settings.last_rate / settings.first_rate) ** (1.0 / max(1, settings.steps - 1))
    loop = search.surrogate.loop(STEPS[metric])
    zeros, column = np.zeros_like(x), np.ones_like(constant)
    state: dict[str, npt.ArrayLike] = {
        "x": x, "best": start, "distance": FAR * column, "rate": [[settings.first_rate]],
        "first": zeros, "second": zeros + FIRST_SECOND, "power1": [[1.0]], "power2": [[1.0]],
        "tau": scale.length, "last": x, "count": [[0.0]],
    }  # fmt: skip
    constants: dict[str, npt.ArrayLike] = {
        **search.goal(cases), "centre": problem.origins[cases],
        "low": problem.low32[None], "high": problem.high32[None],
        "weight": constant * scale.constant, "decay": [[decay]], "shrink": [[settings.shrink]], "unit": scale.length,
    }  # fmt: skip
    search.run(loop, constants, state, settings.steps)
    return loop.read("best"), loop.read("distance")[:, 0]


@dataclass(frozen=True, eq=False)
class Scale:
    """length: one pixel's move, (batch, 1). constant: the c at which both terms are in balance, (batch, 1)."""

    length: Array
    constant: Array


def _linf_scale(search: Search, cases: Indices) -> Scale:
    """τ starts at the best distance so far; c compares c · mean |∂f/∂x_i| with the penalty's slope 1."""
    known = search.distances[cases]
    length = np.where(np.isfinite(known), known, np.minimum(search.reach(), FARTHEST * search.first_order())[cases])
    mean = np.abs(search.slopes[cases]).mean(axis=1, dtype=np.float64)
    return Scale(length[:, None], 1.0 / np.maximum(mean, 1e-30)[:, None])


def _l1_scale(search: Search, cases: Indices) -> Scale:
    """A pixel moves when c · |∂f/∂x_i| > 1; its move is the largest one of the nearest point so far."""
    slopes = np.abs(search.slopes[cases]).astype(np.float64)
    largest = np.maximum(slopes.max(axis=1), 1e-30)
    move = np.abs(search.points[cases] - search.problem.origins[cases]).max(axis=1)
    length = np.where(np.isfinite(search.distances[cases]), move, search.gaps[cases] / largest)
    return Scale(length[:, None], (1.0 / largest)[:, None])


def _l2_scale(search: Search, cases: Indices) -> Scale:
    """The first-order minimiser is δ = −f ∇f / ‖∇f‖₂²; there c · ‖∇f‖₂ = 2 ‖δ‖₂."""
    slopes = np.abs(search.slopes[cases]).astype(np.float64)
    squared = np.maximum((slopes**2).sum(axis=1), 1e-30)
    return Scale(
        (search.gaps[cases] * slopes.max(axis=1) / squared)[:, None], (2.0 * search.gaps[cases] / squared)[:, None]
    )


SCALES: Mapping[Metric, Callable[[Search, Indices], Scale]] = {
    Metric.LINF: _linf_scale,
    Metric.L1: _l1_scale,
    Metric.L2: _l2_scale,
}
DEFAULTS: Mapping[Metric, CarliniWagnerSettings] = {
    Metric.LINF: CarliniWagnerSettings(600, 1.0, 0.005, constants=6, least=0.1, largest=100.0, restarts=3),
    Metric.L1: CarliniWagnerSettings(600, 0.05, 1e-5, constants=6, least=0.5, largest=50.0, restarts=3),
    Metric.L2: CarliniWagnerSettings(300, 1.0, 0.005, constants=8, least=1.0, largest=30.0, restarts=1),
}
BRIEF: Mapping[Metric, CarliniWagnerSettings] = {
    metric: replace(settings, steps=200, refined=metric is not Metric.L1) for metric, settings in DEFAULTS.items()
}
"""For searches by trees, which polish what is found: half the time; on 15 instances of table 1 a norm, points lie 0.3 %
(L∞) and 0.02 % (L1) farther out. Leaving PGD out nearly halves it once more in L1 (0.01 to 0.5 %; in L∞ it would be
1 to 3 %)."""
