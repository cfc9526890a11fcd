"""Inputs from .csv files: is line 1 a header, which columns are labels or an index, and numbers without guessing."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from encoders.errors import InputError
from encoders.files.array_files import AnyArray
from encoders.files.regular_file import regular_size
from verifier.problem.inputs.image_layout import shape_text

LABELS = ("y", "label")
"""Headers of a column that holds labels."""
INDEX = ("", "unnamed: 0")
"""Headers of a first column that pandas writes for its index, or for one that it read from such a file."""
DELIMITERS = ";,\t"
"""In this order: a number has no ";" and no ",", but blanks and tabs may lead it."""
LARGEST_CSV = 2**28
"""Bytes: twice MNIST's training images as text."""
BESIDE = 2
"""Columns that may stand beside an input's numbers: an index and labels."""
LOOK = 3
"""Lines among which the delimiter is looked for, the last one first."""
LONG_RUN = 8
"""From so many columns on, a first line 0, 1, 2, … is a header even above whole numbers."""
AUTO, YES, NO = "auto", "yes", "no"
HEADERS = (AUTO, YES, NO)


class Read(NamedTuple):
    """What a file holds: inputs, their labels, remarks on how it was read, and the names of an input's entries."""

    values: AnyArray
    labels: AnyArray | None = None
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def read_csv(path: Path, shape: Sequence[int], header: str = AUTO) -> Read:
    """Numbers from a .csv: one input a row, or the whole file one input, as `shape` says.

    header: is the first line one? `auto` finds out, and refuses where it may be either. A column headed `y` or `label`
    holds labels; a first one without a name is pandas' index, and is left out.

    Raises:
        InputError: an empty file, a cell that is no number, or a row of another length, with its line number.
    """
    if header not in HEADERS:
        raise InputError(f"--header: {header!r} is not one of {', '.join(HEADERS)}")
    regular_size(path, LARGEST_CSV)
    size = math.prod(shape)
    try:
        names, values = _table(path, size, header)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable .csv file: {error}") from None
    count, told = len(values), ""
    if names is not None:
        told = "; line 1 is taken for a header (--header no: for numbers)" if header == AUTO else "; line 1 is a header"
        if _is_index(names):
            names, values = names[1:], values[:, 1:]
            told += "; column 1 has no name and is left out as an index"
    named = [place for place, cell in enumerate(names or ()) if cell.strip().lower() in LABELS]
    labels = None
    if len(named) == 1:
        labels, values = values[:, named[0]], np.delete(values, named[0], axis=1)
        told += f"; column {names.pop(named[0]).strip() if names else ''} holds labels"
    notes = (f"{count} {'rows' if count > 1 else 'row'} of {values.shape[1]} numbers read{told}",)
    if values.shape[1] == size:
        return Read(values, labels, notes, tuple(names or ()))
    if values.size == size:
        return Read(values.reshape(1, size), None, notes)
    raise InputError(
        f"{path} has {values.shape[0]} rows of {values.shape[1]} numbers; "
        f"the model takes {shape_text(shape)} ({size} numbers an input)"
    )


def _table(path: Path, size: int, header: str) -> tuple[list[str] | None, AnyArray]:
    """The header, if there is one, and the numbers below it."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = _cells(path, stream, size + BESIDE)
        number, first = next(lines, (0, []))
        if not first:
            raise InputError(f"{path} is empty")
        rows, whole = [], True
        for line, cells in lines:
            rows.append(_row(path, line, cells, len(first)))
            whole = whole and all(_whole(cell) for cell in cells)
    if IS_HEADER[header](path, first, len(rows), whole, size):
        if not rows:
            raise InputError(f"{path}: a header but no numbers below it")
        return first, np.array(rows)
    return None, np.array([_row(path, number, first, len(first)), *rows])


def _cells(path: Path, stream: Any, most: int) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, cells) of every line that is not blank; at most `most` cells."""
    head = [line for line in islice(stream, LOOK) if line.strip()]
    stream.seek(0)
    line = head[-1] if head else ""  # a header's names may hold anything: what stands below tells
    delimiter = next((sign for sign in DELIMITERS if sign in line), ",")
    reader = csv.reader(_narrow(path, stream, delimiter, most), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if len(cells) > 1 or any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}") from None


def _narrow(path: Path, lines: Iterator[str], delimiter: str, most: int) -> Iterator[str]:
    """The lines, none with more cells than an input may have: a cell costs more memory than its text."""
    for number, line in enumerate(lines, start=1):
        cells = line.count(delimiter) + 1
        if cells > most:
            raise InputError(
                f"{path}: line {number} has {cells} cells; an input of the model has {most - BESIDE} numbers"
            )
        yield line


def _number(cell: str) -> float | None:
    """What other programs take for a number as well: Python's own 1_000 and digits of other scripts are none."""
    if "_" in cell or not cell.isascii():
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _whole(cell: str) -> bool:
    """Is it written as a whole number?"""
    return cell.strip().isdecimal()


def _row(path: Path, line: int, cells: list[str], width: int) -> AnyArray:
    if len(cells) != width:
        raise InputError(f"{path}: line {line} has {len(cells)} cells, not {width}")
    numbers = np.empty(width)
    for column, cell in enumerate(cells):
        number = _number(cell)
        if number is None:
            raise InputError(f"{path}: line {line}, column {column + 1}: {cell[:40]!r} is not a number")
        numbers[column] = number
    return numbers


def _is_index(names: Sequence[str]) -> bool:
    return len(names) > 1 and names[0].strip().lower() in INDEX


def _is_header(path: Path, first: list[str], below: int, whole: bool, size: int) -> bool:
    """Is the first line a header? below: lines below it; whole: all of their cells are written as whole numbers.

    Raises InputError where it may be either.
    """
    numbers = [cell for cell in first if _number(cell) is not None]
    if not numbers:
        return any(cell.strip() for cell in first)
    names = first[1:] if _is_index(first) else first
    plain = [cell.strip() for cell in names if cell.strip().lower() not in LABELS]
    run = plain == [str(place) for place in range(len(plain))]
    if len(numbers) < len(first):
        if run and below:
            return True
        wrong = next(cell for cell in first if _number(cell) is None)
        raise InputError(
            f"{path}: line 1 has numbers and {wrong[:40]!r}, which is none: a header (--header yes), or a mistake?"
        )
    if not run or not below:
        return False
    if len(first) != size:  # the whole file is one input: one of both fits
        return below * len(first) == size
    if len(first) > 1 and (not whole or len(first) >= LONG_RUN):
        return True
    raise InputError(f"{path}: line 1 may be a header or an input: say --header yes or --header no")


IS_HEADER: Mapping[str, Callable[[Path, list[str], int, bool, int], bool]] = {
    AUTO: _is_header,
    YES: lambda *_: True,
    NO: lambda *_: False,
}
