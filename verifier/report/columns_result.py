"""What an answer says of the inputs that can occur, where it is about these alone: as JSON and as a row of a table."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from verifier.problem.inputs.columns import Columns
from verifier.problem.query import Norm
from verifier.problem.verdict import Bracket, OnLattice


def columns_json(columns: Columns | None) -> dict[str, Any] | None:
    """Which inputs an answer is about; null for all of the box."""
    if columns is None:
        return None
    return {
        "told": columns.told,
        "grid": columns.grid,
        "integer": list(columns.integer),
        "one_hot": [list(group) for group in columns.one_hot],
    }


def occurring_json(columns: Columns | None, bracket: Bracket, norm: str) -> dict[str, Any] | None:
    """What a bracket over the inputs that can occur rests on; on a grid its ends in steps, their squares in L2."""
    found = bracket.lattice
    if columns is None or found is None:
        return None
    return {
        "everywhere": found.everywhere if math.isfinite(found.everywhere) else None,
        "lower_steps": _steps(columns, found.lower, norm),
        "upper_steps": _steps(columns, found.upper, norm),
    }


def _steps(columns: Columns, amount: Fraction | None, norm: str) -> int | None:
    """The amount in steps of a grid without units, in L2 the square of a distance in squares of steps."""
    if columns.grid is None or columns.units is not None or amount is None:
        return None
    return int(amount * columns.grid ** (2 if norm == Norm.L2 else 1))


def only_rows(columns: Columns | None, bracket: Bracket | None, norm: str) -> list[tuple[str, str]]:
    """The row of an answer about some inputs only, with a bracket's distance in steps."""
    if columns is None:
        return []
    found = None if bracket is None else bracket.lattice
    return [("only", columns.told + ("" if found is None else _in_steps(columns, found, norm)))]


def _in_steps(columns: Columns, found: OnLattice, norm: str) -> str:
    lower, upper = (_steps(columns, amount, norm) for amount in (found.lower, found.upper))
    if lower is None:
        return ""
    first, last = (_away(steps, columns, norm) for steps in (lower, upper))
    if lower == upper:
        return f": {last} away"
    told = [f"at least {first}"] * bool(lower) + [f"at most {last}"] * bool(last)
    return f": {', '.join(told)} away" if told else ""


def _away(steps: int | None, columns: Columns, norm: str) -> str:
    if steps is None:
        return ""
    return f"√{steps}/{columns.grid}" if norm == Norm.L2 else f"{steps}/{columns.grid}"
