"""Which inputs can occur, as it is asked: those of an 8-bit file, or records with whole numbers and categories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.files.array_files import npz_arrays
from verifier.problem.arguments import plain, whole

FINEST_GRID = 1 << 24
"""The most steps between 0 and 1: float32 has no more numbers there that are equally far apart."""

REAL_KINDS = "biuf"
"""Of numpy's dtypes: no complex numbers, dates and texts."""

RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)

Units = tuple[npt.ArrayLike, npt.ArrayLike]
"""(offset, scale), each a number or as many as the input has entries: an entry x is offset + scale·x of the user's."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Which inputs can occur; raises InputError, one line, for what cannot be.

    grid: every entry is a multiple of 1/grid. integer: these entries, from 0, are whole numbers. one_hot: of each group
    of entries one is 1, the others 0. units: what entries are in the user's units, of which the rest speaks.

    >>> Columns(grid=255).told, Columns(integer=(3, 7), one_hot=((0, 1, 2),)).told
    ('inputs k/255', 'whole numbers in 2 columns and one category in 1 group of columns')
    """

    grid: int | None = None
    integer: Sequence[int] = ()
    one_hot: Sequence[Sequence[int]] = ()
    units: Units | None = None

    def __post_init__(self) -> None:
        numbers = tuple(whole(column, "a column of integer") for column in self.integer)
        groups = tuple(tuple(whole(column, "a column of one_hot") for column in group) for group in self.one_hot)
        object.__setattr__(self, "integer", numbers)
        object.__setattr__(self, "one_hot", groups)
        if self.grid is None and not numbers and not groups:
            raise InputError("columns say which inputs can occur: name a grid, integer columns or one-hot groups")
        if self.grid is not None:
            if numbers or groups:
                raise InputError("a grid is about all entries of the input: integer and one-hot do not go with it")
            steps = whole(self.grid, "the grid")
            if not 1 <= steps <= FINEST_GRID:
                raise InputError(f"the grid must be a whole number of steps from 1 to {FINEST_GRID}, not {steps}")
        for name, end in zip(("offset", "scale"), self.units or (), strict=False):
            _floats(name, end)
        seen: set[int] = set()
        for column in (*numbers, *(column for group in groups for column in group)):
            if column in seen:
                raise InputError(f"column {column} is named twice as integer or one-hot")
            seen.add(column)
        for group in groups:
            if len(group) < 2:
                raise InputError(f"a one-hot group has at least two columns, not {len(group)}")

    @property
    def told(self) -> str:
        """In words."""
        if self.grid is not None:
            return f"inputs k/{self.grid}"
        parts = []
        if self.integer:
            parts.append(f"whole numbers in {_count(len(self.integer), 'column')}")
        if self.one_hot:
            parts.append(f"one category in {_count(len(self.one_hot), 'group')} of columns")
        return " and ".join(parts)


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def columns_of_text(text: str, option: str) -> tuple[int, ...]:
    """The columns of "3,7-9", from 0. Raises InputError.

    >>> columns_of_text("3,7-9", "--integer")
    (3, 7, 8, 9)
    """
    found: list[int] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise InputError(
                f"{option}: {part.strip()[:40]!r} is no column or range: such as 3,7-9 is expected, from 0"
            )
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first or last - first > FINEST_GRID:
            raise InputError(f"{option}: the range {part.strip()} is empty or too long")
        found += range(first, last + 1)
    return tuple(found)


def columns_asked(
    grid: int | None, integer: Sequence[int], one_hot: Sequence[Sequence[int]], units: Path | None
) -> Columns | None:
    """Which inputs can occur, as options and plans put it, `units` being a file; None: all. Raises InputError."""
    if grid is None and not integer and not one_hot:
        if units is not None:
            raise InputError("units goes with grid, integer or one-hot, which are in these units")
        return None
    return Columns(grid, integer, one_hot, None if units is None else read_units(units))


def read_units(path: Path) -> Units:
    """Arrays `offset` and `scale` of an .npz file. Raises InputError."""
    if path.suffix.lower() != ".npz" or not path.exists():
        raise InputError(f"units: {path}: no .npz file with arrays offset and scale")
    arrays = npz_arrays(path, ("offset", "scale"))
    return arrays["offset"], arrays["scale"]


def _floats(name: str, given: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Numbers of the user's as float64, flat. Raises InputError."""
    try:
        values = np.asarray(plain(given))
        if values.dtype.kind in REAL_KINDS:
            with np.errstate(over="ignore"):
                return values.astype(np.float64).reshape(-1)
    except (TypeError, ValueError):
        pass
    raise InputError(f"units: {name} is no number, and no array of numbers")


def units_of(units: Units | None, size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Its offset and scale, each (size,) and finite, scale > 0. Raises InputError."""
    names, found = ("offset", "scale"), []
    for name, given in zip(names, (0.0, 1.0) if units is None else units, strict=True):
        try:
            values = np.broadcast_to(_floats(name, given), (size,))
        except ValueError:
            raise InputError(f"units: {name} is no number, and no array of {size} numbers") from None
        wrong = np.flatnonzero(~np.isfinite(values) | ((name == "scale") & ~(values > 0)))
        if wrong.size:
            must = "finite and > 0" if name == "scale" else "finite"
            raise InputError(f"units: {name} must be {must}, not {values[wrong[0]]:g} as at entry {wrong[0]}")
        found.append(values)
    return found[0], found[1]
