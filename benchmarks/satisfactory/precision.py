"""Small nets on which the real numbers and float32 differ, as queries of VNN-LIB 2 with the answer of each world.

Each net has one input x; where x may be one of a few float32 numbers, ONNX Runtime's answers at all of them are the
truth of the float32 query, and the exact values at the ends of the linear pieces are that of the real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Step = tuple[str, float]
"""An operator with one input, or one input and a constant behind it."""

BIG = 2.0**24
"""Above it float32 has even integers only."""

TINY = 2.0**-80
"""Twice over it is below every float32."""


@dataclass(frozen=True)
class PrecisionCase:
    """x in [low, high], as decimals; `goal` about Y[0].

    real, float32: sat or unsat; float32 "" where none lies in the box: the answer hangs on how its ends are read.
    """

    name: str
    steps: Sequence[Step]
    low: str
    high: str
    goal: str
    real: str
    float32: str

    def model(self) -> onnx.ModelProto:
        nodes, weights, last = [], [], "x"
        for place, (kind, constant) in enumerate(self.steps):
            result = "y" if place + 1 == len(self.steps) else f"h{place}"
            sources = [last]
            if kind != "Relu":
                weights.append(numpy_helper.from_array(np.array([constant], np.float32), f"c{place}"))
                sources.append(f"c{place}")
            nodes.append(helper.make_node(kind, sources, [result]))
            last = result
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
        graph = helper.make_graph(nodes, "precision", ends[:1], ends[1:], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    def query(self, dtype: str) -> str:
        """The text of the query about `dtype`, real or float32."""
        declared = f"(declare-input X {dtype} [1]) (declare-output Y {dtype} [1])"
        box = f"(and (>= X[0] {self.low}) (<= X[0] {self.high}))"
        return f"(vnnlib-version <2.0>)\n(declare-network N {declared})\n(assert {box})\n(assert {self.goal})\n"

    def expected(self, dtype: str) -> str:
        return self.real if dtype == "real" else self.float32


def _case(name: str, steps: Sequence[Step], box: tuple[str, str], goal: str, answers: tuple[str, str]) -> PrecisionCase:
    return PrecisionCase(name, steps, *box, goal, *answers)


_ABSORBED: Any = (("Add", BIG), ("Sub", BIG))
_VANISHED: Any = (("Mul", TINY), ("Mul", TINY), ("Mul", 1 / TINY), ("Mul", 1 / TINY))

CASES: tuple[PrecisionCase, ...] = (
    _case("absorbed", _ABSORBED, ("0.25", "0.2500001"), "(>= Y[0] 0.125)", ("sat", "unsat")),
    _case("absorbed-below", _ABSORBED, ("0.25", "0.2500001"), "(<= Y[0] 0.0)", ("unsat", "sat")),
    _case("rounded-up", _ABSORBED, ("1.25", "1.250001"), "(>= Y[0] 1.5)", ("unsat", "sat")),
    _case("rounded-to-even", _ABSORBED, ("1.0", "1.0"), "(<= Y[0] 0.5)", ("unsat", "sat")),
    _case("behind-a-relu", (*_ABSORBED, ("Relu", 0.0)), ("0.25", "0.2500001"), "(> Y[0] 0.0)", ("sat", "unsat")),
    _case("underflow", _VANISHED, ("1.0", "1.000001"), "(<= Y[0] 0.0)", ("unsat", "sat")),
    _case("underflow-of-all", _VANISHED, ("1.0", "1.000001"), "(>= Y[0] 0.5)", ("sat", "unsat")),
    _case("no-float32-between", (("Add", 0.0),), ("0.1", "0.1"), "(>= Y[0] 0.0)", ("sat", "")),
    _case("odd-integer", (("Add", 0.0),), ("16777217.0", "16777217.0"), "(>= Y[0] 0.0)", ("sat", "")),
    _case("a-third", (("Mul", 1 / 3), ("Mul", 3.0)), ("1.0", "1.0"), "(== Y[0] 1.0)", ("unsat", "sat")),
    _case("same-in-both", (("Mul", 0.5), ("Add", 1.0)), ("1.0", "1.0000002"), "(>= Y[0] 1.5)", ("sat", "sat")),
    _case("room-for-rounding", (("Mul", 0.1), ("Add", 0.3)), ("1.0", "1.000001"), "(>= Y[0] 0.41)", ("unsat", "unsat")),
)
