"""Auto-PGD (Croce and Hein 2020b): PGD whose step sizes follow its own progress, on cross-entropy or the DLR loss.

x ← P(x + a · (P(x + s d) − x) + (1 − a) · (x − x_last)), momentum a = 0.75, s = 2 · radius at first, P the way back
to ball ∩ box. d is minus the sign of the gradient in L∞, minus its unit vector in L2; in L1, x + s d stands for the
point that is the share s / (2 · radius) of the way to the vertex of ball ∩ box on which the linearised loss is least.
At checkpoints, after 22 % of the steps and then after stretches that shorten by 3 % down to 6 %, s is halved and x goes
back to the best point, where less than ρ = 75 % of the steps improved the loss, or where neither s nor the best loss
has changed since the last checkpoint. A row stops where it becomes adversarial.

The losses, as ONNX nodes, are cross-entropy and the difference of logits ratio:

CE: −log p_t of a targeted case, log p_label of an untargeted one.
DLR: f / (z_π1 − z_π3), and f / (z_π1 − (z_π3 + z_π4)/2) of a targeted case, with the logits sorted π1, π2, …. It stays
as it is when logits are scaled, so it does not vanish where large logits mask gradients. f is that of all attacks: a
targeted case has to beat every rival, where the paper's looks at the label alone. With two classes it is f itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise

import numpy as np

from encoders.network.graph import Array
from encoders.onnx_io.builder import BATCH
from verifier.attacks.base.objective import MEASURE, Gap, gap_at, sign
from verifier.attacks.base.problem import AttackProblem, Candidates, Float32, Indices, Metric
from verifier.attacks.base.search import FAR, AttackSearch, Surrogate
from verifier.attacks.base.sweep import SweepSettings, sweep
from verifier.attacks.gradient import starts, vertex
from verifier.problem.budget import Budget
from verifier.runtime.step_model import StepBuilder, StepModel

SMALLEST_SPREAD = 1e-12  # below it the logits are equal, and the ratio says nothing


class LossName(StrEnum):
    """Which loss Auto-PGD descends."""

    CE = "ce"
    DLR = "dlr"


@dataclass(frozen=True)
class StepLoss:
    """gap: f (batch, 1). value: the loss (batch, 1). gradient: ∂ value/∂x (batch, n)."""

    gap: str
    value: str
    gradient: str


def cross_entropy(b: StepBuilder, x: str) -> StepLoss:
    """value = −sign · log p_own: ∂/∂z = sign · (softmax(z) − own)."""
    values = b.logits(x)
    logits = values[b.graph.output]
    gap = gap_at(b, logits)
    share = b.row_sum(b.op("Mul", b.op("LogSoftmax", logits, axis=1), gap.own))
    cotangent = b.op("Mul", b.op("Sub", b.op("Softmax", logits, axis=1), gap.own), gap.sign)
    return StepLoss(gap.value, b.op("Neg", b.op("Mul", gap.sign, share)), b.gradient(values, cotangent))


def ratio(b: StepBuilder, x: str) -> StepLoss:
    """value = f / D with D = w · sorted z: ∂/∂z = (∂f/∂z − value · w at the sorted places) / D."""
    values = b.logits(x)
    logits = values[b.graph.output]
    gap = gap_at(b, logits)
    if b.graph.output_size < 3:
        return StepLoss(gap.value, gap.value, b.gradient(values, gap.cotangent))
    largest, places, weights = _spread(b, logits, gap)
    spread = b.op("Max", b.row_sum(b.op("Mul", largest, weights)), b.constant(SMALLEST_SPREAD))
    value = b.op("Div", gap.value, spread)
    nothing = b.op("Mul", gap.own, b.constant(0.0))
    spread_cotangent = b.op("ScatterElements", nothing, places, weights, axis=1)
    rest = b.op("Sub", gap.cotangent, b.op("Mul", spread_cotangent, value))
    return StepLoss(gap.value, value, b.gradient(values, b.op("Div", rest, spread)))


def _spread(b: StepBuilder, logits: str, gap: Gap) -> tuple[str, str, str]:
    """The three or four largest logits, their places, and their weights in the denominator: each (batch, 3 or 4)."""
    four = b.graph.output_size > 3
    largest, places = b.largest(logits, 4 if four else 3)
    plain, targeted = ([1.0, 0.0, -1.0, 0.0], [1.0, 0.0, -0.5, -0.5]) if four else ([1.0, 0.0, -1.0],) * 2
    aimed = b.op("Greater", gap.sign, b.constant(0.0))
    return largest, places, b.op("Where", aimed, b.constant([targeted]), b.constant([plain]))


LOSSES: Mapping[LossName, Callable[[StepBuilder, str], StepLoss]] = {
    LossName.CE: cross_entropy,
    LossName.DLR: ratio,
}


MOMENTUM, RHO = 0.75, 0.75
FIRST_STRETCH, SHORTER, SHORTEST = 0.22, 0.03, 0.06


@dataclass(frozen=True, kw_only=True)
class ApgdSettings(SweepSettings):
    """`steps` steps per row; nothing else to choose."""

    loss: LossName = LossName.CE
    steps: int = 50
    radii: int = 8
    restarts: int = 2
    samples: int = 0


def apgd(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: ApgdSettings) -> Candidates:
    """Auto-PGD over radii in the problem's norm."""
    search = AttackSearch(surrogate, problem, budget)
    sweep(search, settings, partial(apgd_rows, search, settings))
    return search.finish()


def checkpoints(steps: int) -> list[int]:
    """The steps at which progress is looked at: [0, …, steps].

    >>> checkpoints(100)
    [0, 22, 41, 57, 70, 80, 87, 93, 99, 100]
    """
    share, stretch, found = 0.0, FIRST_STRETCH, [0]
    while share + stretch < 1.0:
        share += stretch
        found.append(int(np.ceil(steps * share - 1e-9)))
        stretch = max(stretch - SHORTER, SHORTEST)
    return sorted({*found, steps})


def apgd_rows(
    search: AttackSearch, settings: ApgdSettings, cases: Indices, radius: Array, restart: Indices
) -> tuple[Float32, Float32]:
    """One run within each row's radius, as `sweep` asks for it."""
    problem = search.problem
    centre = problem.origins[cases]
    x = starts(search, cases, radius, restart)
    column = np.zeros_like(radius)
    state: dict[str, Array | Float32] = {
        "x": x, "last": x, "best": x, "lowest": column + FAR, "loss": column + FAR, "rises": column,
        "gap": column + 1.0,
    }  # fmt: skip
    size = 2.0 * radius
    kept_size, kept_lowest = np.zeros(len(cases), dtype=bool), np.full(len(cases), np.inf)
    constants = {
        **search.goal(cases), "centre": centre, "radius": radius,
        "low": problem.low32[None], "high": problem.high32[None],
        "down": np.minimum(centre - problem.low32, radius), "up": np.minimum(problem.high32 - centre, radius),
    }  # fmt: skip
    loop = search.surrogate.loop(apgd_step, settings.loss, search.metric)
    for begin, end in pairwise(checkpoints(settings.steps)):
        search.run(loop, {**constants, "size": size}, state, end - begin)
        state = {name: loop.read(name) for name in state}
        lowest = state["lowest"][:, 0].astype(np.float64)
        idle = state["rises"][:, 0] < RHO * (end - begin)
        stuck = kept_size & (lowest >= kept_lowest)
        halve = (idle | stuck) & (state["gap"][:, 0] > 0.0)
        size = np.where(halve[:, None], size / 2.0, size)
        kept_size, kept_lowest = ~halve, lowest
        back = np.where(halve[:, None], state["best"], state["x"])
        state |= {"x": back, "last": np.where(halve[:, None], back, state["last"]), "rises": column}
    search.run(loop, {**constants, "size": size}, state, 1)  # judges the last step; adversarial rows do not move in it
    return loop.read("x"), loop.read("gap")[:, 0]


def apgd_step(b: StepBuilder, loss: LossName, metric: Metric) -> StepModel:
    """One step where f > 0. gap is f before it, `rises` counts improvements, `best` has had the `lowest` loss."""
    n = b.graph.input_size
    x, last, best = b.state("x", BATCH, n), b.state("last", BATCH, n), b.state("best", BATCH, n)
    lowest, before, rises = b.state("lowest", BATCH, 1), b.state("loss", BATCH, 1), b.state("rises", BATCH, 1)
    b.state("gap", BATCH, 1)
    centre, radius, size = b.given("centre", BATCH, n), b.given("radius", BATCH, 1), b.given("size", BATCH, 1)
    low, high = b.given("low", 1, n), b.given("high", 1, n)
    here = LOSSES[loss](b, x)
    better = b.op("Less", here.value, lowest)
    improved = b.mask(b.op("Less", here.value, before))

    def home(point: str) -> str:
        delta = WAYS_BACK[metric](b, b.op("Sub", point, centre), radius)
        return b.op("Min", b.op("Max", b.op("Add", centre, delta), low), high)

    ahead = home(DIRECTIONS[metric](b, x, here.gradient, size, centre, radius))
    push = b.op("Mul", b.op("Sub", ahead, x), b.constant(MOMENTUM))
    drift = b.op("Mul", b.op("Sub", x, last), b.constant(1.0 - MOMENTUM))
    arrived = home(b.op("Add", x, b.op("Add", push, drift)))
    moving = b.op("Greater", here.gap, b.constant(0.0))
    return b.step(
        {
            "x": (b.op("Where", moving, arrived, x), (BATCH, n)),
            "last": (b.op("Where", moving, x, last), (BATCH, n)),
            "best": (b.op("Where", better, x, best), (BATCH, n)),
            "lowest": (b.op("Where", better, here.value, lowest), (BATCH, 1)),
            "loss": (here.value, (BATCH, 1)),
            "rises": (b.op("Add", rises, improved), (BATCH, 1)),
            "gap": (here.gap, (BATCH, 1)),
        }
    )


def _along_signs(b: StepBuilder, x: str, gradient: str, size: str, _centre: str, _radius: str) -> str:
    return b.op("Sub", x, b.op("Mul", sign(b, gradient), size))


def _along_unit(b: StepBuilder, x: str, gradient: str, size: str, _centre: str, _radius: str) -> str:
    length = b.op("Max", MEASURE[Metric.L2](b, gradient), b.constant(1e-30))
    return b.op("Sub", x, b.op("Mul", b.op("Div", gradient, length), size))


def _towards_vertex(b: StepBuilder, x: str, gradient: str, size: str, centre: str, radius: str) -> str:
    share = b.op("Div", size, b.op("Add", radius, radius))
    return b.op("Add", x, b.op("Mul", b.op("Sub", vertex(b, gradient, centre, radius), x), share))


def _within_cube(b: StepBuilder, delta: str, radius: str) -> str:
    return b.op("Min", b.op("Max", delta, b.op("Neg", radius)), radius)


def _scaled(metric: Metric) -> Callable[[StepBuilder, str, str], str]:
    """δ · min(1, radius / ‖δ‖): not the nearest point of the ball, but one from which the box is not left again."""

    def scale(b: StepBuilder, delta: str, radius: str) -> str:
        return b.op("Mul", delta, b.op("Div", radius, b.op("Max", MEASURE[metric](b, delta), radius)))

    return scale


DIRECTIONS: Mapping[Metric, Callable[[StepBuilder, str, str, str, str, str], str]] = {
    Metric.LINF: _along_signs,
    Metric.L1: _towards_vertex,
    Metric.L2: _along_unit,
}
WAYS_BACK: Mapping[Metric, Callable[[StepBuilder, str, str], str]] = {
    Metric.LINF: _within_cube,
    Metric.L1: _scaled(Metric.L1),
    Metric.L2: _scaled(Metric.L2),
}
