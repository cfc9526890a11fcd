"""What may stand behind a classifier's scores and leaves their order as it is: Softmax, Sigmoid, casts, zipmap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper, numpy_helper

from encoders.onnx_io.ops.call import ML_DOMAIN

FLOAT_TYPES = (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE)

PROBABILITIES = {"SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"}
"""What `post_transform` calls an ending that gives numbers ≥ 0."""

Givers = Mapping[str, onnx.NodeProto]
"""Tensor name → the node that gives it."""


@dataclass(frozen=True)
class Ending:
    """A chain of nodes from the file's output back to the scores.

    read: the tensor that the output's order of classes is read from. names: the tensors of the chain, the output first.
    scores: the tensor that the output holds, a zipmap's numbers. complement: that is (1 − p, p) of a single probability
    p, which is `read`. sigmoids, others: how many Sigmoids and Softmaxes stand in the chain.
    """

    read: str
    names: tuple[str, ...]
    scores: str
    complement: bool = False
    sigmoids: int = 0
    others: int = 0

    def passes(self, proto: onnx.NodeProto) -> bool:
        """Is the node a step of the chain?"""
        return proto.output[0] in self.names and proto.input[0] in self.names

    def behind(self, name: str) -> set[str]:
        """The tensors of the chain between the tensor `name` and the output, which is one of them."""
        return set(self.names[: self.names.index(name)]) if name in self.names else set()


def ending(model: onnx.ModelProto, output: str) -> Ending:
    """The longest chain of order-preserving nodes that ends in `output`."""
    givers = {name: proto for proto in model.graph.node for name in proto.output if name}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    read, scores, complement, sigmoids, others, names, name = output, output, False, 0, 0, [output], output
    while (proto := givers.get(name)) is not None:
        pair = _complement(proto, givers, constants)
        if pair is not None and not (complement or sigmoids or others):  # what stands behind it is not translated
            read, complement, name = pair, True, pair
        elif _keeps_order(proto, givers):
            name = proto.input[0]
            sigmoids += proto.op_type == "Sigmoid"
            others += proto.op_type in ("Softmax", "LogSoftmax")
            if proto.op_type == "ZipMap":
                read = scores = name
        else:
            break
        names.append(name)
    return Ending(read, tuple(names), scores, complement, sigmoids, others)


def _keeps_order(proto: onnx.NodeProto, givers: Givers) -> bool:
    if not proto.input:
        return False
    kind = proto.op_type, proto.domain == ML_DOMAIN
    if kind == ("Normalizer", True):
        return _gives_probabilities(proto.input[0], givers)
    if kind == ("Cast", False):
        return any(entry.name == "to" and entry.i in FLOAT_TYPES for entry in proto.attribute)
    return kind in (
        ("Identity", False),
        ("Softmax", False),
        ("LogSoftmax", False),
        ("Sigmoid", False),
        ("ZipMap", True),
    )


def _gives_probabilities(name: str, givers: Givers) -> bool:
    """Are the numbers of a tensor ≥ 0, so that dividing by their norm keeps their order?"""
    proto = givers.get(name)
    while proto is not None and proto.op_type in ("Identity", "Cast") and proto.input:
        proto = givers.get(proto.input[0])
    if proto is None:
        return False
    if proto.domain == ML_DOMAIN:
        return proto.op_type == "LinearClassifier" and post_transform(proto) in PROBABILITIES
    return proto.op_type in ("Softmax", "Sigmoid")


def post_transform(proto: onnx.NodeProto) -> str:
    """What a linear model of ai.onnx.ml does with its scores."""
    for entry in proto.attribute:
        if entry.name == "post_transform":
            return str(entry.s, "utf-8", "replace")
    return "NONE"


def without_transforms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with linear models of ai.onnx.ml that give their scores as they are."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for proto in plain.graph.node:
        if proto.domain == ML_DOMAIN:
            kept = [entry for entry in proto.attribute if entry.name != "post_transform"]
            del proto.attribute[:]
            proto.attribute.extend(kept)
    return plain


def _complement(proto: onnx.NodeProto, givers: Givers, constants: Mapping[str, onnx.TensorProto]) -> str | None:
    """p, where the node is Concat(1 − p, p) of the probability that a Sigmoid gives; as skl2onnx writes two classes."""
    if proto.op_type != "Concat" or proto.domain or len(proto.input) != 2:
        return None
    other, name = proto.input
    minus, sigmoid = givers.get(other), givers.get(name)
    if minus is None or minus.op_type != "Sub" or list(minus.input[1:]) != [name]:
        return None
    if sigmoid is None or sigmoid.op_type != "Sigmoid":
        return None
    return name if _number(minus.input[0], givers, constants) == 1.0 else None


def _number(name: str, givers: Givers, constants: Mapping[str, onnx.TensorProto]) -> float | None:
    """The one entry of a constant; None: it is no constant, or has several."""
    tensor = constants.get(name)
    proto = givers.get(name)
    if tensor is None and proto is not None and proto.op_type == "Constant" and proto.attribute:
        value = helper.get_attribute_value(proto.attribute[0])
        tensor = value if isinstance(value, TensorProto) else None
    if tensor is None or math.prod(tensor.dims) != 1:
        return None
    return float(numpy_helper.to_array(tensor).reshape(-1)[0])
