"""Arguments of the Python API: numbers that are numbers, or one InputError that names the argument."""

from __future__ import annotations

import math
import operator
from numbers import Rational
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from encoders.errors import InputError, one_line
from verifier.problem.quantities import directed


def real(value: SupportsFloat | Any, name: str, direction: float = 0.0) -> float:
    """The argument as a float: an int, a float, a Fraction or a numpy number.

    direction: ∞ or −∞ for the float on that side of an exact number that is none; 0 for the nearest.
    """
    if isinstance(value, SupportsFloat) and not isinstance(value, bool | np.bool_):
        try:
            return directed(value, direction) if direction and isinstance(value, Rational) else float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise InputError(f"{name} must be a number, not {_told(value)}")


def above_zero(value: SupportsFloat | Any, name: str, direction: float) -> float:
    """`real`, finite and > 0."""
    number = real(value, name, direction)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{name} must be a finite number > 0, not {number:g}")
    return number


def whole(value: SupportsIndex | Any, name: str) -> int:
    """The argument as an int: an int or a numpy integer."""
    if isinstance(value, SupportsIndex) and not isinstance(value, bool | np.bool_):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise InputError(f"{name} must be a whole number, not {_told(value)}")


def plain(values: Any) -> Any:
    """What numpy takes for an array: of PyTorch's tensors the numbers, wherever they lie and whatever they record of
    gradients; of lists and tuples the same, one by one. Raises InputError for a tensor without numbers."""
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if not hasattr(values, "detach"):
        return values
    try:
        try:
            return values.numpy(force=True)
        except TypeError:  # a sparse one, or of a type that numpy lacks, such as bfloat16, whose numbers are doubles
            return values.to_dense().double().numpy(force=True)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"a {type(values).__name__} that cannot be read as numbers: {one_line(error)}") from None


def word(value: Any, name: str) -> str:
    """The argument as a string."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a string, not {_told(value)}")
    return value


def _told(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
