"""The competition's instances and official verdicts, as the data beside the project hold them."""

from __future__ import annotations

import csv
import gzip
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from encoders.errors import InputError


@dataclass(frozen=True)
class VnnInstance:
    """A network and a property, as `instances.csv` names them, and how many tools of all years said what."""

    benchmark: str
    onnx: str
    vnnlib: str
    official: str
    """sat, unsat, single, disputed or none: the consensus of the tools' verdicts."""
    votes_sat: int
    votes_unsat: int

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.benchmark, self.onnx, self.vnnlib)


@dataclass(frozen=True)
class ToolAnswer:
    """What a tool of one year said of an instance, by the instance's key: sat, unsat, or why it said nothing."""

    tool: str
    key: tuple[str, str, str]
    verdict: str


def benchmarks_in(data: Path) -> list[str]:
    """The names of the benchmarks. Raises InputError where there are none."""
    found = sorted(path.parent.name for path in (data / "vnncomp").glob("*/instances.csv"))
    if not found:
        raise InputError(f"{data / 'vnncomp'} holds no benchmark with an instances.csv")
    return found


def read_instances(data: Path, benchmark: str, every: int = 1) -> list[VnnInstance]:
    """Every n-th instance of a benchmark. Raises InputError for one that is not there."""
    known = benchmarks_in(data)
    if benchmark not in known:
        raise InputError(f"no benchmark '{benchmark}' in {data / 'vnncomp'}: there are {', '.join(known)}")
    with (data / "vnncomp_results" / "CONSENSUS.csv").open(newline="", encoding="utf-8") as stream:
        official = {(row["benchmark"], row["onnx"], row["vnnlib"]): row for row in csv.DictReader(stream)}
    with (data / "vnncomp" / benchmark / "instances.csv").open(newline="", encoding="utf-8") as stream:
        named = list(dict.fromkeys((onnx, vnnlib) for onnx, vnnlib, *_ in csv.reader(stream)))
    found = []
    for onnx, vnnlib in named[::every]:
        row = official.get((benchmark, onnx, vnnlib), {})
        votes = (int(row.get("tools_sat") or 0), int(row.get("tools_unsat") or 0))
        found.append(VnnInstance(benchmark, onnx, vnnlib, row.get("consensus") or "none", *votes))
    return found


WITNESS = ".counterexample"
"""What the competition's witness files end in."""


def witness_name(instance: VnnInstance) -> str:
    """How the competition calls the witness file of an instance: network and property, without folders and endings."""
    stems = [re.sub(r"\.(onnx|vnnlib)(\.gz)?$", "", Path(name).name) for name in (instance.onnx, instance.vnnlib)]
    return f"{'_'.join(stems)}{WITNESS}"


def tool_answers(data: Path, benchmark: str) -> list[ToolAnswer]:
    """What the competition's tools answered, of all years."""
    with (data / "vnncomp_results" / f"{benchmark}.csv").open(newline="", encoding="utf-8") as stream:
        return [
            ToolAnswer(f"{row['tool']} {row['year']}", (benchmark, row["onnx"], row["vnnlib"]), row["verdict"])
            for row in csv.DictReader(stream)
        ]


def stored(path: Path) -> Path:
    """The file itself, or the same packed by gzip. Raises InputError where there is neither."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.exists():
            return candidate
    raise InputError(f"{path}: no such file, nor with .gz behind it")


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file, unpacked into a temporary folder where it is stored packed."""
    found = stored(path)
    if found.suffix != ".gz":
        yield found
        return
    with TemporaryDirectory() as folder:
        plain = Path(folder) / found.stem
        with gzip.open(found) as packed, plain.open("wb") as stream:
            shutil.copyfileobj(packed, stream)
        yield plain
