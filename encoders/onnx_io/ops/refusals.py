"""Why an op cannot be read, and what would help: every refusal of an op type ends with a way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from encoders.onnx_io.ops.call import ML_DOMAIN
from encoders.onnx_io.ops.foldable import NOT_FOLDED

SMOOTH = (
    *("Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Gelu", "Log", "Mish", "Pow", "Reciprocal", "Selu", "Sin", "Sinh"),
    *("Softplus", "Softsign", "Sqrt", "Swish", "Tan"),
)
PRODUCTS = ("Attention", "Einsum", "LpNormalization", "LRN", "MeanVarianceNormalization", "ReduceL2", "ReduceSumSquare")
NORMS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
STEPS = ("ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "Less", "Not", "Round", "Sign", "ThresholdedRelu")
RECURRENT = ("GRU", "LSTM", "RNN")
TREES = ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "SVMClassifier", "SVMRegressor")

REASONS: Mapping[str, str] = {
    **dict.fromkeys(SMOOTH, "is not piecewise linear; train with ReLU, LeakyReLU, HardSigmoid or pooling in its place"),
    "HardSwish": "is x times HardSigmoid(x), a parabola between -3 and 3; train with ReLU or HardSigmoid in its place",
    **dict.fromkeys(PRODUCTS, "multiplies or divides by what depends on the input, which is not piecewise linear"),
    **dict.fromkeys(
        NORMS,
        "divides by the spread of its own input, which is not piecewise linear; train with BatchNormalization instead",
    ),
    **dict.fromkeys(STEPS, "jumps, so that no nearest adversarial input need exist; export the scores that it reads"),
    **dict.fromkeys(RECURRENT, "is recurrent and not piecewise linear; feed-forward networks can be read"),
}
"""Op type → what stands in the way and, where there is one, the way out."""

ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(TREES, "is no neural network; of ai.onnx.ml the affine operators can be read"),
    "Imputer": "replaces missing values, which is not continuous; impute the data before the network",
    "Binarizer": "jumps at its threshold; binarise the data before the network",
}
"""The same for ai.onnx.ml."""


def why_not(domain: str, op: str, readable: Sequence[str], classical: Sequence[str]) -> str | None:
    """Why a node of this op that depends on the input cannot be read; None where it can. The lists are those read."""
    if domain == ML_DOMAIN:
        if op in classical:
            return None
        reason = ELSEWHERE.get(op, "this op is not supported")
        return f"{reason}; of the domain {ML_DOMAIN} {', '.join(classical)} are read"
    if domain not in ("", "ai.onnx"):
        return (
            f"ops of the domain '{domain}' are not supported; export with ONNX's own operators only "
            "(without a runtime's fusions or custom functions)"
        )
    if op in NOT_FOLDED:
        return NOT_FOLDED[op]
    if op in readable:
        return None
    return REASONS.get(op, f"this op is not supported; supported are {', '.join(readable)}")
