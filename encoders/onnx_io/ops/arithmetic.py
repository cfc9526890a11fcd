"""Add, Sub, Sum, Mul, Div, Neg and BatchNormalization: sums with constants and entrywise scales."""

from __future__ import annotations

from typing import cast

import numpy as np

from encoders.network.graph import Array
from encoders.network.linear_maps import LinearMap
from encoders.onnx_io.ops.call import Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft, scale
from encoders.onnx_io.ops.room import entries

LEAST_SPREAD = 2.0**-126
"""The least normal float32: a variance plus ε below it is 0 where subnormal numbers are flushed."""


def add(draft: Draft, call: Call) -> list[Tensor]:
    """a + b with numpy broadcasting; at least one is a variable."""
    return [_sum(draft, call, {0: 1.0, 1: 1.0})]


def sub(draft: Draft, call: Call) -> list[Tensor]:
    """a − b with numpy broadcasting; at least one is a variable."""
    return [_sum(draft, call, {0: 1.0, 1: -1.0})]


def add_all(draft: Draft, call: Call) -> list[Tensor]:
    """Sum: x₁ + … + x_n with numpy broadcasting."""
    return [_sum(draft, call, dict.fromkeys(range(len(call.inputs)), 1.0))]


def _sum(draft: Draft, call: Call, signs: dict[int, float]) -> Variable:
    # Each constant is its own affine step: adding two constants first could round.
    offsets: list[Array] = []
    variables: list[tuple[Variable, float]] = []
    for i, sign in signs.items():
        value = call.tensor(i)
        if isinstance(value, Variable):
            variables.append((value, sign))
        else:
            offsets.append(sign * call.weight(i))
    shape = np.broadcast_shapes(*(x.shape for x, _ in variables), *(offset.shape for offset in offsets))
    entries((len(variables), *shape))
    spread = [(draft.broadcast(x, shape), sign) for x, sign in variables]
    total, sign = spread[0]
    if len(spread) > 1 or sign < 0:
        terms = [(cast(LinearMap, scale(shape, sign)), x) for x, sign in spread]
        total = draft.affine(terms, shape)
    for offset in offsets:
        total = draft.shifted(total, offset)
    return total


def mul(draft: Draft, call: Call) -> list[Tensor]:
    """a · b where one factor is a constant; refuses a product of two variables."""
    first, second = call.tensor(0), call.tensor(1)
    if isinstance(first, Variable) and isinstance(second, Variable):
        raise call.two_variables()
    x, factor = (first, call.weight(1)) if isinstance(first, Variable) else (call.variable(1), call.weight(0))
    shape = np.broadcast_shapes(x.shape, factor.shape)
    return [draft.scaled(draft.broadcast(x, shape), factor)]


def div(draft: Draft, call: Call) -> list[Tensor]:
    """x / c with c a constant without zeros; the quotient is not rounded. Refuses a variable divisor."""
    if isinstance(call.tensor(1), Variable):
        raise call.error(f"divides by the variable '{call.name(1)}': only a division by a constant is piecewise linear")
    x, divisor = call.variable(0), call.weight(1)
    if np.any(divisor == 0):
        raise call.error(f"divides by the constant '{call.name(1)}', which holds a zero")
    shape = np.broadcast_shapes(x.shape, divisor.shape)
    return [draft.scaled(draft.broadcast(x, shape), 1.0, divisor)]


def neg(draft: Draft, call: Call) -> list[Tensor]:
    """−x."""
    return [draft.scaled(call.variable(0), -1.0)]


def batch_normalization(draft: Draft, call: Call) -> list[Tensor]:
    """γ/√(σ² + ε) · (x − μ) + β per channel. The factor is rounded to float64: the one rounded constant of a graph."""
    training = call.attr_int("training_mode", 0) != 0 or sum(1 for name in call.proto.output if name) > 1
    if training or call.attr_int("spatial", 1) != 1:
        raise call.error("is in training mode or not per channel; export the network for inference")
    x = call.variable(0)
    if x.rank < 2:
        raise call.error(f"needs a channel axis, but its input has shape {list(x.shape)}")
    gamma, beta, mean, variance = (call.weight(i) for i in range(1, 5))
    if any(values.shape != (x.shape[1],) for values in (gamma, beta, mean, variance)):
        raise call.error(f"scale, B, mean and var must each have one entry for each of the {x.shape[1]} channels")
    spread = variance + call.attr_float("epsilon", 1e-5)
    if np.any(spread <= 0):
        raise call.error("var + epsilon must be positive")
    if np.any(spread < LEAST_SPREAD):
        raise call.error("var + epsilon is below 2⁻¹²⁶: a runtime that flushes such float32 numbers divides by 0")
    with np.errstate(over="ignore"):
        factor = gamma / np.sqrt(spread)
    if not np.all(np.isfinite(factor)):
        raise call.error("scale / sqrt(var + epsilon) is beyond float64")
    channels = (x.shape[1], *(1 for _ in x.shape[2:]))
    centred = draft.shifted(x, -mean.reshape(channels)) if np.any(mean) else x
    return [draft.linear(scale(x.shape, factor.reshape(channels)), centred, x.shape, beta.reshape(channels))]
