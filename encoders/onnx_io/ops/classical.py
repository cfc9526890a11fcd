"""The affine operators of ai.onnx.ml, which scikit-learn's models are exported with: Scaler and the linear models."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from encoders.network.linear_maps import Dense
from encoders.onnx_io.ops.call import Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft
from encoders.onnx_io.ops.endings import post_transform


def scaler(draft: Draft, call: Call) -> list[Tensor | None]:
    """(x − offset) · scale along the last axis; one number stands for all of it."""
    x = call.variable(0)
    return [draft.scaled(draft.shifted(x, -_numbers(call, "offset")), _numbers(call, "scale"))]


def linear_classifier(draft: Draft, call: Call) -> list[Tensor | None]:
    """The scores x·Wᵀ + b as second output; what `post_transform` makes of them is left out at the network's end."""
    transform = post_transform(call.proto)
    classes = _numbers(call, "intercepts").size
    if classes < 2:
        raise call.error("has one row of coefficients for two classes, which runtimes read in several ways")
    if transform != "NONE":
        if call.proto.output[1] not in draft.ending.names:
            raise call.error(f"turns its scores into probabilities ({transform}) inside the network")
        if transform not in ("SOFTMAX", "LOGISTIC"):
            raise call.error(f"post_transform {transform} is not supported; NONE, SOFTMAX and LOGISTIC are")
        draft.transformed = call.proto.output[1]
        draft.dropped(call.proto.output[1], f"{transform} of {call.op}")
    # The first output holds labels: no number that could be verified.
    return [None, _linear(draft, call, classes)]


def linear_regressor(draft: Draft, call: Call) -> list[Tensor | None]:
    """x·Wᵀ + b."""
    targets = call.attr_int("targets", 1)
    if post_transform(call.proto) != "NONE":
        raise call.error(f"post_transform {post_transform(call.proto)} is not supported; only NONE is")
    return [_linear(draft, call, targets)]


def normalizer(draft: Draft, call: Call) -> list[Tensor | None]:
    """Dividing probabilities by their sum keeps their order; anywhere else it is no piecewise linear function."""
    x = call.variable(0)
    if not draft.ending.passes(call.proto):
        raise call.error(
            "divides by a norm, which is not piecewise linear; leave it out of the pipeline and normalise the data"
        )
    draft.note(f"final {call.op} dropped: the order of the probabilities is the same")
    return [x]


def _linear(draft: Draft, call: Call, rows: int) -> Variable:
    x = call.variable(0)
    columns = x.shape[-1]
    if x.size != columns:
        raise call.error(f"works on a batch of shape {list(x.shape)}; one row is expected")
    weights = _numbers(call, "coefficients").reshape(rows, columns)
    bias = _numbers(call, "intercepts") if "intercepts" in call.attributes else np.zeros(rows)
    return draft.linear(Dense(weights), x, (1, rows), bias)


def _numbers(call: Call, name: str) -> Array:
    """A list attribute of float32 numbers."""
    values = call.attributes.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(value, float) for value in values):
        raise call.error(f"attribute '{name}' must be a list of numbers")
    numbers = np.array(values, dtype=np.float64)
    if not np.all(np.isfinite(numbers)):
        raise call.error(f"attribute '{name}' holds NaN or infinity; only finite numbers can be read")
    return numbers
