"""Relu, LeakyRelu, PRelu, Clip, Abs, Max, Min, Sigmoid, Tanh, and the Softmax at a network's end."""

from __future__ import annotations

import math

import numpy as np

from encoders.network.graph import Clip, LeakyRelu, Sigmoid, frozen
from encoders.onnx_io.ops.call import FLOATS, Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft
from encoders.onnx_io.ops.room import entries


def relu(draft: Draft, call: Call) -> list[Tensor]:
    """max(0, x)."""
    x = call.variable(0)
    return [Variable(draft.builder.relu(x.node), x.shape, x.dtype)]


def absolute(draft: Draft, call: Call) -> list[Tensor]:
    """|x|."""
    x = call.variable(0)
    return [Variable(draft.builder.abs(x.node), x.shape, x.dtype)]


def leaky_relu(draft: Draft, call: Call) -> list[Tensor]:
    """x where x ≥ 0, α·x elsewhere."""
    x = call.variable(0)
    slope = np.full(x.size, call.attr_float("alpha", 0.01))
    return [Variable(draft.builder.add(LeakyRelu(x.node, frozen(slope))), x.shape, x.dtype)]


def prelu(draft: Draft, call: Call) -> list[Tensor]:
    """x where x ≥ 0, slope·x elsewhere; the constant slope broadcasts to the shape of x."""
    x = call.variable(0)
    slope = np.broadcast_to(call.weight(1), x.shape)
    return [Variable(draft.builder.add(LeakyRelu(x.node, frozen(slope))), x.shape, x.dtype)]


def clip(draft: Draft, call: Call) -> list[Tensor]:
    """min(max(x, low), high); a missing end is infinite."""
    x = call.variable(0)
    low, high = (_end(call, x, *where) for where in ((1, "min", -math.inf), (2, "max", math.inf)))
    if not low <= high or low == math.inf or high == -math.inf:
        raise call.error(f"clips to [{low:g}, {high:g}]; the ends must be numbers with min ≤ max")
    return [Variable(draft.builder.add(Clip(x.node, x.size, low, high)), x.shape, x.dtype)]


def _end(call: Call, x: Variable, i: int, name: str, missing: float) -> float:
    if call.opset < 11:
        value = call.attributes.get(name, missing)
    else:
        given = call.given(i)
        if given is None:
            return missing
        constant = call.constant(i)
        if constant.size != 1 or constant.dtype not in FLOATS:
            raise call.error(f"'{call.name(i)}' must be one float number")
        value = float(constant.reshape(-1)[0])
    if not isinstance(value, float):
        raise call.error(f"attribute '{name}' must be a number")
    if call.opset < 11 and x.dtype == np.float16:
        with np.errstate(over="ignore"):
            value = float(np.float16(value))  # whichever way a runtime takes it, what it gives is a float16
    # Exporters write "no limit" as the largest float32.
    return missing if x.dtype != np.float64 and value == math.copysign(_LARGEST, missing) else value


_LARGEST = float(np.finfo(np.float32).max)


def maximum(draft: Draft, call: Call) -> list[Tensor]:
    """The entrywise maximum of variables and constants, with numpy broadcasting."""
    return [_extreme(draft, call, 1.0)]


def minimum(draft: Draft, call: Call) -> list[Tensor]:
    """min(x₁, …) = −max(−x₁, …)."""
    return [_extreme(draft, call, -1.0)]


def _extreme(draft: Draft, call: Call, sign: float) -> Variable:
    values = [
        call.tensor(i) if isinstance(call.tensor(i), Variable) else call.weight(i) for i in range(len(call.inputs))
    ]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    entries((len(values), *shape))
    like = next(value for value in values if isinstance(value, Variable))
    players = []
    for value in values:
        if isinstance(value, Variable):
            spread = draft.broadcast(value, shape)
            players.append(draft.scaled(spread, sign) if sign < 0 else spread)
        else:
            players.append(draft.constant(np.ascontiguousarray(np.broadcast_to(sign * value, shape)), like))
    if len(players) == 1:
        return like
    winner = Variable(draft.builder.max([player.node for player in players]), shape, like.dtype)
    return draft.scaled(winner, sign) if sign < 0 else winner


def softmax(draft: Draft, call: Call) -> list[Tensor]:
    """Softmax and LogSoftmax are increasing in each logit, so at the network's end they are dropped with a note."""
    x = call.variable(0)
    _check_last(draft, call)
    # Until opset 12 all axes from `axis` on are one; since 13 it is a single axis.
    axis = call.axis(call.attr_int("axis", 1 if call.opset < 13 else -1), x.rank)
    outside = x.shape[:axis] if call.opset < 13 else (*x.shape[:axis], *x.shape[axis + 1 :])
    if math.prod(outside) != 1 or x.size == 1:
        raise call.error(
            f"works along axis {axis} of shape {list(x.shape)}, so leaving it out changes the order of the outputs; "
            "it must cover all classes"
        )
    draft.dropped(call.name(0), call.op)
    return [x]


def sigmoid(draft: Draft, call: Call) -> list[Tensor]:
    """1 / (1 + e^−x). It is increasing in each entry, so at the network's end it is dropped with a note."""
    x = call.variable(0)
    if not draft.ending.passes(call.proto):
        return [_sigmoid(draft, x)]
    draft.dropped(call.name(0), call.op)
    return [x]


def tanh(draft: Draft, call: Call) -> list[Tensor]:
    """tanh x = 2 σ(2x) − 1: no factor is rounded."""
    x = call.variable(0)
    double = draft.scaled(_sigmoid(draft, draft.scaled(x, 2.0)), 2.0)
    return [draft.shifted(double, np.full(1, -1.0))]


def _sigmoid(draft: Draft, x: Variable) -> Variable:
    draft.note("a Sigmoid or Tanh stands inside the network: questions are answered by the method tree alone")
    return Variable(draft.builder.add(Sigmoid(x.node, x.size)), x.shape, x.dtype)


def _check_last(draft: Draft, call: Call) -> None:
    if not draft.ending.passes(call.proto):
        raise call.error(
            "stands inside the network, which is then not piecewise linear; only as the last node can it be left out"
        )


def hard_sigmoid(draft: Draft, call: Call) -> list[Tensor]:
    """min(max(α·x + β, 0), 1)."""
    x = call.variable(0)
    slope, offset = call.attr_float("alpha", 0.2), call.attr_float("beta", 0.5)
    line = draft.shifted(draft.scaled(x, slope), np.full(1, offset))
    return [Variable(draft.builder.add(Clip(line.node, line.size, 0.0, 1.0)), x.shape, x.dtype)]
