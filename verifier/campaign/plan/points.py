"""Points that other tools have found, from .npz files: which question of a plan each of them answers.

A file holds `points` (count, input's shape), or one such array a tool under the tool's name, and whose they are: either
`index` (count,), the inputs' numbers in the plan's data, or `inputs` (count, input's shape), the inputs themselves.
`labels` (count,) and `targets` (count,) say what was to be lost and reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.files.array_files import AnyArray, npz_arrays, npz_names
from verifier.attacks.registry import ATTACKS
from verifier.campaign.plan.identity import digest
from verifier.campaign.plan.tasks import GivenPoints, Target, Task, Wanted
from verifier.problem.inputs.box import inside
from verifier.problem.inputs.image_layout import shape_text

WHOSE = ("index", "inputs")
MEANT = ("labels", "targets")
POINTS = "points"
"""The array of a file with one tool, which is then called as the file is."""

LONGEST = 40
"""Signs of a tool's name, which tables and charts show."""
MOST_TOOLS = 64
"""Of a file: each is an attack of every table."""

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PointsFile:
    """One file of `count` rows: each tool's points (count, shape) by its name; the other arrays where it has them."""

    path: Path
    count: int
    tools: Mapping[str, AnyArray]
    index: AnyArray | None
    inputs: AnyArray | None
    labels: AnyArray | None
    targets: AnyArray | None


def read_points(path: Path) -> PointsFile:
    """The arrays of a file of points. Raises InputError: file, array, and what would be right."""
    if not path.exists():
        raise InputError(f"points: {path}: no such file")
    held = npz_names(path)
    named, whose = [name for name in held if name not in (*WHOSE, *MEANT)], [name for name in WHOSE if name in held]
    if len(whose) != 1:
        raise InputError(
            f"{path}: one of the arrays index (the inputs' numbers in the plan's data) and inputs (the inputs "
            f"themselves) is expected; it has {'both' if whose else 'neither'}"
        )
    if not 0 < len(named) <= MOST_TOOLS:
        raise InputError(f"{path}: an array points, or up to {MOST_TOOLS} that are named by their tools, is expected")
    arrays = npz_arrays(path, (*named, *whose), MEANT)
    count = arrays[whose[0]].shape[0] if arrays[whose[0]].ndim else 0
    for name, values in arrays.items():
        wrong = _wrong_points(values, count) if name in (*named, "inputs") else _wrong_numbers(values, count)
        if wrong:
            raise InputError(f"{path}: {name} has {values.dtype} values of shape {values.shape}: {wrong}")
    tools = {_tool(path, name): _as_floats(arrays[name]) for name in named}
    return PointsFile(path, count, tools, *(arrays.get(name) for name in (*WHOSE, *MEANT)))


def _wrong_points(values: AnyArray, count: int) -> str:
    fits = values.dtype.kind in "fiu" and values.ndim >= 2 and len(values) == count > 0
    return "" if fits else f"numbers are expected, an input's for each of {count} rows"


def _wrong_numbers(values: AnyArray, count: int) -> str:
    fits = values.dtype.kind in "fiu" and values.shape == (count,) and not np.any(values != np.floor(values))
    return "" if fits else f"whole numbers are expected, one for each of {count} rows"


def _as_floats(values: AnyArray) -> AnyArray:
    """float16, float32 and float64 as they are, in the order of bytes that stores keep; all else as float64."""
    kept = values.dtype.kind == "f" and values.dtype.itemsize <= np.dtype(np.float64).itemsize
    return values.astype(values.dtype.newbyteorder("<") if kept else np.float64)


def _tool(path: Path, array: str) -> str:
    """What a tool is called: as the file is, with the array's name where that is not just `points`."""
    name = path.stem if array == POINTS else f"{path.stem}:{array}"
    if name in ATTACKS:
        raise InputError(f"{path}: points that are called {name!r} as an attack of this engine is: rename the file")
    if not name.isprintable() or len(name) > LONGEST:
        raise InputError(f"{path}: {name[:LONGEST]!r} is no name of at most {LONGEST} printable signs")
    return name


def with_points(paths: Sequence[Path], wanted: Sequence[Wanted]) -> tuple[list[Wanted], list[tuple[str, str]]]:
    """What is wanted with the files' points for it; (file, remark) for each file with points for nothing of it.

    Raises InputError: file, array, and what would be right.
    """
    files = [_Matching(read_points(path)) for path in paths]
    names = [name for each in files for name in each.file.tools]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"points: two files have points of {double!r}: rename one of them")
    found = [replace(one, given=tuple(given for each in files for given in each.of(one))) for one in wanted]
    return found, [(str(each.file.path), remark) for each in files if (remark := each.remark())]


@dataclass
class _Matching:
    """A file's rows and the questions that they answer; `found`: the rows that have one."""

    file: PointsFile
    found: npt.NDArray[np.bool_] = field(init=False)
    places: dict[tuple[str, str], Mapping[str, RowNumbers]] = field(default_factory=dict)
    """By dtype and box the rows of each input, by its sha256."""

    def __post_init__(self) -> None:
        self.found = np.zeros(self.file.count, dtype=bool)

    def of(self, wanted: Wanted) -> Iterator[GivenPoints]:
        """The points for the targets of a task. Raises InputError for arrays that do not fit the model."""
        task, rows = wanted.task, self._rows(wanted.task)
        for name, points in self.file.tools.items():
            self._fit(points, task, name)
        if self.file.labels is not None:
            rows = rows[self.file.labels[rows] == task.label]
        for target in wanted.targets:
            own = self._aimed(rows, target)
            self.found[own] = True
            if own.size:
                for name, points in self.file.tools.items():
                    yield GivenPoints(name, target, points[own].reshape(own.size, -1))

    def remark(self) -> str:
        """How many rows belong to no question. Raises InputError where none does."""
        lost = int(np.count_nonzero(~self.found))
        told = f"{lost} of {self.file.count} rows belong to no question of the plan"
        if lost == self.file.count:
            raise InputError(f"{self.file.path}: {told}: index or inputs, labels and targets have to fit it")
        return told if lost else ""

    def _aimed(self, rows: RowNumbers, target: Target) -> RowNumbers:
        """Of the rows those for a target; where any class will do, whichever they were aimed at."""
        if target is None:
            return rows
        if self.file.targets is None:
            raise InputError(
                f"{self.file.path}: the plan asks about single targets, and there is no array targets (the class that "
                f"each point is to reach): add it, or ask for targets untargeted"
            )
        own: RowNumbers = rows[self.file.targets[rows] == target]
        return own

    def _rows(self, task: Task) -> RowNumbers:
        """The rows that are about a task's input."""
        if self.file.index is not None:
            return np.flatnonzero(self.file.index == task.index)
        assert self.file.inputs is not None
        key = (task.point.dtype.str, task.box_sha256)
        if key not in self.places:
            self._fit(self.file.inputs, task, "inputs")
            self.places[key] = _by_input(self.file.inputs, task)
        return self.places[key].get(task.input_sha256, np.empty(0, dtype=np.int64))

    def _fit(self, values: AnyArray, task: Task, name: str) -> None:
        """Raise InputError for values of another size, or of another shape where neither it nor the model's is flat.

        Axes of 1 do not count; pictures with channels last would be taken for ones with channels first.
        """
        given, expected = _without_ones(values.shape[1:]), _without_ones(task.shape)
        flat = len(given) <= 1 or len(expected) <= 1
        if math.prod(given) != task.point.size or not (flat or given == expected):
            raise InputError(
                f"{self.file.path}: {name}: inputs of shape {shape_text(values.shape[1:])}; "
                f"{task.model.name} expects {shape_text(task.shape)}"
            )


def _by_input(inputs: AnyArray, task: Task) -> Mapping[str, RowNumbers]:
    """The rows of each input, by the sha256 that a task with the dtype and the box of this one has."""
    found: dict[str, list[int]] = {}
    with np.errstate(over="ignore"):
        rounded = inputs.reshape(len(inputs), -1).astype(task.point.dtype)
    for row, x in enumerate(rounded):
        try:
            point, _ = inside(x, task.lo, task.hi)
        except InputError:
            continue
        found.setdefault(digest(str(point.dtype), point.tobytes()), []).append(row)
    return {key: np.array(rows) for key, rows in found.items()}


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in shape if axis != 1)
