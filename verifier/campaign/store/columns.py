"""Columns of bytes and of JSON as what they are, or an error that names the column."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


class DamagedColumnError(Exception):
    """A column holds what was never written there; the message names it."""


SHOWN = 40
"""Signs of a wrong value that are told."""
Kinds = Mapping[str, type | tuple[type, ...]]
"""The keys of a JSON object, and the types of their values."""


def json_column(row: sqlite3.Row, name: str, kind: type) -> Any:
    """A column of JSON text, a list or a dict as `kind` says, without NaN. Raises DamagedColumnError."""
    try:
        found = json.loads(row[name], parse_constant=_constant)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise DamagedColumnError(f"column {name} is no JSON {kind.__name__}: {str(row[name])[:SHOWN]!r}")
    return found


def _constant(name: str) -> float:
    """Infinity is written where nothing was found; NaN never."""
    if name == "NaN":
        raise ValueError(name)
    return math.inf if name == "Infinity" else -math.inf


def facts_column(row: sqlite3.Row, name: str, needed: Kinds) -> dict[str, Any]:
    """A column of JSON with just these keys, each of its type. Raises DamagedColumnError."""
    found: dict[str, Any] = json_column(row, name, dict)
    wrong = found.keys() ^ needed.keys()
    wrong |= {key for key, kind in needed.items() if key in found and not isinstance(found[key], kind)}
    if wrong:
        raise DamagedColumnError(f"column {name} is not what it should be at {', '.join(sorted(wrong))[:SHOWN]}")
    return found


def vector(row: sqlite3.Row, name: str, dtype: str, size: int | None = None) -> npt.NDArray[Any]:
    """A column of bytes as numbers of a dtype, `size` of them where that is given. Raises DamagedColumnError."""
    content, width = row[name], np.dtype(dtype).itemsize
    if len(content) % width or (size is not None and len(content) != size * width):
        raise DamagedColumnError(
            f"column {name} holds {len(content)} bytes, which are not {size or 'some'} of {width} bytes"
        )
    return np.frombuffer(content, dtype)
