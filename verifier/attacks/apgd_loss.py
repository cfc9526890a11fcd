"""The losses of Auto-PGD as ONNX nodes: cross-entropy, and the difference of logits ratio (Croce and Hein 2020b).

CE: −log p_t of a targeted case, log p_label of an untargeted one.
DLR: f / (z_π1 − z_π3), and f / (z_π1 − (z_π3 + z_π4)/2) of a targeted case, with the logits sorted π1, π2, …. It stays
as it is when logits are scaled, so it does not vanish where large logits mask gradients. f is that of all attacks: a
targeted case has to beat every rival, where the paper's looks at the label alone. With two classes it is f itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from verifier.attacks.objective import Gap, gap_at
from verifier.attacks.session import StepBuilder

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
