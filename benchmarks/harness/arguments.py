"""Numbers that the options of benchmarks take: one that cannot be meant is a usage error before anything runs."""

from __future__ import annotations

import argparse
import math


def above_zero(text: str) -> float:
    """A finite number > 0, such as a time limit. Raises ArgumentTypeError, as `argparse` asks of a type."""
    return _number(text, 0.0 < _read(text) < math.inf, "a number > 0")


def at_least_zero(text: str) -> float:
    """A finite number ≥ 0, such as a precision."""
    return _number(text, 0.0 <= _read(text) < math.inf, "a number >= 0")


def count(text: str) -> int:
    """A whole number ≥ 1, such as one of processes."""
    return int(_number(text, _whole(text) >= 1, "a whole number >= 1"))


def count_or_none(text: str) -> int:
    """A whole number ≥ 0."""
    return int(_number(text, _whole(text) >= 0, "a whole number >= 0"))


def _number(text: str, fits: bool, expected: str) -> float:
    if not fits:
        raise argparse.ArgumentTypeError(f"{expected} is expected, not {text[:40]!r}")
    return float(text)


def _read(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST else -1


LONGEST = 16
"""Digits that a float64 holds exactly, and more than anything that is counted has."""
