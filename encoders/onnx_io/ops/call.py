"""One node of an ONNX file, ready to be translated: its inputs as values, its attributes checked on reading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from encoders.errors import InputError
from encoders.network.graph import Array

FLOATS: tuple[np.dtype[Any], ...] = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
ML_DOMAIN = "ai.onnx.ml"
Constant = npt.NDArray[Any]


@dataclass(frozen=True)
class Variable:
    """A tensor that depends on the input: graph node `node`, row-major, seen with `shape` (batch 1 included)."""

    node: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    def index(self) -> npt.NDArray[np.intp]:
        """Entry numbers in the tensor's shape: what a Select is computed from."""
        return np.arange(self.size, dtype=np.intp).reshape(self.shape)


Tensor = Variable | Constant


@dataclass(frozen=True, eq=False)
class Call:
    """An ONNX node with the values of its inputs (None where an optional input is left out)."""

    proto: onnx.NodeProto
    inputs: tuple[Tensor | None, ...]
    attributes: Mapping[str, Any]
    opset: int

    @property
    def op(self) -> str:
        return str(self.proto.op_type)

    def error(self, message: str) -> InputError:
        return InputError(f"{describe(self.proto)}: {message}")

    def two_variables(self) -> InputError:
        return self.error(
            f"multiplies two variables, '{self.name(0)}' and '{self.name(1)}': only a product with a constant is "
            "piecewise linear"
        )

    def given(self, i: int) -> Tensor | None:
        """Input i, or None when it is left out."""
        return self.inputs[i] if i < len(self.inputs) else None

    def tensor(self, i: int) -> Tensor:
        value = self.given(i)
        if value is None:
            raise self.error(f"input {i} is missing")
        return value

    def name(self, i: int) -> str:
        return str(self.proto.input[i])

    def variable(self, i: int) -> Variable:
        value = self.tensor(i)
        if not isinstance(value, Variable):
            raise self.error(f"input '{self.name(i)}' must depend on the network's input, but is a constant")
        return value

    def constant(self, i: int) -> Constant:
        """Input i as it stands in the file, of any dtype."""
        value = self.tensor(i)
        if isinstance(value, Variable):
            raise self.error(f"input '{self.name(i)}' must be a constant, but depends on the network's input")
        return value

    def weight(self, i: int) -> Array:
        """Input i as finite float64 numbers, exactly those of the file."""
        value = self.constant(i)
        if value.dtype not in FLOATS:
            raise self.error(f"constant '{self.name(i)}' is {value.dtype}; float16, float32 or float64 can be read")
        if not np.all(np.isfinite(value)):
            raise self.error(f"constant '{self.name(i)}' holds NaN or infinity; only finite numbers can be read")
        return value.astype(np.float64)

    def integers(self, i: int) -> tuple[int, ...]:
        value = self.constant(i)
        if value.dtype.kind not in "iu":
            raise self.error(f"input '{self.name(i)}' must hold integers, but is {value.dtype}")
        return tuple(int(n) for n in value.reshape(-1))

    def attr_int(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.error(f"attribute '{name}' must be an integer")
        return value

    def attr_ints(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        value = self.attributes.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(n, int) for n in value):
            raise self.error(f"attribute '{name}' must be a list of integers")
        return tuple(value)

    def attr_float(self, name: str, default: float) -> float:
        """A float attribute: a float32 number, as is the default of the ONNX standard."""
        value = self.attributes.get(name, float(np.float32(default)))
        if not isinstance(value, float):
            raise self.error(f"attribute '{name}' must be a number")
        if not math.isfinite(value):
            raise self.error(f"attribute '{name}' is {value}; only finite numbers can be read")
        return value

    def attr_string(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default.encode())
        if not isinstance(value, bytes):
            raise self.error(f"attribute '{name}' must be a string")
        return value.decode("utf-8", "replace")

    def axis(self, value: int, rank: int) -> int:
        """A possibly negative axis as a number in 0..rank−1."""
        if not -rank <= value < rank:
            raise self.error(f"axis {value} is outside a tensor of rank {rank}")
        return value % rank


def describe(proto: onnx.NodeProto) -> str:
    """How a message names a node: op type and name, or the tensor it gives where it has no name."""
    if proto.name:
        return f"{proto.op_type} node '{proto.name}'"
    return f"{proto.op_type} node of output '{proto.output[0] if proto.output else '?'}'"
