"""VNN-LIB 2 → a query about networks, read by the standard's own library: its typed tree, with literals taken as text.

A comparison of linear terms under and and or; literals are the rationals that they are written as, whatever the element
type. What is not linear is refused by name. (VNN-LIB 2.0: vnnlib.org, December 2025; the library: `vnnlib` on PyPI.)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib import import_module
from itertools import chain
from typing import Any

from encoders.errors import InputError
from encoders.files.regular_file import size_text
from verifier.problem.properties.formula import And, Formula, Or, Property
from verifier.problem.properties.from_vnnlib import MOST_VARIABLES
from verifier.problem.properties.linear import CONSTANT, OPERATIONS, TOO_LONG, Linear, NotLinearError, comparison, short
from verifier.problem.properties.network_query import (
    REAL_TYPE,
    DeclaredNetwork,
    DeclaredTensor,
    NetworkQuery,
    TensorKind,
)
from verifier.problem.properties.s_expressions import DEEPEST, Text

BEGINS = re.compile(r"(?:\s++|;[^\n]*+)*+\(\s*vnnlib-version")

VERSION = re.compile(r"((?:\s++|;[^\n]*+)*+\(\s*vnnlib-version\s*)<2\.(\d{1,9})>")
NEWEST = 1
"""The minor version up to which 2 is read: 2.1 adds nothing that is not checked here."""

LARGEST_QUERY = 2**23
"""Characters of a text: the library takes 0.4 s for a million, in which nothing else of the process runs."""

MARK = re.compile(r'[()]|;[^\n]*|"[^"]*"')
"""Brackets, and what may hold some that are none."""

TYPES = {
    "Real": REAL_TYPE, "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16",
    "F8E4M3FN": "float8e4m3fn", "F8E5M2": "float8e5m2", "F8E4M3FNUZ": "float8e4m3fnuz", "F8E5M2FNUZ": "float8e5m2fnuz",
    "F4E2M1": "float4e2m1", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8",
    "U16": "uint16", "U32": "uint32", "U64": "uint64", "C64": "complex64", "C128": "complex128", "Bool": "bool",
}  # fmt: skip
"""The library's names of element types → the standard's."""

COMPARED = {"LessThan": "<", "LessEqual": "<=", "GreaterThan": ">", "GreaterEqual": ">=", "Equal": "="}


def is_version_2(text: Text) -> bool:
    """Does the text begin as VNN-LIB 2 does, whichever 2 it is?"""
    return BEGINS.match(text.content) is not None


def network_query(text: Text, look: Callable[[], None] = lambda: None) -> NetworkQuery:
    """The query that a text of VNN-LIB 2 describes. Raises InputError, one line.

    look: called between two comparisons; what it raises ends the reading.
    """
    content = _content(text)
    library = _library(text)
    try:
        parsed = library.parse_query_string(content)
    except (library.VNNLibException, ArithmeticError, LookupError, ValueError, RuntimeError) as error:
        raise InputError(f"{text.name}: {_explained(str(error))}") from None
    reader = _Reader(text, look)
    networks = tuple(reader.network(network) for network in parsed.networks)
    assertions = tuple(reader.formula(assertion.expr) for assertion in parsed.assertions)
    prop = Property(reader.counts["X"], reader.counts["Y"], And(assertions), text.name)
    return NetworkQuery(networks, prop)


def _library(text: Text) -> Any:
    try:
        return import_module("vnnlib")
    except ImportError as error:
        raise InputError(
            f"{text.name} is VNN-LIB 2, which is read by the standard's library: pip install 'vnnlib>=1.0.2' ({error})"
        ) from None


def _content(text: Text) -> str:
    """What the library is given, once nothing of it can hurt. Raises InputError."""
    if len(text.content) > LARGEST_QUERY:
        size = size_text(LARGEST_QUERY)
        raise InputError(f"{text.name} is larger than {size}, and no limit of time could end reading it")
    found = VERSION.match(text.content)
    if found is not None and int(found[2]) > NEWEST:
        raise InputError(f"{text.name} is VNN-LIB 2.{found[2]}; 2.0 to 2.{NEWEST} are read")
    _not_too_deep(text)
    # It knows 2.0 by name, and prints a warning about a version that is as long to write.
    return VERSION.sub(r"\g<1><2.0>", text.content, count=1)


def _not_too_deep(text: Text) -> None:
    """The library's parser calls itself for each list within a list, and a text of brackets would end the process."""
    depth = 0
    for found in MARK.finditer(text.content):
        mark = found.group()
        depth += (mark == "(") - (mark == ")")
        if depth > DEEPEST:
            raise text.error(found.start(), f"more than {DEEPEST} lists within each other")


def _explained(told: str) -> str:
    """The library's complaint in one line: it is a sentence, or a report in JSON with the first error among others."""
    try:
        first = json.loads(told)["errors"][0]
        parts = [f"line {first['line']}", str(first["message"]), str(first.get("hint", "")).rstrip(".")]
    except (ValueError, LookupError, TypeError):
        return "the standard's library cannot read it: " + " ".join(told.split())
    symbol = str(first.get("offendingSymbol", ""))
    return ": ".join(part for part in parts if part) + (f" ('{symbol}')" if symbol else "")


class _Reader:
    """Knows where each tensor's entries stand."""

    def __init__(self, text: Text, look: Callable[[], None]) -> None:
        self._text, self._look = text, look
        self._tensors: dict[str, DeclaredTensor] = {}
        self.counts = {"X": 0, "Y": 0}

    def network(self, declared: Any) -> DeclaredNetwork:
        groups = (
            (TensorKind.INPUT, declared.inputs),
            (TensorKind.HIDDEN, declared.hidden),
            (TensorKind.OUTPUT, declared.outputs),
        )
        tensors = tuple(chain.from_iterable([self._tensor(kind, one) for one in group] for kind, group in groups))
        return DeclaredNetwork(declared.name, tensors, declared.equal_to or "", declared.isometric_to or "")

    def _tensor(self, kind: TensorKind, declared: Any) -> DeclaredTensor:
        name, dtype = declared.name, TYPES.get(declared.dtype.name)
        if dtype is None:
            raise InputError(
                f"{self._text.name}: {kind} '{name}' has no element type of the standard; those are lower case: "
                f"{', '.join(TYPES.values())}"
            )
        letter = "X" if kind is TensorKind.INPUT else "Y"
        shape = tuple(int(size) for size in declared.shape)
        size = math.prod(shape)
        if size < 1 or self.counts[letter] + size > MOST_VARIABLES:
            raise InputError(
                f"{self._text.name}: {kind} '{name}' of shape {list(shape)} makes more than {MOST_VARIABLES} variables"
            )
        found = DeclaredTensor(name, kind, dtype, shape, (declared.onnx_name or "").strip('"'), self.counts[letter])
        self.counts[letter] += size
        self._tensors[name] = found
        return found

    def formula(self, expression: Any) -> Formula:
        self._look()
        kind = type(expression).__name__
        if kind in ("And", "Or"):
            parts = tuple(self.formula(part) for part in expression.args)
            return And(parts) if kind == "And" else Or(parts)
        try:
            left, right = self._linear(expression.lhs), self._linear(expression.rhs)
            if kind == "NotEqual":
                return comparison("=", left, right, wanted=False)
            return comparison(COMPARED[kind], left, right)
        except NotLinearError as error:
            raise InputError(f"{self._text.name}: {error}, in {_shown(expression)}") from None
        except (KeyError, AttributeError):
            raise InputError(f"{self._text.name}: '{kind}' cannot be read as a formula: {_shown(expression)}") from None

    def _linear(self, expression: Any) -> Linear:
        kind = type(expression).__name__
        if kind == "Var":
            tensor = self._tensors[expression.name]
            letter = "X" if tensor.kind is TensorKind.INPUT else "Y"
            return {(letter, tensor.first + _flat(expression.indices, tensor.shape)): Fraction(1)}
        if hasattr(expression, "lexeme"):
            return {CONSTANT: _number(expression.lexeme)}
        if kind == "Negate":
            return OPERATIONS["-"]([self._linear(expression.expr)])
        if kind == "Minus":
            return OPERATIONS["-"]([self._linear(part) for part in (expression.head, *expression.rest)])
        if kind in ("Plus", "Multiply"):
            return OPERATIONS["+" if kind == "Plus" else "*"]([self._linear(part) for part in expression.args])
        raise NotLinearError(f"'{kind}' is no linear term")


def _flat(indices: Sequence[int], shape: Sequence[int]) -> int:
    """The place in row-major order."""
    place = 0
    for index, size in zip(indices, shape, strict=True):
        place = place * size + index
    return place


def _number(lexeme: str) -> Fraction:
    try:
        return short(Fraction(lexeme))
    except ValueError:  # more digits than Python turns into a number
        raise NotLinearError(TOO_LONG) from None


SHOWN = 80
"""Characters of an expression in a complaint."""


def _shown(expression: Any) -> str:
    text = " ".join(str(expression).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
