"""What `verifier supports` tells: the capabilities of the standard's solver interface (VNN-LIB 2.0, section 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from encoders.errors import InputError
from encoders.onnx_io.file import OLDEST_OPSET, newest_opset
from encoders.onnx_io.ops.rules import RULES
from verifier.problem.properties.network_query import ANALYSED

CONSTANTS = frozenset({"Constant", "ConstantOfShape"})
"""Operators that are evaluated, whatever else is evaluated on constants."""

PARTLY = frozenset({"Cast", "Div", "LogSoftmax", "Mul", "Sigmoid", "Softmax", "Tanh"})
"""Operators of which some uses are read and others refused: Cast to a float type, Div and Mul by a constant, Softmax
and the like where a question is about an order of classes or over the reals. What is listed is asked in every use."""

ANSWERS: Mapping[str, Callable[[], list[str]]] = {
    "onnx_opset_versions": lambda: [str(OLDEST_OPSET), str(newest_opset())],
    "onnx_element_types": lambda: list(ANALYSED),
    "onnx_operators": lambda: sorted((RULES.keys() | CONSTANTS) - PARTLY),
    "vnnlib_versions": lambda: ["1.0", "2.1"],
    "hidden_node_theories": lambda: ["NH", "H"],
    "multiple_input_output_theories": lambda: ["SIO", "MIO"],
    "multiple_network_theories": lambda: ["SNET", "MENET", "MINET", "MNET"],
    "multiple_node_comparison_theories": lambda: ["SNC", "MNC"],
    "arithmetic_complexity_theories": lambda: ["BND", "OUTC", "LIN"],
    "optimised_disjunctive_reasoning": lambda: ["true"],
    "serialise_assignments": lambda: ["true"],
}
"""Capability → its lines."""


def told(capabilities: Sequence[str]) -> str:
    """A line for each entry of the one capability that is asked for. Raises InputError for none, or several."""
    if len(capabilities) != 1:
        listed = ", ".join("--" + name.replace("_", "-") for name in ANSWERS)
        raise InputError(f"supports tells one capability at a time: {listed}")
    return "".join(f"{line}\n" for line in ANSWERS[capabilities[0]]())
