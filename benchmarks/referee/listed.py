"""Lists of instances as the competition writes them, and what tools answered: `instances.csv` and `results.csv`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath

from benchmarks.vnncomp.instances import ToolAnswer, VnnInstance, stored
from benchmarks.vnncomp.run import SAT, UNSAT
from encoders.errors import InputError
from verifier.problem.properties.from_vnnlib import read_text

SECONDS = 60.0
"""The limit of an instance whose line names none."""

RESULTS = "results.csv"
"""A tool's answers, in its folder: lines of benchmark, network, property, seconds to prepare, result, seconds."""

WORDS = {"sat": SAT, "violated": SAT, "unsat": UNSAT, "holds": UNSAT}
"""A result's words, those of the competition's first years too; any other is no answer."""


@dataclass(frozen=True)
class Listed:
    """An instance and the seconds that its line gives it."""

    instance: VnnInstance
    limit: float


def read_list(path: Path, benchmark: str) -> list[Listed]:
    """The instances of a list, each once, lines `network, property[, seconds]`, files relative to the list's folder.

    Raises InputError, one line that names the list's: not two or three entries, no number of seconds, no such file.
    """
    found: dict[tuple[str, str], Listed] = {}
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        if len(row) not in (2, 3):
            raise InputError(f"{where}: a network, a property and perhaps seconds are expected, not {len(row)} entries")
        onnx, vnnlib = row[:2]
        limit = _seconds(row[2], where) if len(row) == 3 else SECONDS
        for name in (onnx, vnnlib):
            try:
                stored(path.parent / name)
            except (InputError, OSError, ValueError) as error:
                raise InputError(f"{where}: {error}") from None
        found.setdefault((onnx, vnnlib), Listed(VnnInstance(benchmark, onnx, vnnlib, "none", 0, 0), limit))
    if not found:
        raise InputError(f"{path} lists no instance")
    return list(found.values())


def _seconds(text: str, where: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise InputError(f"{where}: seconds above 0 are expected, not '{text}'")
    return limit


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file with something in them, each with its number. Raises InputError."""
    reader = csv.reader(StringIO(read_text(path).content, newline=""), skipinitialspace=True)
    try:
        for row in reader:
            if any(entry.strip() for entry in row):
                yield reader.line_num, [entry.strip() for entry in row]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None


def read_answers(folder: Path, instances: Sequence[VnnInstance]) -> list[ToolAnswer]:
    """What the tools with a `results.csv`, TOOL/results.csv below `folder`, said of these instances.

    Paths may stand behind any folders, as `./benchmarks/acasxu/onnx/net.onnx`. Raises InputError.
    """
    answers = []
    for file in sorted(folder.glob(f"*/{RESULTS}")):
        for number, row in _rows(file):
            if len(row) < 5:
                raise InputError(
                    f"{file}, line {number}: benchmark, network, property, seconds to prepare and a result are expected"
                )
            of = next((one for one in instances if all(map(_ends, row[1:3], (one.onnx, one.vnnlib)))), None)
            if of is not None:
                answers.append(ToolAnswer(file.parent.name, of.key, WORDS.get(row[4], row[4])))
    return answers


def _ends(path: str, name: str) -> bool:
    """Is this path that of the file of this name, in folders of any name?"""
    parts, last = (PurePosixPath(one.removesuffix(".gz")).parts for one in (path, name))
    return parts[-len(last) :] == last
