"""The table of operators: op type → the rule that translates a node that depends on the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from encoders.onnx_io.ops import activations, arithmetic, classical, movement, products, reductions, windows
from encoders.onnx_io.ops.call import Call, Tensor
from encoders.onnx_io.ops.draft import Draft

Rule = Callable[[Draft, Call], list[Tensor]]
ClassicalRule = Callable[[Draft, Call], list[Tensor | None]]
"""None for an output that holds no numbers."""

RULES: Mapping[str, Rule] = {
    "Abs": activations.absolute,
    "Add": arithmetic.add,
    "AveragePool": windows.average_pool,
    "BatchNormalization": arithmetic.batch_normalization,
    "Cast": movement.cast,
    "Clip": activations.clip,
    "Concat": movement.concat,
    "Conv": windows.conv,
    "DepthToSpace": movement.movement,
    "Div": arithmetic.div,
    "Dropout": movement.dropout,
    "Expand": movement.movement,
    "Flatten": movement.movement,
    "Gather": movement.movement,
    "Gemm": products.gemm,
    "GlobalAveragePool": reductions.global_average_pool,
    "GlobalMaxPool": reductions.global_max_pool,
    "HardSigmoid": activations.hard_sigmoid,
    "Identity": movement.unchanged,
    "LeakyRelu": activations.leaky_relu,
    "LogSoftmax": activations.softmax,
    "MatMul": products.matmul,
    "Max": activations.maximum,
    "MaxPool": windows.max_pool,
    "Min": activations.minimum,
    "Mul": arithmetic.mul,
    "Neg": arithmetic.neg,
    "PRelu": activations.prelu,
    "Pad": movement.pad,
    "ReduceMax": reductions.reduce_max,
    "ReduceMean": reductions.reduce_mean,
    "ReduceMin": reductions.reduce_min,
    "ReduceSum": reductions.reduce_sum,
    "Relu": activations.relu,
    "Reshape": movement.movement,
    "Shape": movement.shape_of,
    "Sigmoid": activations.sigmoid,
    "Size": movement.shape_of,
    "Slice": movement.movement,
    "Softmax": activations.softmax,
    "SpaceToDepth": movement.movement,
    "Split": movement.movement,
    "Squeeze": movement.movement,
    "Sub": arithmetic.sub,
    "Sum": arithmetic.add_all,
    "Tanh": activations.tanh,
    "Tile": movement.movement,
    "Transpose": movement.movement,
    "Unsqueeze": movement.movement,
}
"""Op type → translation of a node that depends on the input. (Any op with constant inputs only is evaluated.)"""

CLASSICAL_RULES: Mapping[str, ClassicalRule] = {
    "LinearClassifier": classical.linear_classifier,
    "LinearRegressor": classical.linear_regressor,
    "Normalizer": classical.normalizer,
    "Scaler": classical.scaler,
}
"""The same for the domain ai.onnx.ml, of whose ops none is evaluated."""
