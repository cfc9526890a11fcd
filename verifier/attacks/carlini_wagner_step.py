"""The step models of the Carlini–Wagner attacks: Adam on a penalised loss (L∞, L2) and FISTA (L1), as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from encoders.onnx_builder import BATCH
from verifier.attacks.objective import keep_best, loss_at, sign
from verifier.attacks.problem import Metric
from verifier.attacks.session import StepBuilder, StepModel

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
