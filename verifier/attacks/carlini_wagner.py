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
One step is one ONNX model: `linf_step`, `l2_step`, `l1_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from encoders.onnx_io.builder import BATCH
from verifier.attacks.base.objective import keep_best, loss_at, sign
from verifier.attacks.base.problem import AttackProblem, Candidates, Float32, Indices, Metric
from verifier.attacks.base.search import FAR, AttackSearch, Surrogate
from verifier.attacks.base.sweep import FARTHEST
from verifier.attacks.gradient import FGSM_SETTINGS, PGD_SETTINGS, descend
from verifier.problem.budget import Budget
from verifier.runtime.step_model import StepBuilder, StepModel

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults (Kingma and Ba 2015)
FIRST_SECOND = EPSILON**2 / (1.0 - BETA2)


def linf_step(b: StepBuilder) -> StepModel:
    """One Adam step on weight · max(f, 0) + Σ max(|x_i − centre_i| − τ, 0), at rate · τ.

    Where x is adversarial, τ ← min(τ, shrink · ‖x − centre‖∞).
    """
    n = b.graph.input_size
    x, tau, rate = b.state("x", BATCH, n), b.state("tau", BATCH, 1), b.state("rate", 1, 1)
    delta = b.op("Sub", x, b.given("centre", BATCH, n))
    loss = loss_at(b, x, b.given("weight", BATCH, 1))
    best = keep_best(b, Metric.LINF, x, delta, loss)
    smaller = b.op("Min", tau, b.op("Mul", best.distance, b.given("shrink", 1, 1)))
    inside = b.op("Max", b.op("Min", delta, smaller), b.op("Neg", smaller))
    penalty = sign(b, b.op("Sub", delta, inside))
    moved, adam = _adam(b, x, b.op("Add", loss.gradient, penalty), b.op("Mul", rate, smaller))
    return b.step(
        {
            "x": (moved, (BATCH, n)),
            "tau": (smaller, (BATCH, 1)),
            "rate": (b.op("Mul", rate, b.given("decay", 1, 1)), (1, 1)),
            "best": (best.point, (BATCH, n)),
            "distance": (best.distance, (BATCH, 1)),
            **adam,
        }
    )


def l2_step(b: StepBuilder) -> StepModel:
    """One Adam step on weight · max(f, 0) + ‖x − centre‖₂², at rate · unit."""
    n = b.graph.input_size
    x, rate = b.state("x", BATCH, n), b.state("rate", 1, 1)
    delta = b.op("Sub", x, b.given("centre", BATCH, n))
    loss = loss_at(b, x, b.given("weight", BATCH, 1))
    best = keep_best(b, Metric.L2, x, delta, loss)
    gradient = b.op("Add", loss.gradient, b.op("Add", delta, delta))
    moved, adam = _adam(b, x, gradient, b.op("Mul", rate, b.given("unit", BATCH, 1)))
    return b.step(
        {
            "x": (moved, (BATCH, n)),
            "rate": (b.op("Mul", rate, b.given("decay", 1, 1)), (1, 1)),
            "best": (best.point, (BATCH, n)),
            "distance": (best.distance, (BATCH, 1)),
            **adam,
        }
    )


def l1_step(b: StepBuilder) -> StepModel:
    """One FISTA step on weight · max(f, 0) + ‖x − centre‖₁ from the extrapolated point x (Beck and Teboulle 2009).

    With s = rate · unit: last' = centre + soft(x − s · gradient − centre, s), clipped to the box; then
    x = last' + count/(count+3) · (last' − last), clipped too.
    """
    n = b.graph.input_size
    x, last = b.state("x", BATCH, n), b.state("last", BATCH, n)
    rate, count = b.state("rate", 1, 1), b.state("count", 1, 1)
    centre = b.given("centre", BATCH, n)
    low, high = b.given("low", 1, n), b.given("high", 1, n)
    loss = loss_at(b, x, b.given("weight", BATCH, 1))
    delta = b.op("Sub", x, centre)
    best = keep_best(b, Metric.L1, x, delta, loss)
    size = b.op("Mul", rate, b.given("unit", BATCH, 1))
    raw = b.op("Sub", delta, b.op("Mul", loss.gradient, size))
    soft = b.op("Sub", raw, b.op("Max", b.op("Min", raw, size), b.op("Neg", size)))
    arrived = b.op("Min", b.op("Max", b.op("Add", centre, soft), low), high)
    later = b.op("Add", count, b.constant([[1.0]]))
    momentum = b.op("Div", later, b.op("Add", later, b.constant([[3.0]])))
    ahead = b.op("Add", arrived, b.op("Mul", b.op("Sub", arrived, last), momentum))
    following = b.op("Min", b.op("Max", ahead, low), high)
    return b.step(
        {
            "x": (following, (BATCH, n)),
            "last": (arrived, (BATCH, n)),
            "rate": (b.op("Mul", rate, b.given("decay", 1, 1)), (1, 1)),
            "count": (later, (1, 1)),
            "best": (best.point, (BATCH, n)),
            "distance": (best.distance, (BATCH, 1)),
        }
    )


def _adam(b: StepBuilder, x: str, gradient: str, rate: str) -> tuple[str, dict[str, tuple[str, tuple[int | str, ...]]]]:
    """x − rate · m̂ / √v̂, clipped to the box, and the next moments (Kingma and Ba 2015).

    The states hold m / (1 − β₁) and v / (1 − β₂), which spares two passes over the batch; instead of being added to the
    root, ε enters as the first value of `second` (FIRST_SECOND), so that no root is 0.
    """
    n = b.graph.input_size
    first, second = b.state("first", BATCH, n), b.state("second", BATCH, n)
    power1, power2 = b.state("power1", 1, 1), b.state("power2", 1, 1)
    first = b.op("Add", b.op("Mul", first, b.constant(BETA1)), gradient)
    second = b.op("Add", b.op("Mul", second, b.constant(BETA2)), b.op("Mul", gradient, gradient))
    power1 = b.op("Mul", power1, b.constant(BETA1))
    power2 = b.op("Mul", power2, b.constant(BETA2))
    one = b.constant(1.0)
    correction = b.op("Div", b.op("Sqrt", b.op("Sub", one, power2)), b.op("Sub", one, power1))
    correction = b.op("Mul", correction, b.constant((1.0 - BETA1) / (1.0 - BETA2) ** 0.5))
    slope = b.op("Div", first, b.op("Sqrt", second))
    moved = b.op("Sub", x, b.op("Mul", slope, b.op("Mul", rate, correction)))
    kept = b.op("Min", b.op("Max", moved, b.given("low", 1, n)), b.given("high", 1, n))
    return kept, {
        "first": (first, (BATCH, n)),
        "second": (second, (BATCH, n)),
        "power1": (power1, (1, 1)),
        "power2": (power2, (1, 1)),
    }


STEPS: Mapping[Metric, Callable[[StepBuilder], StepModel]] = {
    Metric.LINF: linf_step,
    Metric.L1: l1_step,
    Metric.L2: l2_step,
}


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
    search = AttackSearch(surrogate, problem, budget, metric)
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


def _attack_grid(search: AttackSearch, settings: CarliniWagnerSettings, cases: Indices, grids: Array) -> Array:
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
    search: AttackSearch,
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
class LossScale:
    """length: one pixel's move, (batch, 1). constant: the c at which both terms are in balance, (batch, 1)."""

    length: Array
    constant: Array


def _linf_scale(search: AttackSearch, cases: Indices) -> LossScale:
    """τ starts at the best distance so far; c compares c · mean |∂f/∂x_i| with the penalty's slope 1."""
    known = search.distances[cases]
    length = np.where(np.isfinite(known), known, np.minimum(search.reach(), FARTHEST * search.first_order())[cases])
    mean = np.abs(search.slopes[cases]).mean(axis=1, dtype=np.float64)
    return LossScale(length[:, None], 1.0 / np.maximum(mean, 1e-30)[:, None])


def _l1_scale(search: AttackSearch, cases: Indices) -> LossScale:
    """A pixel moves when c · |∂f/∂x_i| > 1; its move is the largest one of the nearest point so far."""
    slopes = np.abs(search.slopes[cases]).astype(np.float64)
    largest = np.maximum(slopes.max(axis=1), 1e-30)
    move = np.abs(search.points[cases] - search.problem.origins[cases]).max(axis=1)
    length = np.where(np.isfinite(search.distances[cases]), move, search.gaps[cases] / largest)
    return LossScale(length[:, None], (1.0 / largest)[:, None])


def _l2_scale(search: AttackSearch, cases: Indices) -> LossScale:
    """The first-order minimiser is δ = −f ∇f / ‖∇f‖₂²; there c · ‖∇f‖₂ = 2 ‖δ‖₂."""
    slopes = np.abs(search.slopes[cases]).astype(np.float64)
    squared = np.maximum((slopes**2).sum(axis=1), 1e-30)
    return LossScale(
        (search.gaps[cases] * slopes.max(axis=1) / squared)[:, None], (2.0 * search.gaps[cases] / squared)[:, None]
    )


SCALES: Mapping[Metric, Callable[[AttackSearch, Indices], LossScale]] = {
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
