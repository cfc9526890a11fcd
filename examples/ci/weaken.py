"""Writes weakened.onnx, a copy of the shipped digits net whose first weights carry noise: a model that got worse.

python weaken.py && verifier gate --model weakened.onnx
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from verifier import models

NOISE = 0.35
"""Of the standard deviation of the weights: accuracy hardly falls, robustness does."""


def main() -> None:
    """Add the noise, by seed."""
    model = onnx.load(models.path("digits"))
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
    values = numpy_helper.to_array(weights)
    noise = np.random.default_rng(0).normal(0.0, NOISE * values.std(), values.shape)
    weights.CopyFrom(numpy_helper.from_array((values + noise).astype(values.dtype), weights.name))
    onnx.save(model, "weakened.onnx")


if __name__ == "__main__":
    main()
