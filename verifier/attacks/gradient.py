"""FGSM, BIM and PGD as minimum-distance attacks: many radii at once, then closer radii around the smallest success.

L∞: x ← clip(x − step · sign ∇f(x)) to ball ∩ box. One step of the full radius is FGSM (Goodfellow, Shlens and Szegedy
2015), many of one size are BIM (Kurakin, Goodfellow and Bengio 2017), with random starts PGD (Madry et al. 2018).
L2: x ← x − step · ∇f(x) / ‖∇f(x)‖₂, drawn back to the ball and clipped to the box; one step is FGM.
L1: the steepest descent direction spends the radius on the pixels with the largest |∂f/∂x_i|, each as far as the box
allows: a fractional knapsack, the vertex that Frank and Wolfe's method steps towards (Frank, Wolfe 1956; Jaggi 2013).
x ← x + 2/(k+2) · (vertex − x) stays in ball ∩ box without a projection; one step is FGSM's counterpart.

The loss is max(f, 0), so a row stops where it becomes adversarial: its last point is its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders.network.graph import Array
from encoders.onnx_io.builder import BATCH
from verifier.attacks.base.box_walk import box_walk
from verifier.attacks.base.objective import MEASURE, loss_at, sign
from verifier.attacks.base.problem import AttackProblem, Candidates, Float32, Indices, Metric
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.attacks.base.sweep import SweepSettings, sweep
from verifier.problem.budget import Budget
from verifier.runtime.step_model import StepBuilder, StepModel

KNAPSACK_HALVINGS = 12  # the knapsack's threshold to within max|g| / 4096; what lies between is taken in part


@dataclass(frozen=True, kw_only=True)
class GradientSettings(SweepSettings):
    """`steps` steps per row, falling from `first_step` · radius to `last_step` · radius (L∞ and L2 only)."""

    steps: int = 40
    first_step: float = 0.5
    last_step: float = 0.02


FGSM_SETTINGS = GradientSettings(steps=1, first_step=1.0, last_step=1.0, radii=32, restarts=1, rounds=2, samples=0)
BIM_SETTINGS = GradientSettings(steps=20, first_step=0.1, last_step=0.1, restarts=1, samples=0)
PGD_SETTINGS = GradientSettings()


def gradient_attack(
    surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: GradientSettings
) -> Candidates:
    """The nearest point that a sweep over radii finds for each case; partial when the budget ends."""
    search = AttackSearch(surrogate, problem, budget)
    descend(search, settings)
    return search.finish()


def gradient_attack_l2(
    surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: GradientSettings
) -> Candidates:
    """The same over L2 balls: each case's point of least ‖δ‖₂ found, with its distance in the problem's norm."""
    search = AttackSearch(surrogate, problem, budget, Metric.L2)
    descend(search, settings)
    return search.finish()


def descend(search: AttackSearch, settings: GradientSettings, cases: Indices | None = None) -> None:
    """Offer to `search` what gradient steps within balls of its metric find for `cases`, by default all that are open;
    where they may sample, `box_walk` too."""
    rows = ROWS[search.metric]
    sweep(
        search, settings, lambda chosen, radius, restart: rows(search, settings, chosen, radius, restart), cases=cases
    )
    if settings.samples:
        box_walk(search)


def starts(search: AttackSearch, cases: Indices, radius: Array, restart: Indices) -> Float32:
    """Where rows begin: restart 0 at its case's start, the others at random in ball ∩ box."""
    return np.where(restart > 0, STARTS[search.metric](search, cases, radius), search.problem.starts[cases])


def _cube(search: AttackSearch, cases: Indices, radius: Array) -> tuple[Float32, Float32]:
    centre = search.problem.centres[cases]
    return search.problem.clipped(centre - radius), search.problem.clipped(centre + radius)


def _anywhere_in_linf(search: AttackSearch, cases: Indices, radius: Array) -> Float32:
    lower, upper = _cube(search, cases, radius)
    return lower + search.random.random(lower.shape, dtype=np.float32) * (upper - lower)


def _anywhere_in_l1(search: AttackSearch, cases: Indices, radius: Array) -> Float32:
    """Random shares of the radius in random directions, cut at the box."""
    centre = search.problem.origins[cases]
    share = search.random.standard_exponential(centre.shape)
    signs = search.random.choice([-1.0, 1.0], size=centre.shape)
    return search.problem.clipped(centre + signs * share / share.sum(axis=1, keepdims=True) * radius)


def _anywhere_in_l2(search: AttackSearch, cases: Indices, radius: Array) -> Float32:
    """A random direction, and a length that makes the density even."""
    centre = search.problem.origins[cases]
    push = search.random.standard_normal(centre.shape)
    length = search.random.random((len(centre), 1)) ** (1.0 / search.problem.size)
    push *= length / np.maximum(np.linalg.norm(push, axis=1, keepdims=True), 1e-30)
    return search.problem.clipped(centre + push * radius)


STARTS: Mapping[Metric, Callable[[AttackSearch, Indices, Array], Float32]] = {
    Metric.LINF: _anywhere_in_linf,
    Metric.L1: _anywhere_in_l1,
    Metric.L2: _anywhere_in_l2,
}


@dataclass(frozen=True)
class _Rows:
    """Rows of a batch, each a case under a radius and a restart, to be walked by one step model."""

    search: AttackSearch
    settings: GradientSettings
    cases: Indices
    radius: Array
    restart: Indices

    @property
    def decay(self) -> list[list[float]]:
        """What the step length is multiplied with each time, so that the last step is `last_step`."""
        settings = self.settings
        return [[(settings.last_step / settings.first_step) ** (1.0 / max(1, settings.steps - 1))]]

    def walked(
        self, step: Callable[[StepBuilder], StepModel], given: Mapping[str, Any], state: Mapping[str, Any]
    ) -> tuple[Float32, Float32]:
        """The points after all steps, and f there."""
        search, first = self.search, starts(self.search, self.cases, self.radius, self.restart)
        loop = search.surrogate.loop(step)
        inputs: dict[str, Any] = {**search.goal(self.cases), **given}
        # The last run judges the last step; rows that are adversarial do not move in it.
        search.run(loop, inputs, {"x": first, "gap": np.ones_like(self.radius), **state}, self.settings.steps + 1)
        return loop.read("x"), loop.read("gap")[:, 0]


def _sign_rows(
    search: AttackSearch, settings: GradientSettings, cases: Indices, radius: Array, restart: Indices
) -> tuple[Float32, Float32]:
    lower, upper = _cube(search, cases, radius)
    rows = _Rows(search, settings, cases, radius, restart)
    given = {"lower": lower, "upper": upper, "decay": rows.decay}
    return rows.walked(sign_step, given, {"step": settings.first_step * radius})


def sign_step(b: StepBuilder) -> StepModel:
    """x ← min(max(x − step · sign ∇max(f, 0), lower), upper); step ← step · decay; gap is f before the step."""
    n = b.graph.input_size
    x, step = b.state("x", BATCH, n), b.state("step", BATCH, 1)
    b.state("gap", BATCH, 1)
    lower, upper = b.given("lower", BATCH, n), b.given("upper", BATCH, n)
    loss = loss_at(b, x)
    moved = b.op("Sub", x, b.op("Mul", sign(b, loss.gradient), step))
    kept = b.op("Min", b.op("Max", moved, lower), upper)
    smaller = b.op("Mul", step, b.given("decay", 1, 1))
    return b.step({"x": (kept, (BATCH, n)), "step": (smaller, (BATCH, 1)), "gap": (loss.gap, (BATCH, 1))})


def _sparse_rows(
    search: AttackSearch, settings: GradientSettings, cases: Indices, radius: Array, restart: Indices
) -> tuple[Float32, Float32]:
    problem = search.problem
    centre = problem.origins[cases]
    down, up = np.minimum(centre - problem.low32, radius), np.minimum(problem.high32 - centre, radius)
    given = {"centre": centre, "down": down, "up": up, "radius": radius}
    # A first step of 2/(0+2) = 1 would forget a random start.
    state = {"count": np.where(restart > 0, 2.0, 0.0)}
    return _Rows(search, settings, cases, radius, restart).walked(sparse_step, given, state)


def sparse_step(b: StepBuilder) -> StepModel:
    """x ← x + 2/(count+2) · (vertex − x) where f > 0; count ← count + 1; gap is f before the step."""
    n = b.graph.input_size
    x, count = b.state("x", BATCH, n), b.state("count", BATCH, 1)
    b.state("gap", BATCH, 1)
    loss = loss_at(b, x)
    share = b.op("Div", b.constant(2.0), b.op("Add", count, b.constant(2.0)))
    centre, radius = b.given("centre", BATCH, n), b.given("radius", BATCH, 1)
    toward = b.op("Sub", vertex(b, loss.gradient, centre, radius), x)
    moved = b.op("Add", x, b.op("Mul", toward, b.op("Mul", share, loss.active)))
    later = b.op("Add", count, b.constant(1.0))
    return b.step({"x": (moved, (BATCH, n)), "count": (later, (BATCH, 1)), "gap": (loss.gap, (BATCH, 1))})


def vertex(b: StepBuilder, gradient: str, centre: str, radius: str) -> str:
    """argmin gradient · v over ‖v − centre‖₁ ≤ radius and the box, up to the threshold's resolution.

    Entry i may spend room_i; all above a threshold spend it. Halvings enclose the threshold at which the radius is
    spent; the entries between both ends share what is left, so that exactly min(radius, Σ room) is spent.
    """
    n = b.graph.input_size
    down, up = b.given("down", BATCH, n), b.given("up", BATCH, n)
    size = b.op("Abs", gradient)
    room = b.op("Where", b.op("Greater", gradient, b.constant(0.0)), down, up)

    def taken(threshold: str) -> str:
        return b.op("Mul", room, b.mask(b.op("Greater", size, threshold)))

    high = b.row_max(size)
    low = b.op("Mul", high, b.constant(0.0))
    for _ in range(KNAPSACK_HALVINGS):
        middle = b.op("Mul", b.op("Add", low, high), b.constant(0.5))
        over = b.op("Greater", b.row_sum(taken(middle)), radius)
        low, high = b.op("Where", over, middle, low), b.op("Where", over, high, middle)
    full = taken(high)
    band = b.op("Sub", taken(low), full)
    left = b.op("Sub", radius, b.row_sum(full))
    share = b.op("Div", left, b.op("Max", b.row_sum(band), b.constant(1e-30)))
    share = b.op("Min", share, b.constant(1.0))
    spent = b.op("Add", full, b.op("Mul", band, share))
    return b.op("Sub", centre, b.op("Mul", spent, sign(b, gradient)))


def _l2_rows(
    search: AttackSearch, settings: GradientSettings, cases: Indices, radius: Array, restart: Indices
) -> tuple[Float32, Float32]:
    problem = search.problem
    rows = _Rows(search, settings, cases, radius, restart)
    box = {"low": problem.low32[None], "high": problem.high32[None]}
    given = {**box, "centre": problem.origins[cases], "radius": radius, "decay": rows.decay}
    return rows.walked(l2_step, given, {"step": settings.first_step * radius})


def l2_step(b: StepBuilder) -> StepModel:
    """Where f > 0: x ← x − step · ∇f / ‖∇f‖₂, drawn back to the ball and clipped; gap is f before the step."""
    n = b.graph.input_size
    x, step = b.state("x", BATCH, n), b.state("step", BATCH, 1)
    b.state("gap", BATCH, 1)
    centre, radius = b.given("centre", BATCH, n), b.given("radius", BATCH, 1)
    loss = loss_at(b, x)
    tiny = b.constant(1e-30)
    unit = b.op("Div", loss.gradient, b.op("Max", MEASURE[Metric.L2](b, loss.gradient), tiny))
    delta = b.op("Sub", b.op("Sub", x, b.op("Mul", unit, step)), centre)
    share = b.op("Div", radius, b.op("Max", MEASURE[Metric.L2](b, delta), radius))
    inside = b.op("Add", centre, b.op("Mul", delta, share))
    kept = b.op("Min", b.op("Max", inside, b.given("low", 1, n)), b.given("high", 1, n))
    moved = b.op("Add", x, b.op("Mul", b.op("Sub", kept, x), loss.active))
    smaller = b.op("Mul", step, b.given("decay", 1, 1))
    return b.step({"x": (moved, (BATCH, n)), "step": (smaller, (BATCH, 1)), "gap": (loss.gap, (BATCH, 1))})


StepRows = Callable[[AttackSearch, GradientSettings, Indices, Array, Indices], tuple[Float32, Float32]]
ROWS: Mapping[Metric, StepRows] = {Metric.LINF: _sign_rows, Metric.L1: _sparse_rows, Metric.L2: _l2_rows}
