"""Lists of instances as the competition writes them, and what tools answered: `instances.csv` and `results.csv`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath

from benchmarks.vnncomp.instances import WITNESS, ToolAnswer, VnnInstance, stored, witness_name
from benchmarks.vnncomp.run import SAT, UNSAT
from benchmarks.vnncomp.submitted import named, submitted
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


@dataclass(frozen=True)
class Unmatched:
    """What a file or folder that is submitted holds about no instance of the list: how much, the first, and why."""

    place: str
    count: int
    first: str
    why: str


@dataclass(frozen=True)
class Submitted:
    """A folder with what tools say, as the competition has them; BENCHMARK with a year before it or without.

    TOOL/results.csv, TOOL/BENCHMARK/results.csv and TOOL/BENCHMARK/NAME.counterexample.
    """

    folder: Path
    instances: Sequence[VnnInstance]

    def answers(self) -> tuple[list[ToolAnswer], list[Unmatched]]:
        """What is said of these instances, each once, and the lines about others. Raises InputError.

        Paths may stand behind any folders, as `./benchmarks/acasxu/onnx/net.onnx`.
        """
        found: dict[ToolAnswer, None] = {}
        left: list[Unmatched] = []
        for file in sorted([*self.folder.glob(f"*/{RESULTS}"), *self.folder.glob(f"*/*/{RESULTS}")]):
            others: dict[str, list[str]] = {}
            for number, row in _rows(file):
                if len(row) < 5:
                    raise InputError(
                        f"{file}, line {number}: benchmark, network, property, seconds to prepare and a result are "
                        "expected"
                    )
                of, why = self._instance(row)
                if of is None:
                    others.setdefault(why, []).append(f"line {number}: {' '.join(row[:3])}")
                else:
                    result = row[4].lower()
                    found[ToolAnswer(self._tool(file), of.key, WORDS.get(result, result))] = None
            name = file.relative_to(self.folder).as_posix()
            left += [Unmatched(name, len(lines), lines[0], why) for why, lines in others.items()]
        return list(found), left

    def _instance(self, row: Sequence[str]) -> tuple[VnnInstance | None, str]:
        """The instance of a line, or why there is none."""
        own = [one for one in self.instances if named(one.benchmark).fullmatch(row[0])]
        if not own:
            return None, f"its benchmark is not {self.instances[0].benchmark}"
        of = next((one for one in own if all(map(_ends, row[1:3], (one.onnx, one.vnnlib)))), None)
        return of, "" if of else "the list has no such network and property"

    def other_witnesses(self) -> list[Unmatched]:
        """The witness files that are of none of these instances, a line a folder."""
        wanted = {file for one in self.instances for _, file in submitted(self.folder, one)}
        others: dict[Path, list[Path]] = {}
        for ending in ("", ".gz"):
            for file in sorted(self.folder.rglob(f"*{WITNESS}{ending}")):
                if file not in wanted:
                    others.setdefault(file.parent, []).append(file)
        return [
            Unmatched(place.relative_to(self.folder).as_posix(), len(files), files[0].name, "no instance has this name")
            for place, files in others.items()
        ]

    def _tool(self, file: Path) -> str:
        return file.relative_to(self.folder).parts[0]


def same_names(instances: Sequence[VnnInstance]) -> None:
    """Raise InputError where two instances have one name for their files, each of which would be taken for both."""
    first: dict[str, VnnInstance] = {}
    for one in instances:
        other = first.setdefault(witness_name(one), one)
        if other is not one:
            raise InputError(
                f"{one.onnx} {one.vnnlib} and {other.onnx} {other.vnnlib}: files about both would be called "
                f"{witness_name(one)}; list them apart"
            )


def _ends(path: str, name: str) -> bool:
    """Is this path that of the file of this name, in folders of any name?"""
    parts, last = (PurePosixPath(one.removesuffix(".gz")).parts for one in (path, name))
    return parts[-len(last) :] == last
